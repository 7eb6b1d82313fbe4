"""A registry on loopback that does what it is told, lies included."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Fake:
    """What it holds, what it was asked, and how it misbehaves.

    Attributes:
        before: called with every request; answers it itself when it says True.
        api: whether it has the referrers API; `page` entries at a time.
        auth: ``""``, ``basic`` or ``bearer``.
        resumes: whether an upload can be taken up inside a chunk, which docker-registry cannot.
        cut_uploads: bytes after which bodies are cut, one number for each cut.
    """

    api: bool = True
    page: int = 1000
    auth: str = ""
    resumes: bool = True
    minimum: int = 0
    user: str = "me"
    word: str = "s3cret-pass"
    refresh: str = "refresh-me"
    token_lives: int = 10**9
    before: Callable[[Handler], bool] = lambda _: False
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    cut_uploads: list[int] = field(default_factory=list)
    received: int = 0
    completed: list[str] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    asked_tokens: list[dict[str, list[str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""

    def add(self, data: bytes, media_type: str = "", tag: str = "") -> str:
        digest = digest_of(data)
        if media_type:
            self.manifests[digest] = (media_type, data)
        else:
            self.blobs[digest] = data
        if tag:
            self.tags[tag] = digest
        return digest

    def asked(self, method: str, part: str) -> list[str]:
        return [path for verb, path, _ in self.requests if verb == method and part in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: Fake

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, data: bytes = b"", /, **headers: str) -> None:
        self.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names.setdefault("Content-Length", str(len(data)))
        for name, value in names.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status: int, code: str) -> None:
        data = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.answer(status, data, Content_Type="application/json")

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def serve(self) -> None:
        fake = self.fake
        with fake.lock:
            fake.requests.append((self.command, self.path, dict(self.headers)))
        if fake.before(self):
            return
        if urlsplit(self.path).path == "/token":
            self._token()
        elif self._is_known():
            self._route()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = serve  # noqa: N815 (http.server's names)

    def body(self) -> bytes | None:
        left = int(self.headers.get("Content-Length", "0"))
        with self.fake.lock:
            cut = self.fake.cut_uploads.pop(0) if self.fake.cut_uploads and left > 4096 else None
        if cut is not None:
            data = self.rfile.read(min(cut, left))
            self.fake.received += len(data)
            self._keep(data)
            self.close_connection = True
            self.connection.close()
            return None
        data = self.rfile.read(left)
        self.fake.received += len(data)
        return data

    def _keep(self, data: bytes) -> None:
        upload = urlsplit(self.path).path.rpartition("/")[2]
        if self.fake.resumes and upload in self.fake.uploads:
            self.fake.uploads[upload] += data
        else:
            self.fake.uploads.pop(upload, None)

    def _token(self) -> None:
        fake = self.fake
        asked = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            asked = parse_qs((self.body() or b"").decode())
        fake.asked_tokens.append(asked)
        basic = base64.b64encode(f"{fake.user}:{fake.word}".encode()).decode()
        good = self.headers.get("Authorization") == f"Basic {basic}"
        if self.command == "POST":
            good = asked.get("refresh_token") == [fake.refresh]
        if not good:
            self.error(401, "UNAUTHORIZED")
            return
        token = f"token-{len(fake.asked_tokens)}"
        fake.tokens[token] = fake.token_lives
        self.answer(200, json.dumps({"token": token, "expires_in": 3600}).encode())

    def _is_known(self) -> bool:
        fake, shown = self.fake, self.headers.get("Authorization", "")
        if not fake.auth:
            return True
        if fake.auth == "basic":
            basic = base64.b64encode(f"{fake.user}:{fake.word}".encode()).decode()
            if shown == f"Basic {basic}":
                return True
            asked = 'Basic realm="here"'
        else:
            token = shown.removeprefix("Bearer ")
            with fake.lock:
                if fake.tokens.get(token, 0) > 0:
                    fake.tokens[token] -= 1
                    return True
            asked = f'Bearer realm="http://{fake.address}/token",service="it",scope="a:b:pull"'
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.answer(401, WWW_Authenticate=asked)
        return False

    def _route(self) -> None:
        path = urlsplit(self.path).path
        for pattern, method in (
            (r"/v2/(.+)/blobs/uploads/", self._begin),
            (r"/v2/(.+)/blobs/uploads/([0-9]+)", self._upload),
            (r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)", self._blob),
            (r"/v2/(.+)/manifests/([^/]+)", self._manifest),
            (r"/v2/(.+)/referrers/([^/]+)", self._referrers),
            (r"/v2/(.+)/tags/list", self._tags),
        ):
            found = re.fullmatch(pattern, path)
            if found is not None:
                method(found)
                return
        self.error(404, "UNSUPPORTED")

    def _begin(self, found: re.Match[str]) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if query.get("mount", [""])[0] in self.fake.blobs and "from" in query:
            self.answer(201)
            return
        with self.fake.lock:
            number = str(len(self.fake.uploads) + 1000 * len(self.fake.completed) + 1)
            self.fake.uploads[number] = bytearray()
        more = {"OCI_Chunk_Min_Length": str(self.fake.minimum)} if self.fake.minimum else {}
        where = f"/v2/{found[1]}/blobs/uploads/{number}?state=a%20b"
        self.answer(202, b"", Location=where, **more)

    def _upload(self, found: re.Match[str]) -> None:
        upload = self.fake.uploads.get(found[2])
        if upload is None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        state = {"Location": self.path}
        if self.command == "GET":
            self.answer(204, Range=f"0-{max(len(upload) - 1, 0)}", **state)
            return
        first = self.headers.get("Content-Range", f"{len(upload)}-").partition("-")[0]
        if int(first) != len(upload):
            self.error(416, "RANGE_INVALID")
            return
        data = self.body()
        if data is None:
            return
        upload += data
        if self.command == "PATCH":
            self.answer(202, Range=f"0-{len(upload) - 1}", **state)
            return
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        if digest_of(bytes(upload)) != digest:
            self.error(400, "DIGEST_INVALID")
            return
        with self.fake.lock:
            self.fake.blobs[digest] = bytes(upload)
            self.fake.completed.append(digest)
            self.fake.uploads.pop(found[2])
        self.answer(201, Docker_Content_Digest=digest, Location="/")

    def _blob(self, found: re.Match[str]) -> None:
        data = self.fake.blobs.get(found[2])
        if data is None:
            self.error(404, "BLOB_UNKNOWN")
            return
        given = re.fullmatch(r"bytes=(\d+)-\d+", self.headers.get("Range", ""))
        if given is not None:
            at = int(given[1])
            where = f"bytes {at}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[at:], Content_Range=where)
            return
        if self.command == "HEAD":
            self.answer(200, Content_Length=str(len(data)))
            return
        self.answer(200, data)

    def _manifest(self, found: re.Match[str]) -> None:
        fake = self.fake
        if self.command == "PUT":
            data = self.body() or b""
            digest = digest_of(data)
            document = json.loads(data)
            with fake.lock:
                fake.manifests[digest] = (self.headers["Content-Type"], data)
                if found[2] != digest:
                    fake.tags[found[2]] = digest
            more = {"OCI_Subject": "yes"} if fake.api and "subject" in document else {}
            self.answer(201, Docker_Content_Digest=digest, **more)
            return
        digest = fake.tags.get(found[2], found[2])
        if digest not in fake.manifests:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        kind, data = fake.manifests[digest]
        length = str(len(data))
        body = b"" if self.command == "HEAD" else data
        names = {"Content_Type": kind, "Docker_Content_Digest": digest, "Content_Length": length}
        self.answer(200, body, **names)

    def _referrers(self, found: re.Match[str]) -> None:
        if not self.fake.api:
            self.error(404, "NOT_FOUND")
            return
        listed = []
        for digest, (kind, data) in sorted(self.fake.manifests.items()):
            document = json.loads(data)
            if document.get("subject", {}).get("digest") == found[2]:
                listed.append({"mediaType": kind, "digest": digest, "size": len(data)})
        at = int(parse_qs(urlsplit(self.path).query).get("at", ["0"])[0])
        page = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": listed[at : at + self.fake.page],
        }
        more = {}
        if at + self.fake.page < len(listed):
            more["Link"] = f'<{urlsplit(self.path).path}?at={at + self.fake.page}>; rel="next"'
        self.answer(200, json.dumps(page).encode(), Content_Type=INDEX, **more)

    def _tags(self, found: re.Match[str]) -> None:
        fake = self.fake
        listed = sorted(fake.tags)
        last = parse_qs(urlsplit(self.path).query).get("last", [""])[0]
        page = [tag for tag in listed if tag > last][: fake.page]
        more = {}
        if page and page[-1] != listed[-1]:
            more["Link"] = f'<{urlsplit(self.path).path}?last={page[-1]}>; rel="next"'
        data = json.dumps({"name": found[1], "tags": page}).encode()
        self.answer(200, data, Content_Type="application/json", **more)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """Serve `fake` on loopback; its `address` is set."""
    handler = type("Bound", (Handler,), {"fake": fake})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
