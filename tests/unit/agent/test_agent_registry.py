"""Pulls by digest, from a registry on the loopback that misbehaves on demand."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.server
import ipaddress
import re
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from agent import registry
from agent.blobs import Blob, Blobs
from agent.errors import AgentError
from agent.places import Places
from agent.registry import Registry
from agent.wire import Wire
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 10_000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
LAYER = Blob(DIGEST, len(DATA), 0, "application/vnd.oci.image.layer.v1.tar+gzip")
MANIFEST = Blob(DIGEST, len(DATA), 0, "application/vnd.oci.image.manifest.v1+json")
BODIES = {"no ranges": DATA, "wrong bytes": DATA[:-1] + b"?", "too long": DATA + b"?"}
USER = {"user": "pi", "password": "secret"}
BASIC = "Basic " + base64.b64encode(b"pi:secret").decode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.seen.append((self.path, dict(self.headers)))
        answer = server.answers.pop(0) if server.answers else "whole"
        authorization = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            body = b'{"token": "t0ken"}' if authorization == BASIC else b"{}"
            self.reply(200 if authorization == BASIC else 401, body)
        elif server.wants and authorization != server.wants:
            self.reply(401, b"", {"WWW-Authenticate": server.challenge})
        elif answer == "whole":
            self.whole()
        elif answer == "no http":
            self.wfile.write(b"nonsense\r\n")
        elif answer == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA[:100_000])
        elif answer in BODIES:
            self.reply(200, BODIES[answer])
        elif answer == "wrong range":
            self.reply(206, DATA, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})
        elif isinstance(answer, int):
            self.reply(answer, b"")
        else:
            self.reply(307, b"", {"Location": answer})

    def whole(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            self.reply(200, DATA)
        else:
            start = int(asked.group(1))
            place = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
            self.reply(206, DATA[start:], {"Content-Range": place})

    def reply(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Answers in the order of `answers`, then well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answers: list[str | int] = []
        self.wants = ""
        self.challenge = ""
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is part of the test."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(registry, "PAUSES_S", (0.0, 0.0))
    found = Server()
    yield found
    found.stop()


@pytest.fixture
def store(tmp_path: Path) -> Blobs:
    return Blobs(Places.of({"HOME": str(tmp_path)}))


def ask(server: Server, scheme: str = "http", **more: str) -> Registry:
    request = {"registry": f"{scheme}://127.0.0.1:{server.port}", "repository": "a/digits"}
    return Registry.parse({**request, "blobs": [], **more})


def pull(found: Registry, store: Blobs, blob: Blob = LAYER) -> None:
    with open("/dev/null", "wb") as nowhere:  # noqa: PTH123 - a descriptor for the wire
        found.pull(blob, store, Wire(0, nowhere.fileno()))


def test_manifests_and_blobs_have_their_own_ways(server: Server, store: Blobs) -> None:
    pull(ask(server), store)
    assert store.read(DIGEST, len(DATA)) == DATA
    store.path(DIGEST).unlink()
    pull(ask(server), store, MANIFEST)
    (blob, _), (manifest, headers) = server.seen
    assert blob == f"/v2/a/digits/blobs/{DIGEST}"
    assert manifest == f"/v2/a/digits/manifests/{DIGEST}"
    assert headers["Accept"] == MANIFEST.media_type


def test_a_cut_answer_is_gone_on_with(server: Server, store: Blobs) -> None:
    server.answers = ["cut", "whole"]
    pull(ask(server), store)
    assert store.there(LAYER)
    assert server.seen[1][1]["Range"] == "bytes=100000-"
    # And where the registry knows no ranges.
    store.path(DIGEST).unlink()
    server.answers = ["cut", "no ranges"]
    pull(ask(server), store)
    assert store.there(LAYER)


@pytest.mark.parametrize("answers", [[500, 429], ["cut", 503], ["no http", "no http"]])
def test_what_passes_is_tried_again(server: Server, store: Blobs, answers: list[str | int]) -> None:
    server.answers = answers
    pull(ask(server), store)
    assert store.there(LAYER)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([404], "answered 404"),
        ([500, 500, 500], "answered 500"),
        (["cut", "wrong range"], "the registry gave"),
        (["wrong bytes"], "has the digest"),
        (["too long"], "more than the announced"),
        (["/again"] * 7, "redirects more than"),
        (["file:///etc/passwd"], "no address of HTTP"),
    ],
)
def test_wrong_answers_are_the_networks_fault(
    server: Server, store: Blobs, answers: list[str | int], reason: str
) -> None:
    server.answers = answers
    with pytest.raises(AgentError, match=f"network: .*{reason}"):
        pull(ask(server), store)
    assert not store.there(LAYER)


def test_nobody_there(server: Server, store: Blobs) -> None:
    found = ask(server)
    server.stop()
    with pytest.raises(AgentError, match=r"network: .*refused"):
        pull(found, store)


def test_basic_authentication_when_asked_for(server: Server, store: Blobs) -> None:
    server.wants, server.challenge = BASIC, 'Basic realm="x"'
    with pytest.raises(AgentError, match="asks for a user"):
        pull(ask(server), store)
    pull(ask(server, **USER), store)
    assert store.there(LAYER)


def test_a_token_is_fetched_with_the_users_name(server: Server, store: Blobs) -> None:
    realm = f"http://127.0.0.1:{server.port}/token"
    server.wants = "Bearer t0ken"
    server.challenge = f'Bearer realm="{realm}",service="r",scope="repository:a/digits:pull"'
    pull(ask(server, **USER), store)
    assert server.seen[1][0] == "/token?service=r&scope=repository%3Aa%2Fdigits%3Apull"
    # Whoever may not have one is told so.
    store.path(DIGEST).unlink()
    with pytest.raises(AgentError, match="token service answered 401"):
        pull(ask(server, **{**USER, "password": "wrong"}), store)


def test_credentials_stay_with_their_registry(server: Server, store: Blobs) -> None:
    other = Server()
    try:
        server.wants, server.challenge = BASIC, 'Basic realm="x"'
        server.answers = ["unused", f"http://127.0.0.1:{other.port}/elsewhere"]
        pull(ask(server, **USER), store)
        ((path, headers),) = other.seen
        assert path == "/elsewhere"
        assert "Authorization" not in headers
    finally:
        other.stop()


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "tls.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


def test_tls_is_always_checked(server: Server, store: Blobs, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(AgentError, match=r"network: .*CERTIFICATE_VERIFY_FAILED"):
        pull(ask(server, "https"), store)
    authority = (tmp_path / "ca.pem").read_text()
    pull(ask(server, "https", ca=authority), store)
    assert store.there(LAYER)
    # From a line that is safe never to one that is not.
    store.path(DIGEST).unlink()
    server.answers = ["http://127.0.0.1:1/x"]
    with pytest.raises(AgentError, match="from https to http"):
        pull(ask(server, "https", ca=authority), store)


@pytest.mark.parametrize(
    "change",
    [
        {"registry": "ftp://x"},
        {"registry": "https://user:word@x"},
        {"registry": "https://x/v2"},
        {"registry": "https://x:port"},
        {"repository": "../x"},
        {"repository": "A"},
        {"user": 1},
        {"more": 1},
    ],
)
def test_requests_without_sense(change: dict[str, Any]) -> None:
    request = {"registry": "https://registry.example", "repository": "digits", "blobs": []}
    Registry.parse(request)
    with pytest.raises(AgentError, match="usage"):
        Registry.parse({**request, **change})
