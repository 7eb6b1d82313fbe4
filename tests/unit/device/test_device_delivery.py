"""Blobs come to a device whole, whatever the line does."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING

import pytest
from device_fakes import Board, Goods
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.device import delivery
from buildkit.device.calls import Patience
from buildkit.device.delivery import Registry, Retries
from buildkit.errors import DeviceError, DigestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.device.answers import Note

QUICK = Retries(budget_s=20, first_contact_s=20, first_s=0.01, longest_s=0.05)


def bytes_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - any bytes will do


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path) as found:
        yield found


def test_only_what_is_not_there_is_sent(board: Board) -> None:
    agent = board.agent()
    first, all_ = Goods.of(b"one"), Goods.of(b"one", b"", bytes_of(1, 3_000_000))
    assert delivery.stream(agent, first.blobs, first).bytes == 3
    done = delivery.stream(agent, all_.blobs, all_)
    assert (done.blobs, done.bytes, done.cuts) == (2, 3_000_000, 0)
    assert board.blobs() == all_.contents
    again = delivery.stream(agent, all_.blobs, all_)
    assert (again.blobs, again.bytes) == (0, 0)


def test_progress_is_told(board: Board) -> None:
    goods = Goods.of(b"one", b"two")
    heard: list[Note] = []
    delivery.stream(board.agent(), goods.blobs, goods, patience=Patience(progress=heard.append))
    assert heard == [{"digest": digest, "bytes": 3} for digest in goods.contents]


def test_a_blob_that_is_wanted_twice_is_sent_once(board: Board) -> None:
    goods = Goods.of(b"one")
    done = delivery.stream(board.agent(), goods.blobs * 2, goods)
    assert (done.blobs, done.bytes) == (1, 3)


def test_a_cut_blob_is_not_sent_again_from_its_beginning(board: Board) -> None:
    goods = Goods.of(bytes_of(2, 2_000_000))
    agent = board.agent()
    agent.bring()
    board.line({}, {"cut_in": 1_500_000})
    done = delivery.stream(agent, goods.blobs, goods, retries=QUICK)
    assert board.blobs() == goods.contents
    assert (done.cuts, done.bytes) == (1, 2_000_000)
    # The dead connection is closed before the next one.
    assert sum("-O" in call for call in board.calls()) == 1


@settings(max_examples=8)
@given(
    cuts=st.lists(
        st.one_of(
            st.fixed_dictionaries({"cut_in": st.integers(0, 250_000)}),
            st.fixed_dictionaries({"cut_out": st.integers(0, 600)}),
            st.just({"status": 255, "stderr": "ssh: connect to host: Connection refused"}),
            st.just({}),
        ),
        max_size=6,
    )
)
def test_wherever_the_line_is_cut_the_right_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[dict[str, int]]
) -> None:
    goods = Goods.of(b"", b"small", bytes_of(3, 100_000), bytes_of(4, 70_000))
    with Board(tmp_path_factory.mktemp("board")) as board:
        board.line(*cuts)
        delivery.stream(board.agent(), goods.blobs, goods, retries=QUICK)
        assert board.blobs() == goods.contents


def test_what_arrives_garbled_is_sent_again(board: Board) -> None:
    goods = Goods.of(bytes_of(5, 100_000))
    agent = board.agent()
    agent.bring()
    board.line({}, {"flip_in": 50_000})
    assert delivery.stream(agent, goods.blobs, goods, retries=QUICK).cuts == 1
    assert board.blobs() == goods.contents


def test_a_line_that_is_always_cut_is_given_up(board: Board) -> None:
    goods = Goods.of(b"one")
    refused = {
        "status": 255,
        "stderr": "ssh: connect to host board port 22: Connection refused\r\n",
    }
    board.line(*[refused] * 100)
    patience = Retries(first_contact_s=0.5, first_s=0.05, longest_s=0.1)
    with pytest.raises(DeviceError, match="nobody answers SSH there") as caught:
        delivery.stream(board.agent(), goods.blobs, goods, retries=patience)
    assert (caught.value.kind, caught.value.blame) == ("network", "network")
    assert len(board.calls()) > 2


def test_a_line_that_brings_nothing_more_is_given_up(board: Board) -> None:
    goods = Goods.of(bytes_of(7, 100_000))
    agent = board.agent()
    agent.bring()
    short = Retries(budget_s=3, first_s=0.05, longest_s=0.1)
    # Each time it gets as far as the request alone.
    board.line({}, {"cut_in": 50_000}, *[{}, {"cut_in": 100}] * 100)
    with pytest.raises(DeviceError, match="the line was cut during receive"):
        delivery.stream(agent, goods.blobs, goods, retries=short)
    board.line()
    assert delivery.stream(agent, goods.blobs, goods).bytes < 60_000
    assert board.blobs() == goods.contents


def test_a_host_key_that_changed_is_no_matter_of_the_line(board: Board) -> None:
    goods = Goods.of(b"one")
    board.line({"status": 255, "stderr": "Host key verification failed.\r\n"})
    with pytest.raises(DeviceError, match="host key"):
        delivery.stream(board.agent(), goods.blobs, goods)
    assert len(board.calls()) == 1


def test_no_key_is_no_matter_of_the_line(board: Board) -> None:
    goods = Goods.of(b"one")
    board.line({"status": 255, "stderr": "pi@board: Permission denied (publickey).\r\n"})
    with pytest.raises(DeviceError, match="does not let this user in"):
        delivery.stream(board.agent(), goods.blobs, goods)
    assert len(board.calls()) == 1


def test_a_full_disk_is_not_tried_again(board: Board) -> None:
    goods = Goods.of(b"one")
    error = {"kind": "disk", "blame": "device", "message": "no space left"}
    board.behave(fails={"receive": error})
    with pytest.raises(DeviceError, match="shelf-1: no space left") as caught:
        delivery.stream(board.agent(), goods.blobs, goods)
    assert (caught.value.kind, caught.value.remedy) == ("disk", "look at it")


def test_an_agent_that_fails_at_once_is_heard_while_much_is_sent(board: Board) -> None:
    goods = Goods.of(bytes_of(6, 5_000_000))
    error = {"kind": "disk", "blame": "device", "message": "no space left"}
    board.behave(fails={"receive": error})
    with pytest.raises(DeviceError, match="no space left"):
        delivery.stream(board.agent(), goods.blobs, goods)


def test_what_is_wrong_here_is_not_sent(board: Board) -> None:
    goods = Goods.of(b"one")
    (digest,) = goods.contents
    wrong = Goods({digest: b"two"})
    with pytest.raises(DigestError, match=digest):
        delivery.stream(board.agent(), goods.blobs, wrong)
    assert board.blobs() == {}


def test_somebody_wants_an_end(board: Board) -> None:
    goods, stop = Goods.of(b"one"), threading.Event()
    stop.set()
    with pytest.raises(DeviceError, match="told to stop") as caught:
        delivery.stream(board.agent(), goods.blobs, goods, patience=Patience(stop=stop))
    assert (caught.value.kind, caught.value.blame) == ("interrupted", "host")


@pytest.mark.parametrize(
    "said",
    [
        '{"done": {"missing": [{"digest": "DIGEST", "size": 4, "have": 0}]}}\n',
        '{"done": {"missing": [{"digest": "DIGEST", "size": 3, "have": 4}]}}\n',
        '{"done": {"missing": [{"digest": "OTHER", "size": 3, "have": 0}]}}\n',
        '{"done": {"missing": {}}}\n',
        '{"done": {}}\n',
    ],
)
def test_a_device_that_asks_for_something_else_gets_nothing(board: Board, said: str) -> None:
    goods = Goods.of(b"one")
    (digest,) = goods.contents
    said = said.replace("DIGEST", digest).replace("OTHER", "sha256:" + "0" * 64)
    board.behave(says={"missing": said})
    with pytest.raises(DeviceError, match="answered `missing` wrongly") as caught:
        delivery.stream(board.agent(), goods.blobs, goods)
    assert (caught.value.kind, caught.value.blame) == ("network", "device")


def test_a_device_pulls_what_it_lacks(board: Board) -> None:
    goods = Goods.of(b"one", b"two")
    (board.home / "registry").mkdir()
    for digest, data in goods.contents.items():
        (board.home / "registry" / digest[7:]).write_bytes(data)
    board.behave(pull_breaks=True)
    registry = Registry(url="http://127.0.0.1:5000", repository="a/b", user="u", password="p")  # noqa: S106
    done = delivery.pull(board.agent(), goods.blobs, registry, retries=QUICK)
    assert board.blobs() == goods.contents
    assert (done.blobs, done.cuts) == (2, 1)
    asked = json.loads((board.home / "pulled.json").read_text())
    assert (asked["user"], asked["password"], asked["ca"]) == ("u", "p", "")
    # The password is not among the words of a command, which everybody can see.
    assert not any("p" in call or "password" in call for call in board.calls())
    assert "p'" not in repr(registry).partition("user")[2].partition("user")[2]
