"""Other registries, and what stands around one: the referrers API, a token service, an authority.

Debian has no registry with the referrers API, but the library that has one: go-containerregistry.
It is compiled here from Debian 13's packages, with Debian 13's Go, both through the private APT
root that resolves locks. What comes of it is kept under the cache's ``tests`` folder.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from registry_parts import awaited, held_port
from sigstore_parts import key_usage

from buildkit import digests
from buildkit.image.pack.debian import archives, merged
from buildkit.lock import cache, fetch
from buildkit.lock.resolve import apt
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE = Path(__file__).with_name("listing-registry") / "main.go"
_SUITE = "trixie"
_GO = "golang-go"
_LIBRARY = "golang-github-google-go-containerregistry-dev"
PASSWORD = "s3cret-pass"  # noqa: S105 - of registries that live for one test
USER = "me"

# Debian's registry lets a token live so much longer than it says.
_LEEWAY_S = 60


def listing_program() -> Path:
    """The registry with the referrers API, compiled; about 10 s and 50 MB when it is not cached."""
    key = digests.hex_of(digests.of_bytes(_SOURCE.read_bytes() + _SUITE.encode()))[:16]
    program = cache.home() / "tests" / f"listing-registry-{key}"
    if not program.is_file():
        arch = "arm64" if os.uname().machine == "aarch64" else "amd64"
        pins = [
            pin
            for pin in apt.resolve(run, _SUITE, arch, [_GO, _LIBRARY])
            # The library's registry needs nothing of what the rest of the library depends on.
            if pin.name == _LIBRARY or pin.name.startswith("golang-1.")
        ]
        files = fetch.bring(pins, run, cache.home()).files
        with cache.scratch(cache.home()) as folder:
            for pin in pins:
                _unpack(files[pin.sha256], folder / "root")
            made = _compiled(folder)
            program.parent.mkdir(parents=True, exist_ok=True)
            made.replace(program)
    return program


def _unpack(package: Path, root: Path) -> None:
    _, data = archives(package)
    for member in data:
        target = root / merged(member.name)
        if member.isdir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            target.symlink_to(member.linkname)
        elif (stream := data.extractfile(member)) is not None:
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file)
            target.chmod(0o755 if member.mode & 0o111 else 0o644)


def _compiled(folder: Path) -> Path:
    (go,) = folder.glob("root/usr/lib/go-1.*/bin/go")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOROOT": str(go.parents[1]),
        "GOPATH": str(folder / "root/usr/share/gocode"),
        "GOCACHE": str(folder / "cache"),
        "GOTOOLCHAIN": "local",
        # Debian's packages are no modules.
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
    }
    made = folder / "registry"
    done = subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s", "-o", made, _SOURCE],
        env=environ,
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    return made


@dataclass(frozen=True)
class Authority:
    """A private authority, and the certificate of a server on the loopback that it signed."""

    ca: Path
    chain: Path
    key: Path

    @classmethod
    def made(cls, folder: Path) -> Authority:
        now = datetime.now(UTC)
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        names = [
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)])
            for each in ("an authority", "a server")
        ]
        certificates = []
        for at, more in enumerate(
            (
                x509.BasicConstraints(ca=True, path_length=0),
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            )
        ):
            builder = (
                x509.CertificateBuilder()
                .subject_name(names[at])
                .issuer_name(names[0])
                .public_key(keys[at].public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(hours=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(more, critical=at == 0)
                # Python 3.13 asks for both, and for what a key of an authority may be used for.
                .add_extension(
                    x509.SubjectKeyIdentifier.from_public_key(keys[at].public_key()),
                    critical=False,
                )
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
                    critical=False,
                )
            )
            if at == 0:
                builder = builder.add_extension(
                    key_usage(key_cert_sign=True, crl_sign=True), critical=True
                )
            certificates.append(builder.sign(keys[0], hashes.SHA256()))
        found = cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        for file, certificate in zip((found.ca, found.chain), certificates, strict=True):
            file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        found.key.write_bytes(
            keys[1].private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return found


@contextmanager
def listing(folder: Path, authority: Authority | None = None, password: str = "") -> Iterator[str]:
    """A registry with the referrers API; its address.

    Args:
        folder: for what it keeps; ``log`` in it has a line for every request.
        authority: of its certificate; without one it speaks plain HTTP.
        password: that it asks for, of any user; none when empty.
    """
    with held_port() as port:
        address = f"127.0.0.1:{port}"
        words = ["-address", address, "-folder", str(folder)]
        if authority is not None:
            words += ["-certificate", str(authority.chain), "-key", str(authority.key)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [listing_program(), *words],
                env={**os.environ, "REGISTRY_PASSWORD": password},
                stdout=log,
                stderr=log,
            )
        try:
            awaited(port, process, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


@dataclass
class TokenService:
    """Signs tokens for a registry, for whoever knows the password.

    Attributes:
        authority: whose server certificate signs, and answers.
        lives_s: a token's life: it is refused at the end of a whole second, so perhaps earlier.
        given: the scopes of each token that was signed.
        refused: how often somebody did not know the password.
    """

    authority: Authority
    lives_s: int = 300
    given: list[list[str]] = field(default_factory=list)
    refused: int = 0
    realm: str = ""

    def settings(self) -> dict[str, Any]:
        """What the registry has to know."""
        told = {
            "realm": self.realm,
            "service": "here",
            "issuer": "us",
            "rootcertbundle": str(self.authority.ca),
        }
        return {"auth": {"token": told}}

    @contextmanager
    def serving(self) -> Iterator[TokenService]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query)
                shown = self.headers.get("Authorization", "")
                known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if shown != f"Basic {known}":
                    service.refused += 1
                    self.send_error(401)
                    return
                data = json.dumps(
                    {"token": service.token(asked.get("scope", [])), "expires_in": 300}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.chain, self.authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.realm = f"https://127.0.0.1:{server.server_port}/token"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def token(self, scopes: list[str]) -> str:
        """A JWT as the registry's token specification wants it, for all that is asked for."""
        self.given.append(scopes)
        asked = [one.split(":") for scope in scopes for one in scope.split(" ")]
        now = int(time.time())
        claims = {
            "iss": "us",
            "sub": USER,
            "aud": "here",
            "iat": now,
            "nbf": now - 300,
            # The registry adds its leeway again.
            "exp": now + self.lives_s - _LEEWAY_S,
            "jti": str(len(self.given)),
            "access": [
                {"type": kind, "name": name, "actions": actions.split(",")}
                for kind, name, actions in asked
            ],
        }
        certificate = x509.load_pem_x509_certificate(self.authority.chain.read_bytes())
        der = certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = b".".join(_web64(json.dumps(each).encode()) for each in (header, claims))
        key = serialization.load_pem_private_key(self.authority.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return (signed + b"." + _web64(r.to_bytes(32) + s.to_bytes(32))).decode()


def _web64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def logged_in(folder: Path, *hosts: str) -> Path:
    """A Docker configuration with the password of `hosts`, as `docker login` writes it."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    folder.mkdir(parents=True, exist_ok=True)
    document = {"auths": {host: {"auth": auth} for host in hosts}}
    (folder / "config.json").write_text(json.dumps(document))
    return folder
