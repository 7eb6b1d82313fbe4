"""A pull that was ended in the middle of a blob, and the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fake_registry import Fake, Handler, serving
from registry_world import LAYER, access, make, name_of

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.pipeline import registries
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = digests.of_bytes(LAYER)
HALF = len(LAYER) // 2
# A process that is not there, as pids end before.
ENDED = f"write-4194304-1-{DIGEST[7:15]}01234567"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def left(store: Store) -> list[Path]:
    return list((store.root / ".ingest").iterdir())


def marked(store: Store) -> list[Path]:
    return [each for each in left(store) if each.name[-16:-8] == DIGEST[7:15]]


def ended(store: Store, data: bytes, error: BaseException) -> None:
    with store.receive(DIGEST, len(LAYER)) as incoming:
        incoming.write(data)
        raise error


def test_what_was_left_is_gone_on_with(store: Store) -> None:
    (store.root / ".ingest").mkdir(exist_ok=True)
    (store.root / ".ingest" / ENDED).write_bytes(LAYER[:HALF])
    with store.receive(DIGEST, len(LAYER)) as incoming:
        assert incoming.length == HALF
        incoming.write(LAYER[HALF:])
    assert store.read(DIGEST) == LAYER
    assert left(store) == []


def test_it_is_left_when_the_user_interrupts(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        ended(store, LAYER[:HALF], KeyboardInterrupt())
    [file] = left(store)
    assert file.read_bytes() == LAYER[:HALF]
    # It is this process's, which has not ended: somebody else may still be at it.
    with store.receive(DIGEST, len(LAYER)) as incoming:
        assert incoming.length == 0
        incoming.write(LAYER)
    file.rename(file.with_name(ENDED))
    with store.receive(DIGEST, len(LAYER)) as incoming:
        assert incoming.length == HALF
        incoming.write(LAYER[HALF:])
    assert left(store) == []


@pytest.mark.parametrize("error", [DigestError("not this"), StoreError("no space left")])
def test_what_is_wrong_or_too_much_is_not_left(store: Store, error: Exception) -> None:
    with pytest.raises(type(error)):
        ended(store, LAYER[:HALF], error)
    assert left(store) == []


def test_a_little_is_not_left(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        ended(store, LAYER[:1000], KeyboardInterrupt())
    assert left(store) == []


def test_it_is_of_another_blob(store: Store) -> None:
    (store.root / ".ingest").mkdir(exist_ok=True)
    other = store.root / ".ingest" / "write-4194304-1-0123456789abcdef"
    other.write_bytes(LAYER[:HALF])
    with store.receive(DIGEST, len(LAYER)) as incoming:
        assert incoming.length == 0
        incoming.write(LAYER)
    assert left(store) == [other]


@pytest.mark.parametrize("said", [LAYER + b"more", LAYER[::-1]])
def test_longer_than_the_blob_is_no_part_of_it(store: Store, said: bytes) -> None:
    (store.root / ".ingest").mkdir(exist_ok=True)
    (store.root / ".ingest" / ENDED).write_bytes(said + b"1")
    with store.receive(DIGEST, len(LAYER)) as incoming:
        assert incoming.length == 0
        incoming.write(LAYER)
    assert store.read(DIGEST) == LAYER


@pytest.mark.parametrize("spoilt", [bytes(HALF), LAYER[::-1]])
def test_wrong_bytes_are_fetched_anew(tmp_path: Path, store: Store, spoilt: bytes) -> None:
    """A power cut leaves zeros where bytes were."""
    world = make(tmp_path / "a")
    (store.root / ".ingest").mkdir(exist_ok=True)
    (store.root / ".ingest" / ENDED).write_bytes(spoilt)
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        registries.pull(name_of(fake, "team/demo:1"), store=store, access=access())
        asked = [h.get("Range") for v, p, h in fake.requests if v == "GET" and p.endswith(DIGEST)]
    assert asked[-1] is None
    assert store.read(DIGEST) == LAYER
    assert left(store) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_that_was_ended(tmp_path: Path, store: Store, number: signal.Signals) -> None:
    world = make(tmp_path / "a")
    reached, over = threading.Event(), threading.Event()

    def stall(handler: Handler) -> bool:
        if handler.command != "GET" or not handler.path.endswith(DIGEST) or reached.is_set():
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LAYER)))
        handler.end_headers()
        handler.wfile.write(LAYER[:HALF])
        handler.wfile.flush()
        reached.set()
        over.wait(30)
        handler.close_connection = True
        return True

    words = ["pull", "", "--plain-http", "--quiet", "--store", str(store.root)]
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        fake.before = stall
        words[1] = name_of(fake, "team/demo:1")
        with subprocess.Popen(
            [sys.executable, "-m", "buildkit", *words],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (pytest may have it ignored)
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert reached.wait(30)
            end = time.monotonic() + 30
            while not any(each.stat().st_size == HALF for each in marked(store)):
                assert time.monotonic() < end
                time.sleep(0.01)
            process.send_signal(number)
            assert process.wait(30) == (-9 if number == signal.SIGKILL else 130)
        over.set()
        done = registries.pull(words[1], store=store, access=access())
        asked = [h.get("Range") for v, p, h in fake.requests if v == "GET" and p.endswith(DIGEST)]
    assert asked == [None, f"bytes={HALF}-{len(LAYER) - 1}"]
    assert store.read(DIGEST) == LAYER
    assert marked(store) == []
    assert done.counted.bytes_sent < len(LAYER)
