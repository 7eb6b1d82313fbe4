"""Parts of files on their way to a socket."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fake_registry import Fake, serving
from registry_world import LAYER, access, make, name_of

from buildkit.pipeline import registries
from buildkit.registry import upload
from buildkit.registry.section import PIECE, Section, cut, through

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 8000


@pytest.fixture
def lines() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def read(line: socket.socket, size: int, into: bytearray) -> None:
    while len(into) < size:
        into += line.recv(100_000)


@pytest.mark.parametrize(("offset", "size"), [(0, len(DATA)), (1000, len(DATA) - 1000), (7, 1)])
def test_it_arrives(
    tmp_path: Path, lines: tuple[socket.socket, socket.socket], offset: int, size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    found = bytearray()
    reader = threading.Thread(target=read, args=(lines[1], size, found))
    reader.start()
    with path.open("rb") as file:
        part = Section(file=file, offset=offset, size=len(DATA) - offset).first(size)
        assert len(part) == size
        assert bytes(part) == DATA[offset : offset + size]
        through(lines[0], part)
        reader.join()
    assert found == DATA[offset : offset + size]


def test_nobody_reads(tmp_path: Path, lines: tuple[socket.socket, socket.socket]) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    lines[0].settimeout(0.05)
    with path.open("rb") as file, pytest.raises(TimeoutError):
        through(lines[0], Section(file=file, offset=0, size=len(DATA)))


def test_somebody_reads_too_slowly(
    tmp_path: Path, lines: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not hold us for ever."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    calls = 0

    def trickle(_out: int, _in: int, _at: int, _count: int) -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise BlockingIOError
        return 1

    clock = iter(range(10**6))
    monkeypatch.setattr(os, "sendfile", trickle)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with path.open("rb") as file, pytest.raises(TimeoutError):
        through(lines[0], Section(file=file, offset=0, size=len(DATA)))
    assert calls < 100


def test_the_file_becomes_shorter(
    tmp_path: Path, lines: tuple[socket.socket, socket.socket]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    with path.open("rb") as file, pytest.raises(OSError, match="shorter"):
        through(lines[0], Section(file=file, offset=0, size=5))


def test_pieces() -> None:
    assert b"".join(cut(DATA)) == DATA
    assert {len(each) for each in cut(DATA)} == {PIECE, len(DATA) % PIECE}


def test_a_file_system_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel does not send is read and sent."""
    asked = []

    def unable(*words: int) -> int:
        asked.append(words)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "sendfile", unable)
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert fake.blobs[world.layer.digest] == LAYER
    assert asked


@pytest.mark.parametrize("resumes", [True, False])
def test_a_cut_in_the_one_request(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resumes: bool,  # noqa: FBT001
) -> None:
    """What goes in one request at first goes on in chunks, from where the registry is."""
    sizes = {"mount": "", "whole": upload.WHOLE, "chunk": 500_000}
    monkeypatch.setattr(upload.put, "__kwdefaults__", sizes)
    world = make(tmp_path / "a")
    with serving(Fake(resumes=resumes, cut_uploads=[200_000])) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert fake.blobs[world.layer.digest] == LAYER
    start = 200_000 if resumes else 0
    chunks = [headers["Content-Range"] for verb, _, headers in fake.requests if verb == "PATCH"]
    assert chunks[0] == f"{start}-{start + 499_999}"
    assert len(fake.completed) == len(set(fake.completed))
