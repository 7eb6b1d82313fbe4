"""What goes wrong during a smoke run, by name. Each gives what is to be noted of it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from fault_board import AGENT, GROUPS
from orphans import commands, descendants, kill

from buildkit.errors import BuildkitError
from buildkit.pipeline import standins

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_rounds import Round
    from faults import Smoke, World

END = 420.0
"""Seconds after which a run counts as one that never ends."""


def _nothing(_world: World, _asked: Round, _smoke: Smoke) -> str:
    return ""


def _power(world: World, asked: Round, smoke: Smoke) -> str:
    world.board.cut()
    _pause(smoke, asked.chance.uniform(0, 4))
    standins.start(world.board.name)
    return ""


def _line_for(least: float, most: float) -> Callable[[World, Round, Smoke], str]:
    def strike(world: World, asked: Round, smoke: Smoke) -> str:
        seconds = asked.chance.uniform(least, most)
        world.board.fault("line", "cut")
        _pause(smoke, seconds)
        world.board.heal("line")
        return f"for {seconds:.0f} s"

    return strike


def _line_slow(world: World, asked: Round, smoke: Smoke) -> str:
    world.board.fault("line", "slow")
    _pause(smoke, asked.chance.uniform(5, 25))
    world.board.heal("line")
    return ""


def _ssh(world: World, asked: Round, smoke: Smoke) -> str:
    found = [
        pid
        for pid, words in [*commands(descendants(smoke.process.pid)), *world.orphans()]
        if words.startswith("ssh ") or "/ssh " in words
    ]
    if not found:
        return "no ssh just then"
    kill(asked.chance.choice(found))
    return ""


def _full(world: World, asked: Round, _smoke: Smoke) -> str:
    left = asked.chance.choice([0, 0, 1, 8])
    world.board.fault("disk-full", str(left))
    return f"{left} MiB left"


def _host(_world: World, _asked: Round, smoke: Smoke) -> str:
    smoke.process.kill()
    return ""


def _host_and_ssh(world: World, _asked: Round, smoke: Smoke) -> str:
    below = descendants(smoke.process.pid)
    smoke.process.kill()
    for pid in [*below, *(pid for pid, _ in world.orphans())]:
        kill(pid)
    return ""


def _signalled(number: signal.Signals) -> Callable[[World, Round, Smoke], str]:
    def strike(_world: World, _asked: Round, smoke: Smoke) -> str:
        smoke.process.send_signal(number)
        return ""

    return strike


def _on_board(script: str) -> Callable[[World, Round, Smoke], str]:
    """A script that says ``hit`` when it found what it kills; tried for a few seconds."""

    def strike(world: World, _asked: Round, smoke: Smoke) -> str:
        end = time.monotonic() + 5
        while smoke.goes_on and time.monotonic() < end:
            if "hit" in world.board.order(script):
                return ""
        return "found nothing to kill"

    return strike


def _runtime(world: World, _asked: Round, _smoke: Smoke) -> str:
    world.board.fault("runtime-missing")
    return ""


def _clock(world: World, asked: Round, _smoke: Smoke) -> str:
    seconds = asked.chance.choice([-1, 1]) * int(10 ** asked.chance.uniform(1, 8))
    world.board.fault("clock", str(seconds))
    return f"by {seconds} s"


def _memory(world: World, asked: Round, _smoke: Smoke) -> str:
    left = asked.chance.choice([16, 24, 40, 64])
    try:
        world.board.fault("memory", str(left))
    except BuildkitError as error:
        return f"{left} MiB: {error.message.splitlines()[-1]}"
    return f"{left} MiB left"


def _still(world: World, asked: Round, smoke: Smoke) -> str:
    seconds = asked.chance.uniform(1, 40)
    world.board.monitor("stop")
    try:
        _pause(smoke, seconds)
    finally:
        world.board.monitor("cont")
    return f"for {seconds:.0f} s"


STRIKES: dict[str, Callable[[World, Round, Smoke], str]] = {
    "power cut": _power,
    "line cut, short": _line_for(1, 10),
    "line cut, long": _line_for(20, 50),
    "line cut, for good": _line_for(END, END),
    "ssh killed": _ssh,
    "line slow": _line_slow,
    "disk full before": _nothing,
    "disk full": _full,
    "host killed": _host,
    "host and ssh killed": _host_and_ssh,
    "SIGINT": _signalled(signal.SIGINT),
    "SIGTERM": _signalled(signal.SIGTERM),
    "agent killed": _on_board(f"pid=$(pgrep -o -f {AGENT}) && kill -9 $pid && echo hit; true"),
    "agent and guardian killed": _on_board(f"pkill -9 -f {AGENT} && echo hit; true"),
    "container killed": _on_board(
        f"pid=$(cat {GROUPS}/cgroup.procs {GROUPS}/*/cgroup.procs 2> /dev/null | head -n 1)"
        ' && [ -n "$pid" ] && kill -9 $pid && echo hit; true'
    ),
    "runtime missing": _runtime,
    "clock jump": _clock,
    "out of memory": _memory,
    "board stands still": _still,
}


def _pause(smoke: Smoke, seconds: float) -> None:
    """Until it ends, or so long."""
    end = time.monotonic() + seconds
    while smoke.goes_on and time.monotonic() < end:
        time.sleep(0.05)
