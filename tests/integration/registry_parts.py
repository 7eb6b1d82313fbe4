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
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# For keys an empty trust root is enough; without one cosign asks the public service for its own.
NO_ROOT = b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'

Done = subprocess.CompletedProcess[bytes]


@dataclass(frozen=True)
class Tools:
    """cosign and oras as Nix made them, in a home of their own."""

    start: tuple[str, ...]
    bin: Path
    home: Path

    def __call__(self, name: str, *words: str | Path, status: int | None = 0) -> Done:
        done = subprocess.run(
            [*self.start, str(self.bin / name), *map(str, words)],
            cwd=self.home,
            env={**os.environ, "HOME": str(self.home), "COSIGN_PASSWORD": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
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

    def checks(self, ref: str, pub: Path, kind: str) -> Done:
        """``cosign verify-attestation`` of what hangs on an image as a referrer, offline."""
        return self(
            "cosign",
            *("verify-attestation", "--key", pub, "--new-bundle-format"),
            *("--trusted-root", self.home / "root.json", "--insecure-ignore-tlog"),
            *("--type", kind, ref),
            status=None,
        )

    def push(self, source: str, target: str, *, referrers: bool = True) -> None:
        """Copy an artifact of a layout into a registry, with what hangs on it."""
        words = ["cp", *(["-r"] if referrers else []), "--from-oci-layout", "--to-plain-http"]
        self("oras", *words, source, target)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """A registry of our own, without the referrers API: the harder kind.

    Args:
        folder: for what it keeps; ``log`` in it has a line for every request.
        port: of the loopback; any when 0.

    Yields:
        Its address.
    """
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not on this machine: make bootstrap-tests"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        _await(port, process, folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"the registry does not answer: {log.read_text()}")
