"""The commands of docs/first-board.md, as they stand there, against the stand-in."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trial_parts import Bench, Board

PAGE = Path(__file__).parents[2] / "docs/first-board.md"
# Where the page means a board on the user's network.
HOST = "pi@raspberrypi.local"
BLOCK = re.compile(r"^```sh (host|board)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(where: str) -> list[str]:
    """The lines of one kind of block, in the order of the page."""
    return [
        line
        for kind, block in BLOCK.findall(PAGE.read_text())
        if kind == where
        for line in block.splitlines()
    ]


def test_every_block_says_where_it_runs() -> None:
    text = PAGE.read_text()
    assert text.count("```sh ") == len(BLOCK.findall(text))
    # What no stand-in can do is indented, after a line that says so.
    loose = re.findall(r"^([^\n]*)\n\n((?:    [^\n]+\n)+)", text, re.MULTILINE)
    assert loose
    for before, block in loose:
        marked = text[: text.index(block)].rpartition("*board")[2]
        assert marked.startswith(" (not on a stand-in)*"), before


def test_what_the_page_says_on_the_board(board: Board) -> None:
    said = {line: board.ssh(line) for line in commands("board")}
    assert said["getconf PAGESIZE"].strip() == "16384"
    assert said["uname -m"].strip() == "aarch64"
    assert said["vcgencmd get_throttled"].strip() == "throttled=0x0"
    assert "SHA256:" in said["ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"]


def test_what_the_page_says_on_the_host(bench: Bench, tmp_path: Path) -> None:
    board = bench.board
    env = {"EDGE_BUILDKIT_DEVICES": str(tmp_path / "devices.toml")}
    lines = commands("host")
    assert [line for line in lines if not line.startswith("python -m buildkit ")] == []
    outcomes = []
    for line in lines:
        words = shlex.split(line)[3:]
        words = [f"standin:{board.name}" if word == HOST else word for word in words]
        words = [str(tmp_path / word) if word.endswith(".html") else word for word in words]
        if words[0] == "smoke" and "--profile" not in words:
            # A minute and more of an emulator's time would say nothing else.
            words += ["--profile", "quick"]
        if words[0] in {"smoke", "gate"}:
            done = bench.project.cli(*words, "--json", env=env)
            outcomes.append(json.loads(done.stdout)["outcome"])
        else:
            bench.project.cli(*words, env=env)
    assert outcomes == ["PASS", "PASS", "PASS"]
    assert (tmp_path / "digits.html").stat().st_size > 10_000
    # Wiped: it has no key any more.
    assert board.ssh("ls ~/.config/edge-buildkit 2>/dev/null || true").strip() == ""
