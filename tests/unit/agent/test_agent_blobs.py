"""Blobs come in pieces, and count once they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest
from agent import places as files
from agent.blobs import Blob, Blobs
from agent.errors import AgentError
from agent.places import Places
from agent_parts import Device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 20_000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
ASKED = {"digest": DIGEST, "size": len(DATA)}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def receive(device: Device, offset: int, data: bytes) -> dict[str, Any]:
    call = device.start("receive", {"blobs": [{**ASKED, "offset": offset}]})
    call.send(data)
    call.hang_up()
    return call.last()


def have(device: Device) -> list[dict[str, Any]]:
    found = device.ask("missing", {"blobs": [ASKED]})["done"]["missing"]
    assert isinstance(found, list)
    return found


def test_a_cut_line_is_gone_on_with(device: Device) -> None:
    assert have(device) == [{**ASKED, "have": 0}]
    error = receive(device, 0, DATA[:70_000])["error"]
    assert (error["kind"], error["blame"]) == ("network", "network")
    assert have(device) == [{**ASKED, "have": 70_000}]
    assert not device.blob(DIGEST).exists()
    # From earlier than what is there, too.
    assert receive(device, 60_000, DATA[60_000:]) == {"done": {"received": [DIGEST]}}
    assert device.blob(DIGEST).read_bytes() == DATA
    assert have(device) == []
    assert list((device.data / "partial").iterdir()) == []


def test_several_blobs_follow_each_other(device: Device) -> None:
    parts = [b"one", b"", b"three" * 100_000]
    wanted = [
        {"digest": "sha256:" + hashlib.sha256(p).hexdigest(), "size": len(p), "offset": 0}
        for p in parts
    ]
    call = device.start("receive", {"blobs": wanted})
    call.send(b"".join(parts))
    assert call.last()["done"]["received"] == [each["digest"] for each in wanted]
    told = {line["progress"]["digest"] for line in call.lines[:-1]}
    assert told == {each["digest"] for each in wanted}
    for each, part in zip(wanted, parts, strict=True):
        assert device.blob(str(each["digest"])).read_bytes() == part


def test_wrong_bytes_never_get_the_name(device: Device) -> None:
    error = receive(device, 0, DATA[:-1] + b"?")["error"]
    assert error["kind"] == "network"
    assert have(device) == [{**ASKED, "have": 0}]
    # Also where only what was kept is wrong.
    receive(device, 0, b"?" + DATA[1:50_000])
    assert receive(device, 50_000, DATA[50_000:])["error"]["kind"] == "network"
    assert have(device) == [{**ASKED, "have": 0}]
    assert not device.blob(DIGEST).exists()


@pytest.mark.parametrize("offset", [1, len(DATA) + 1])
def test_an_offset_that_does_not_fit_is_refused(device: Device, offset: int) -> None:
    assert receive(device, offset, b"x")["error"]["kind"] == "usage"


def test_what_does_not_fit_is_refused_before_a_byte_comes(device: Device) -> None:
    blob = {**ASKED, "size": 1 << 39, "offset": 0}
    error = device.ask("receive", {"blobs": [blob]})["error"]
    assert (error["kind"], error["blame"]) == ("disk", "device")


def test_a_full_disk_keeps_what_came(tmp_path: Path) -> None:
    store = Blobs(Places.of({"HOME": str(tmp_path)}))
    blob = Blob(DIGEST, len(DATA))

    class Full:
        """The file of a disk that is full after 1,000 bytes."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: bytes) -> int:
            room = 1000 - self._file.tell()
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self._file.write(data[:room]))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    with store.writer(blob, 0) as writer:
        writer._file = Full(writer._file)  # type: ignore[assignment]
        with pytest.raises(AgentError, match="disk: the disk is full"):
            writer.write(DATA)
    assert store.have(blob) == 1000
    with store.writer(blob, 1000) as writer:
        writer.write(DATA[1000:])
        writer.finish()
    assert store.there(blob)


def test_one_blob_is_brought_by_one_call_at_a_time(tmp_path: Path) -> None:
    store = Blobs(Places.of({"HOME": str(tmp_path)}))
    blob = Blob(DIGEST, len(DATA))
    with (
        store.writer(blob, 0),
        pytest.raises(AgentError, match="busy"),
        store.writer(blob, 0),
    ):
        pass


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    store = Blobs(Places.of({"HOME": str(tmp_path)}))
    blob = Blob(DIGEST, len(DATA))
    with (
        store.writer(blob, 0) as writer,
        pytest.raises(AgentError, match="more than the announced"),
    ):
        writer.write(DATA + b"x")
    assert store.have(blob) == 0


def test_a_blob_is_hashed_whenever_it_is_read(tmp_path: Path) -> None:
    ticks = []
    store = Blobs(Places.of({"HOME": str(tmp_path)}), lambda: ticks.append(1))
    files.write(store.path(DIGEST), DATA)
    assert store.read(DIGEST, len(DATA)) == DATA
    assert len(ticks) == -(-len(DATA) // (1 << 20))
    with pytest.raises(AgentError, match="are allowed"):
        store.read(DIGEST, 10)
    with pytest.raises(AgentError, match="are named"):
        store.check(DIGEST, 5)
    store.path(DIGEST).write_bytes(DATA[:-1])
    with pytest.raises(AgentError, match=r"refused: .* other bytes"):
        store.check(DIGEST)
    with pytest.raises(AgentError, match=r"refused: .* not on the device"):
        store.check(DIGEST)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=5), st.integers())
def test_however_it_is_cut_it_comes_whole(
    tmp_path: Path, data: bytes, cuts: list[int], salt: int
) -> None:
    store = Blobs(Places.of({"HOME": str(tmp_path)}))
    data += str(salt).encode()
    blob = Blob("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
    for cut in sorted({min(cut, len(data) - 1) for cut in cuts}):
        with store.writer(blob, store.have(blob)) as writer:
            writer.write(data[writer.size : cut])
    with store.writer(blob, store.have(blob)) as writer:
        writer.write(data[writer.size :])
        writer.finish()
    assert store.read(blob.digest, len(data)) == data


def test_clean_removes_all_but_key_and_trust(device: Device) -> None:
    from agent_parts import p256

    key = device.enroll(p256())["key"]
    receive(device, 0, DATA)
    cached = device.home / ".cache/edge-buildkit"
    cached.mkdir(parents=True)
    (cached / "agent-0.pyz").touch()
    removed = device.ask("clean", {"blobs": True})["done"]["removed"]
    assert removed == {"images": 0, "blobs": 1, "partial": 0}
    facts = device.ask("facts", {})["done"]
    assert facts["key"] == key
    assert len(facts["trusted"]) == 1
    assert have(device) == [{**ASKED, "have": 0}]
    assert list(cached.iterdir()) == []
