"""Others' tools, and a registry of our own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.registry import Access, Patience
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from buildkit.store import Store

# For keys an empty trust root is enough; without one cosign asks the public service for its own.
NO_ROOT = b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'

Done = subprocess.CompletedProcess[bytes]


def way(**how: Any) -> Access:
    """To a registry of ours: no credentials, no TLS, and short pauses, unless `how` says so."""
    quick = Patience(first_s=0.02, longest_s=0.2)
    environ = {"HOME": "/nonexistent"}
    return Access(
        **{"runner": run, "plain_http": True, "patience": quick, "environ": environ, **how}
    )


def everything(store: Store, ref: str) -> set[str]:
    """Digests of all that belongs to an image: made by hand, not by the code under test."""
    index, roots = store.resolve(ref), []
    name, _, version = ref.rpartition(":")
    todo = [index, store.resolve(f"{name}-model:{version}")]
    while todo:
        top = todo.pop()
        for node in store.walk(top):
            if node.descriptor.digest not in roots:
                roots.append(node.descriptor.digest)
                todo += store.referrers(node.descriptor.digest)
    return set(roots)


@dataclass(frozen=True)
class Tools:
    """cosign and oras as Nix made them, in a home of their own."""

    start: tuple[str, ...]
    bin: Path
    home: Path

    def __call__(
        self,
        name: str,
        *words: str | Path,
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        done = subprocess.run(
            [*self.start, str(self.bin / name), *map(str, words)],
            cwd=self.home,
            env={
                **os.environ,
                "HOME": str(self.home),
                "COSIGN_PASSWORD": "",
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        if status is not None:
            said = (done.stdout + done.stderr).decode()
            assert done.returncode == status, f"{name} {words}: {done.returncode}\n{said}"
        return done

    def checks_blob(self, pub: Path, bundled: Path, kind: str, blob: Path) -> Done:
        """``cosign verify-blob-attestation``, offline."""
        return self(
            "cosign",
            *("verify-blob-attestation", "--key", pub, "--bundle", bundled),
            *("--new-bundle-format", "--trusted-root", self.home / "root.json"),
            *("--insecure-ignore-tlog", "--type", kind, blob),
            status=None,
        )

    def checks(
        self, ref: str, pub: Path, kind: str, *, env: Mapping[str, str] | None = None
    ) -> Done:
        """``cosign verify-attestation`` of what hangs on an image as a referrer, offline."""
        return self(
            "cosign",
            *("verify-attestation", "--key", pub, "--new-bundle-format"),
            *("--trusted-root", self.home / "root.json", "--insecure-ignore-tlog"),
            *("--type", kind, ref),
            status=None,
            env=env,
        )

    def push(self, source: str, target: str, *, referrers: bool = True) -> None:
        """Copy an artifact of a layout into a registry, with what hangs on it."""
        words = ["cp", *(["-r"] if referrers else []), "--from-oci-layout", "--to-plain-http"]
        self("oras", *words, source, target)


@contextmanager
def serving(
    folder: Path, port: int = 0, *, more: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[str]:
    """A registry of our own, without the referrers API: the harder kind.

    Args:
        folder: for what it keeps; ``log`` in it has a line for every request.
        port: of the loopback; any when 0.
        more: sections of its configuration, beside ours.

    Yields:
        Its address.
    """
    with held_port(port) as held:
        yield from _serving(folder, held, more or {})


def _serving(folder: Path, port: int, more: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    for name, section in more.items():
        settings[name] = {**settings.get(name, {}), **section}
    (folder / "config.yml").write_text(json.dumps(settings))
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not on this machine: make bootstrap-tests"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        awaited(port, process, folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def held_port(port: int = 0) -> Iterator[int]:
    """One of the loopback that nobody has, and that nobody gets but who asks for it by its number.

    Whoever wants any port, or connects to somewhere, gets another one for as long as this one is
    bound; a server that sets SO_REUSEADDR can have it, because nobody listens here (ip(7)).
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield int(holder.getsockname()[1])


def awaited(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server of ours."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"the registry does not answer: {log.read_text()}")
