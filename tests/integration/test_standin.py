"""A real stand-in: made by Nix, started, disturbed, cut. Nothing here asserts how quick it is."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.nix, pytest.mark.network]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Boards:
    """The command line, with a state folder of the tests' own; caches are the user's."""

    state: Path

    def cli(self, *words: str, status: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "buildkit", "standin", *words, "--json"],
            cwd=ROOT,
            env={**os.environ, "XDG_STATE_HOME": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout if status == 0 else done.stderr)
        return found

    def start(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cli("start", *words)["standins"][0]
        return found

    def ssh(self, name: str, command: str, *, check: bool = True) -> str:
        config = self.state / "edge-buildkit/standins" / name / "ssh_config"
        done = subprocess.run(
            ["ssh", "-F", config, "-o", "ConnectTimeout=30", name, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr}"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    made = Boards(tmp_path_factory.mktemp("standins"))
    yield made
    for board in made.cli("status")["standins"]:
        made.cli("forget", board["name"])


@pytest.fixture(scope="module")
def one(boards: Boards) -> Boards:
    """With a board `one` that runs."""
    assert boards.start("one")["running"]
    return boards


def test_it_looks_like_a_pi_and_says_that_it_is_none(one: Boards) -> None:
    assert "Raspberry Pi 5" in one.ssh("one", "tr -d '\\0' < /proc/device-tree/model")
    mark = one.ssh("one", "cat /etc/edge-standin")
    assert "not a Raspberry Pi" in mark
    assert one.ssh("one", "tr -d '\\0' < /proc/device-tree/edge-standin") == mark
    assert one.ssh("one", "getconf PAGESIZE; uname -m").split() == ["16384", "aarch64"]
    assert one.ssh("one", "sudo -n id -u; umask").split() == ["0", "0022"]


def test_it_has_what_an_agent_needs(one: Boards) -> None:
    said = one.ssh(
        "one",
        "python3 -c 'import sys; print(sys.version_info >= (3, 9))' && openssl version"
        " && crun --version && umoci --version && cat /sys/fs/cgroup/cgroup.subtree_control",
    )
    assert said.startswith("True")
    for word in ("OpenSSL", "crun", "umoci", "memory", "pids"):
        assert word in said


def test_its_governor_can_be_set(one: Boards) -> None:
    file = "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    assert one.ssh("one", f"cat {file}") == "ondemand"
    one.ssh("one", f"echo performance | sudo tee {file}; sudo sh -c 'echo ondemand > {file}'")


def test_it_reaches_nothing(one: Boards) -> None:
    program = "import socket; socket.create_connection(('10.0.2.2', 22), 3)"
    assert one.ssh("one", f'python3 -c "{program}"', check=False).startswith("failed")


def test_it_reaches_one_port_where_that_was_asked_for(boards: Boards) -> None:
    data = os.urandom(1 << 20)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        boards.start("reaching", "--reach", str(port))
        program = (
            "import hashlib, urllib.request as u;"
            f"print(*(hashlib.sha256(u.urlopen('http://10.0.2.100:{port}/').read()).hexdigest()"
            " for _ in range(3)))"
        )
        said = boards.ssh("reaching", f'python3 -c "{program}"').split()
        server.shutdown()
    assert said == [hashlib.sha256(data).hexdigest()] * 3
    boards.cli("forget", "reaching")


def test_two_boards_of_one_snapshot_are_two_boards(one: Boards) -> None:
    one.start("two")
    asked = "cat /proc/sys/kernel/random/boot_id /etc/machine-id; openssl rand -hex 16"
    first, second = (one.ssh(name, asked).split() for name in ("one", "two"))
    assert not set(first) & set(second)
    keys = {board["ssh"]["host_key"] for board in one.cli("status")["standins"]}
    assert len(keys) == 2
    one.cli("forget", "two")


@pytest.mark.parametrize(
    ("fault", "command", "sick", "well"),
    [
        (("throttled", "0x50005"), "vcgencmd get_throttled", "throttled=0x50005", "throttled=0x0"),
        (("temperature", "85400"), "vcgencmd measure_temp", "temp=85.4'C", "temp=48.3'C"),
        (("runtime-missing",), "command -v crun || echo none", "none", "/usr/bin/crun"),
        (
            ("disk-full",),
            "dd if=/dev/zero of=x bs=65536 count=16 2> /dev/null && echo room || echo full; rm x",
            "full",
            "room",
        ),
        (
            ("memory", "200"),
            'awk \'/^MemAvailable/ { print ($2 < 400000 ? "little" : "enough") }\' /proc/meminfo',
            "little",
            "enough",
        ),
    ],
)
def test_a_fault_comes_and_goes(
    one: Boards, fault: tuple[str, ...], command: str, sick: str, well: str
) -> None:
    assert one.ssh("one", command) == well
    assert list(one.cli("fault", *fault, "--board", "one")["faults"]) == [fault[0]]
    try:
        assert one.ssh("one", command) == sick
    finally:
        assert one.cli("heal", fault[0], "--board", "one")["faults"] == {}
    assert one.ssh("one", command) == well


def test_the_clock_jumps_and_is_put_right(one: Boards) -> None:
    one.cli("fault", "clock", "-3600", "--board", "one")
    assert abs(int(one.ssh("one", "date +%s")) - time.time() + 3600) < 60
    one.cli("heal", "clock", "--board", "one")
    assert abs(int(one.ssh("one", "date +%s")) - time.time()) < 60


def test_the_line_is_cut_and_slow(one: Boards) -> None:
    config = one.state / "edge-buildkit/standins/one/ssh_config"
    one.cli("fault", "line", "cut", "--board", "one")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["ssh", "-F", config, "one", "true"], check=False, timeout=3)
    one.cli("fault", "line", "slow", "--board", "one")
    one.ssh("one", "true")
    one.cli("heal", "--board", "one")
    one.ssh("one", "true")


def test_after_a_power_cut_what_was_synced_is_there(one: Boards) -> None:
    one.ssh("one", "echo kept > kept; sync")
    before = one.cli("status", "one")["standins"][0]
    assert one.cli("cut", "one")["ran"]
    assert not one.cli("status", "one")["standins"][0]["running"]
    after = one.start("one")
    assert after["ssh"] == before["ssh"]
    assert one.ssh("one", "cat kept") == "kept"


def test_it_can_be_restarted_from_inside(one: Boards) -> None:
    asked = "cat /proc/sys/kernel/random/boot_id"
    before = one.ssh("one", asked)
    one.ssh("one", "sudo reboot", check=False)
    end = time.monotonic() + 120
    after = before
    while (after == before or after.startswith("failed")) and time.monotonic() < end:
        time.sleep(0.5)
        after = one.ssh("one", asked, check=False)
    assert after != before


def test_the_wrong_page_size_is_a_board_of_its_own(boards: Boards) -> None:
    boards.start("narrow", "--pages", "4096", "--memory", "512")
    assert boards.ssh("narrow", "getconf PAGESIZE") == "4096"
    said = boards.cli("start", "narrow", "--pages", "16384", status=2)
    assert "pages" in said["error"]
    boards.cli("forget", "narrow")
