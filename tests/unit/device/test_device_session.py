"""Only what a device rightly signed about this run, of this order, comes back."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from device_fakes import Board, order

from buildkit.device import enrol, session
from buildkit.device.calls import Patience
from buildkit.errors import DeviceError, DeviceRefused, EvidenceError
from buildkit.evidence import bundle
from buildkit.evidence.keys import private
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.device.answers import Note
    from buildkit.evidence.keys import PublicKey


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path) as found:
        yield found


@pytest.fixture
def key(board: Board) -> PublicKey:
    pem = private.generate("ecdsa-p256", "t", created=0).public.pem
    done = enrol.enrol(board.device, [pem], packed=board.packed, path=board.path)
    board.device = done.device
    return done.key


def test_a_run_comes_back_signed(board: Board, key: PublicKey) -> None:
    board.behave(seconds=0.3)
    heard: list[Note] = []
    found = session.run(board.agent(), order(), key=key, patience=Patience(progress=heard.append))
    assert {"phase": "run"} in heard
    assert found.predicate["run"]["nonce"] == "n-1"
    read = bundle.parse(found.bundle, "the bundle")
    assert (read.key_hint, read.envelope.payload) == (key.hint, found.payload)
    key.verify(read.envelope.signature, read.envelope.signed())
    asked = json.loads((board.home / "order.json").read_text())
    assert asked == {
        "nonce": "n-1",
        "target": "pi5",
        "image": {"index": order().image_index, "manifest": order().image_manifest},
        "model": {"index": order().model_index, "manifest": order().model_manifest},
        "golden": order().golden,
        "smoke": order().smoke,
        "bundles": list(order().bundles),
        "runtime": "auto",
        "limits": {"memory_bytes": 1 << 30, "cpus": 0, "pids": 256},
        "settings": {
            "profile": "smoke",
            "providers": [],
            "threads": 0,
            "optimization": "all",
            "deadline_s": 30,
        },
        "governor": "performance",
    }


def test_a_failed_run_comes_back_too(board: Board, key: PublicKey) -> None:
    failure = {"kind": "memory", "blame": "artifact", "message": "out of memory"}
    board.behave(
        run={"report": None, "failure": failure},
        predicate={"result": "FAILED", "passedTests": [], "failedTests": ["load"]},
    )
    found = session.run(board.agent(), order(), key=key)
    assert found.predicate["run"]["failure"] == failure


def test_the_host_shows_that_it_is_there(
    board: Board, key: PublicKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BEAT_S", 0.1)
    board.behave(seconds=2)
    session.run(board.agent(), order(), key=key)
    assert int((board.home / "beats").read_text()) >= 2


def test_what_is_not_of_this_run_never_comes_back(board: Board, key: PublicKey) -> None:
    board.behave(run={"target": "amd64"})
    with pytest.raises(EvidenceError, match="`target` is not that of the order"):
        session.run(board.agent(), order(), key=key)


def test_another_key_than_the_enrolled_one_is_refused(board: Board, key: PublicKey) -> None:
    (board.home / ".config/edge-buildkit/device/key.pem").unlink()
    enrol.enrol(
        board.device, [key.pem], packed=board.packed, path=board.path
    )  # set up anew behind our back
    with pytest.raises(EvidenceError, match=f"but {key.id} was enrolled") as caught:
        session.run(board.agent(), order(), key=key)
    assert caught.value.reason == Reason.SIGNER_UNKNOWN
    # Also when it says that it is the old one.
    board.behave(answer={"key": key.id})
    with pytest.raises(EvidenceError) as caught:
        session.run(board.agent(), order(), key=key)
    assert caught.value.reason == Reason.SIGNATURE


@pytest.mark.parametrize(
    "answer",
    [
        {"payload": "!"},
        {"payload": ""},
        {"payload": 1},
        {"signature": None},
        {"key": "x"},
        {"key": "0" * 17},
    ],
)
def test_an_answer_that_is_none(board: Board, key: PublicKey, answer: dict[str, Any]) -> None:
    board.behave(answer=answer)
    with pytest.raises(DeviceError, match="answered `run` wrongly") as caught:
        session.run(board.agent(), order(), key=key)
    assert (caught.value.kind, caught.value.blame) == ("network", "device")


@pytest.mark.parametrize("at", [0, 10, 1000])
def test_half_an_answer_is_none(board: Board, key: PublicKey, at: int) -> None:
    agent = board.agent()
    board.line({"cut_out": at})
    with pytest.raises(DeviceError, match="the line was cut during run") as caught:
        session.run(agent, order(), key=key)
    assert (caught.value.kind, caught.value.blame) == ("network", "network")


def test_all_but_the_last_byte_is_no_answer(board: Board, key: PublicKey) -> None:
    """The line that ends it is a line: what lacks its end may lack more."""
    board.behave(says={"run": '{"done": {"payload": "AA==", "signature": "AA==", "key": "x"}}'})
    with pytest.raises(DeviceError, match="without an answer"):
        session.run(board.agent(), order(), key=key)


def test_a_device_that_refuses(board: Board, key: PublicKey) -> None:
    error = {
        "kind": "refused",
        "blame": "artifact",
        "message": "layer 2:\n\x1b[31m wrong digest\u202e",
        "remedy": "build again",
    }
    board.behave(fails={"run": error})
    with pytest.raises(DeviceRefused) as caught:
        session.run(board.agent(), order(), key=key)
    assert caught.value.message == "shelf-1: layer 2: [31m wrong digest"
    assert caught.value.remedy == "build again"
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("kind", ["busy", "runtime", "device", "usage", "disk"])
def test_a_device_that_cannot(board: Board, key: PublicKey, kind: str) -> None:
    board.behave(fails={"run": {"kind": kind, "blame": "device", "message": "no"}})
    with pytest.raises(DeviceError, match="shelf-1: no") as caught:
        session.run(board.agent(), order(), key=key)
    assert (caught.value.kind, caught.value.blame) == (kind, "device")


def test_a_run_that_takes_too_long(board: Board, key: PublicKey) -> None:
    board.behave(seconds=60)
    start = time.monotonic()
    with pytest.raises(DeviceError, match="run took more than 2 s"):
        session.run(board.agent(), order(deadline_s=1), key=key, around_s=1)
    assert time.monotonic() - start < 50
    assert (board.home / "cleaned").exists()


def test_the_device_cleans_up_when_it_is_told_to_stop(board: Board, key: PublicKey) -> None:
    board.behave(seconds=60)
    stop = threading.Event()
    patience = Patience(stop=stop, progress=lambda _: stop.set())
    with pytest.raises(DeviceError, match="told to stop"):
        session.run(board.agent(), order(), key=key, patience=patience)
    assert (board.home / "cleaned").exists()


def test_the_device_cleans_up_after_an_exception_from_here(board: Board, key: PublicKey) -> None:
    """As Ctrl-C is one."""
    board.behave(seconds=60)

    def heard(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.run(board.agent(), order(), key=key, patience=Patience(progress=heard))
    assert (board.home / "cleaned").exists()


def test_several_devices_at_once(tmp_path: Path) -> None:
    found: dict[str, str] = {}

    def work(name: str) -> None:
        (tmp_path / name).mkdir()
        with Board(tmp_path / name) as board:
            board.device = dataclasses.replace(board.device, name=name)
            pem = private.generate("ecdsa-p256", "t", created=0).public.pem
            done = enrol.enrol(board.device, [pem], packed=board.packed, path=board.path)
            got = session.run(board.agent(), order(nonce=name), key=done.key)
            found[name] = got.predicate["run"]["nonce"]

    names = ["shelf-1", "shelf-2", "shelf-3"]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: name for name in names}
