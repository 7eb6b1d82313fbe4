"""What can be made to go wrong on a stand-in, and how it is put right: one row a fault."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from buildkit.errors import InputError, ToolError
from buildkit.standin.emulator import NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SHOW = "python -m buildkit standin fault --help"
_FILLER = "/var/edge-standin-full"
_SLOW = "slow"
_SLOW_MICROSECONDS = 100_000
_CALM = 48300


class Hands(Protocol):
    """What a fault works with."""

    def order(self, script: str) -> str:
        """Run a script as root on the board; what it printed.

        Raises:
            ToolError: it failed.
        """
        ...

    def monitor(self, order: str, **arguments: object) -> object:
        """Give the emulator an order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        value: what follows its name, for people; empty when nothing does.
        about: what happens.
        read: checks and normalises the value; raises `InputError`.
        strike: makes it happen.
        heal: puts it right.
        lasts: it is on the disk, so that it outlives a restart.
    """

    value: str
    about: str
    read: Callable[[str], str]
    strike: Callable[[Hands, str], None]
    heal: Callable[[Hands], None]
    lasts: bool = False


def _number(
    name: str, least: int, most: int, *, default: str = "", form: str = "d"
) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            found = int(text or default, 0)
        except ValueError as error:
            msg = f"fault {name}: {text!r} is no whole number"
            raise InputError(msg, _SHOW) from error
        if not least <= found <= most:
            msg = f"fault {name}: {found} is not between {least} and {most}"
            raise InputError(msg, _SHOW)
        return format(found, form)

    return read


def _word(name: str, *words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            rest = f"say one of {', '.join(words)}" if any(words) else "nothing follows it"
            msg = f"fault {name}: {text!r}: {rest}"
            raise InputError(msg, _SHOW)
        return text

    return read


def _state(name: str, text: str) -> str:
    """A script that sets what ``vcgencmd`` answers from; a reader never sees half of it."""
    file = f"/run/edge-standin/{name}"
    return f"echo {text} > {file}.part && mv {file}.part {file}"


def _throttled(hands: Hands, value: str) -> None:
    hands.order(_state("throttled", value))


def _temperature(hands: Hands, value: str) -> None:
    hands.order(_state("temperature", value))


def _full(hands: Hands, value: str) -> None:
    """Reserve what is free, then write until nothing fits."""
    hands.order(
        f"""
        left=$(( {value} << 20 ))
        free() {{ /usr/bin/df --output=avail -B1 / | tail -n 1; }}
        rm -f {_FILLER}*; sync
        for part in 1 2 3 4; do
          size=$(( $(free) - left ))
          while [ $size -gt 65536 ] && ! /usr/bin/fallocate -l $size {_FILLER}.$part; do
            size=$(( size * 15 / 16 ))
          done 2> /dev/null
        done
        [ $left -gt 0 ] || dd if=/dev/zero of={_FILLER}.rest bs=4096 2> /dev/null
        sync
        [ $(free) -le $(( left + 1048576 )) ]
        """
    )


def _room_back(hands: Hands) -> None:
    hands.order(f"rm -f {_FILLER}*; sync")


def _clock(hands: Hands, value: str) -> None:
    hands.order(f"/usr/bin/date -s @$(( $(date +%s) + {value} )) > /dev/null")


def set_clock(hands: Hands) -> None:
    """Give the board this machine's time."""
    hands.order(f"/usr/bin/date -s @{time.time():.3f} > /dev/null")


def _line(hands: Hands, value: str) -> None:
    _line_back(hands)
    if value == "cut":
        hands.monitor("set_link", name=NETWORK, up=False)
    else:
        hands.monitor(
            "object-add",
            qom_type="filter-buffer",
            id=_SLOW,
            netdev=NETWORK,
            interval=_SLOW_MICROSECONDS,
        )


def _line_back(hands: Hands) -> None:
    hands.monitor("set_link", name=NETWORK, up=True)
    try:
        hands.monitor("object-del", id=_SLOW)
    except ToolError:
        # It was not slow.
        return


# Where the programs of container runtimes are; an agent looks for these names.
_PROGRAMS = "/usr/bin/crun /usr/bin/umoci /usr/bin/podman /usr/bin/docker /usr/sbin/runc"


def _runtime_missing(hands: Hands, _: str) -> None:
    hands.order(f"for one in {_PROGRAMS}; do [ ! -e $one ] || mv $one $one.missing; done; sync")


def _runtime_back(hands: Hands) -> None:
    hands.order(f"for one in {_PROGRAMS}; do [ ! -e $one.missing ] || mv $one.missing $one; done")


def _memory(hands: Hands, value: str) -> None:
    """Reserve huge pages: memory is gone at once, and no process holds it."""
    hands.order(
        f"""
        echo 0 > /proc/sys/vm/nr_hugepages
        sync; echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory
        field() {{ sed -n "s/^$1: *\\([0-9]*\\).*/\\1/p" /proc/meminfo; }}
        spare=$(( $(field MemAvailable) - {value} * 1024 ))
        pages=$(( spare / $(field Hugepagesize) ))
        [ $pages -ge 0 ] || {{ echo "less than {value} MiB are left as it is"; exit 1; }}
        echo $pages > /proc/sys/vm/nr_hugepages
        """
    )


def _memory_back(hands: Hands) -> None:
    hands.order("echo 0 > /proc/sys/vm/nr_hugepages")


def _calm(name: str, text: str) -> Callable[[Hands], None]:
    def heal(hands: Hands) -> None:
        hands.order(_state(name, text))

    return heal


FAULTS: Mapping[str, Fault] = {
    "throttled": Fault(
        value="BITS",
        about="the firmware says these bits (0x50005: under-voltage and throttled, now and before)",
        read=_number("throttled", 0, 0xFFFFFFFF, form="#x"),
        strike=_throttled,
        heal=_calm("throttled", "0x0"),
    ),
    "temperature": Fault(
        value="MILLIDEGREES",
        about="the processor has this temperature (85000: 85 °C)",
        read=_number("temperature", -40000, 150000),
        strike=_temperature,
        heal=_calm("temperature", str(_CALM)),
    ),
    "disk-full": Fault(
        value="[MIB]",
        about="the disk has this much room left (0)",
        read=_number("disk-full", 0, 8192, default="0"),
        strike=_full,
        heal=_room_back,
        lasts=True,
    ),
    "clock": Fault(
        value="SECONDS",
        about="the wall clock jumps by so much (-3600: an hour back)",
        read=_number("clock", -(10**9), 10**9),
        strike=_clock,
        heal=set_clock,
    ),
    "line": Fault(
        value="cut|slow",
        about="nothing comes through, or each packet waits up to 0.1 s",
        read=_word("line", "cut", "slow"),
        strike=_line,
        heal=_line_back,
    ),
    "runtime-missing": Fault(
        value="",
        about="no container runtime is installed",
        read=_word("runtime-missing", ""),
        strike=_runtime_missing,
        heal=_runtime_back,
        lasts=True,
    ),
    "memory": Fault(
        value="MIB",
        about="only so much memory is left",
        read=_number("memory", 16, 16384),
        strike=_memory,
        heal=_memory_back,
    ),
}


def named(name: str) -> Fault:
    """One row of the table.

    Raises:
        InputError: there is no such fault.
    """
    if name not in FAULTS:
        msg = f"there is no fault {name!r}: {', '.join(FAULTS)}"
        raise InputError(msg, _SHOW)
    return FAULTS[name]
