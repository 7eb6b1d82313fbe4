"""The real agent answers what the host's side expects, on this machine, without a container."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from device_fakes import Board, Goods, order

from buildkit import digests
from buildkit.device import delivery, enrol, session, zips
from buildkit.device.delivery import Retries
from buildkit.errors import DeviceError, DeviceRefused
from buildkit.evidence.keys import private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = Retries(budget_s=30, first_contact_s=30, first_s=0.01, longest_s=0.05)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path, packed=zips.agent()) as found:
        yield found


def trusted() -> bytes:
    return private.generate("ecdsa-p256", "t", created=0).public.pem


def test_enrolment(board: Board) -> None:
    pems = [trusted(), trusted()]
    done = enrol.enrol(board.device, pems, packed=board.packed, path=board.path)
    assert done.device.key == done.key.id
    assert done.facts.key is not None
    assert done.facts.key.id == done.key.id
    assert len(done.facts.trusted) == 2
    # Once more: the same key, and others that it trusts.
    again = enrol.enrol(board.device, pems[:1], packed=board.packed, path=board.path)
    assert again.key.id == done.key.id
    assert len(again.facts.trusted) == 1


def test_facts(board: Board) -> None:
    found = board.agent().facts()
    assert found.key is None
    assert found.agent
    assert found.python.startswith("3.")
    assert found.openssl.startswith("OpenSSL")
    assert found.page_bytes
    assert found.leftovers == ()


def test_delivery_over_a_line_that_is_cut_anywhere(board: Board) -> None:
    chance = random.Random(5)  # noqa: S311 - any numbers will do
    goods = Goods.of(b"", b"small", *(chance.randbytes(size) for size in (300_000, 2_000_000)))
    agent = board.agent()
    agent.bring()
    # Odd calls ask what is missing, even ones bring it.
    board.line(*({"cut_in": chance.randrange(2_300_000)} for _ in range(6)))
    done = delivery.stream(agent, goods.blobs, goods, retries=QUICK)
    assert board.blobs() == goods.contents
    assert done.cuts > 0
    assert delivery.missing(agent, goods.blobs) == ()
    assert agent.clean(blobs=True)["blobs"] == len(goods.contents)
    assert board.blobs() == {}


def test_what_arrives_garbled_is_sent_again(board: Board) -> None:
    goods = Goods.of(b"x" * 100_000)
    agent = board.agent()
    agent.bring()
    board.line({}, {"flip_in": 50_000})
    delivery.stream(agent, goods.blobs, goods, retries=QUICK)
    assert board.blobs() == goods.contents


def test_a_run_of_what_is_not_there_is_refused(board: Board) -> None:
    done = enrol.enrol(board.device, [trusted()], packed=board.packed, path=board.path)
    with pytest.raises(DeviceRefused, match="shelf-1: "):
        session.run(board.agent(), order(), key=done.key)


def test_a_run_on_a_device_that_nobody_enrolled(board: Board) -> None:
    key = private.generate("ecdsa-p256", "t", created=0).public
    with pytest.raises((DeviceError, DeviceRefused)):
        session.run(board.agent(), order(), key=key)


def test_a_wiped_device_has_nothing_of_ours(board: Board) -> None:
    goods = Goods.of(b"one")
    enrol.enrol(board.device, [trusted()], packed=board.packed, path=board.path)
    delivery.stream(board.agent(), goods.blobs, goods)
    (board.home / ".config/edge-buildkit/devices.toml").write_text("the host's own")
    board.agent().wipe()
    left = [file.relative_to(board.home) for file in board.home.rglob("*") if file.is_file()]
    assert [str(file) for file in left] == [".config/edge-buildkit/devices.toml"]
    assert not (board.home / ".cache/edge-buildkit").exists()


def test_both_zips_are_the_same_each_time() -> None:
    assert zips.agent() == zips.agent()
    assert zips.smoke().digest == digests.of_bytes(zips.smoke().data)
