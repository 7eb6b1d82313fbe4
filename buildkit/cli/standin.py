"""``standin``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit.cli import render
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.standin import Standin, Status

_NOTES = """\
A board is emulated, and says so: in /etc/edge-standin, in its device tree, and so in every report.
It has no network but SSH from this machine. Several run at once, each under a name of its own;
its keys, its disk and an SSH configuration are in its folder. See docs/standin.md.

examples:
  python -m buildkit standin start
  python -m buildkit standin start shop --runtime podman --memory 1024
  python -m buildkit standin fault throttled 0x50005
  python -m buildkit standin heal
  python -m buildkit standin cut
  python -m buildkit standin status --json
"""
_DEFAULT = "pi"
_ACTIONS = {
    "start": "start a board; from nothing the first time, then in seconds",
    "stop": "shut a board down; its disk stays",
    "cut": "cut a board's power; the next start finds its disk as it was",
    "status": "show every board, or one, and how to log in",
    "fault": "let something go wrong on a running board",
    "heal": "put right a fault, or all of them",
    "forget": "cut a board's power and delete its disk and its keys",
    "lock": "pin again what stand-ins are made of: the newest packages",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    made = {name: actions.add_parser(name, help=text) for name, text in _ACTIONS.items()}
    for name in ("start", "stop", "cut", "status", "forget"):
        made[name].add_argument("board", nargs="?", help=f"its name (default: {_DEFAULT})")
    _start_arguments(made["start"])
    _fault_arguments(made["fault"], made["heal"])
    made["lock"].add_argument("file", nargs="?", type=Path, help="where to (default: our own)")
    for action in made.values():
        action.add_argument("--json", action="store_true", help="print one JSON object")
        action.set_defaults(quiet=False)


def _start_arguments(start: argparse.ArgumentParser) -> None:
    start.add_argument("--fresh", action="store_true", help="forget its disk, keys and faults")
    start.add_argument("--runtime", choices=("crun", "podman", "docker"), help="(default: crun)")
    start.add_argument("--pages", type=int, help="bytes of a page: 16384 (default) or 4096: wrong")
    start.add_argument("--memory", type=int, metavar="MIB", help="its memory (default: 2048)")
    start.add_argument(
        "--reach", type=int, metavar="PORT", help="let it reach this port of the loopback"
    )
    start.add_argument("--lock", type=Path, help="what to make it of, instead of our own lock")


def _fault_arguments(*actions: argparse.ArgumentParser) -> None:
    from buildkit.standin.faults import FAULTS  # noqa: PLC0415 - of this command alone

    rows = [(f"  {name} {row.value}", row.about) for name, row in FAULTS.items()]
    for action in actions:
        action.epilog = "faults:\n" + render.table(rows)
        action.formatter_class = argparse.RawDescriptionHelpFormatter
        action.add_argument(
            "fault", nargs="?" if action is actions[-1] else None, help="which one; see below"
        )
        action.add_argument("--board", help="the board's name, when there are several")
    actions[0].add_argument("value", nargs="?", default="", help="see below")


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    return _RUN[options.action](options)


def _start(options: argparse.Namespace) -> int:
    from buildkit.pipeline import standins  # noqa: PLC0415 - `--help` must not wait for it

    asked = {
        "runtime": options.runtime,
        "pages": options.pages,
        "memory_mib": options.memory,
        "reach": options.reach,
    }
    status = standins.start(
        options.board or _DEFAULT,
        fresh=options.fresh,
        lock=options.lock,
        progress=render.progress(options),
        **{name: value for name, value in asked.items() if value is not None},
    )
    return _show([status], options)


def _end(options: argparse.Namespace) -> int:
    from buildkit.pipeline import standins  # noqa: PLC0415 - as above

    board = standins.one(options.board or _DEFAULT)
    status = board.status()
    ran = {"stop": board.stop, "cut": board.cut, "forget": board.forget}[options.action]()
    if options.json:
        render.document({"name": board.name, "ran": bool(ran or status.running)})
    else:
        print(f"{board.name}: {'ended' if status.running else 'did not run'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from buildkit.pipeline import standins  # noqa: PLC0415 - as above

    chosen = (standins.one(options.board),) if options.board else standins.every()
    return _show([board.status() for board in chosen], options)


def _fault(options: argparse.Namespace) -> int:
    board = _one(options.board)
    left = board.fault(options.fault, options.value)
    return _say_faults(board, dict(left), options)


def _heal(options: argparse.Namespace) -> int:
    board = _one(options.board)
    left = board.heal(options.fault)
    return _say_faults(board, dict(left), options)


def _lock(options: argparse.Namespace) -> int:
    from buildkit.pipeline import standins  # noqa: PLC0415 - as above

    file, changed = standins.write_lock(options.file)
    if options.json:
        render.document({"lock": str(file), "changed": changed})
    else:
        print(f"{render.plain(str(file))}: {'written' if changed else 'as it was'}")
    return 0


def _one(name: str | None) -> Standin:
    """The board that is meant: the named one, or the only one that runs."""
    from buildkit.pipeline import standins  # noqa: PLC0415 - as above

    if name is not None:
        return standins.one(name)
    running = [board for board in standins.every() if board.status().running]
    if len(running) > 1:
        names = ", ".join(board.name for board in running)
        msg = f"several stand-ins run: {names}"
        raise InputError(msg, "say which one with --board")
    return running[0] if running else standins.one(_DEFAULT)


def _say_faults(board: Standin, left: dict[str, str], options: argparse.Namespace) -> int:
    if options.json:
        render.document({"name": board.name, "faults": left})
    else:
        print(f"{board.name}: {_faults(left)}")
    return 0


def _faults(left: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}".strip() for name, value in left.items()) or "no fault"


def _show(found: list[Status], options: argparse.Namespace) -> int:
    if options.json:
        render.document({"standins": [_document(status) for status in found]})
    elif not found:
        print("there is no stand-in yet: python -m buildkit standin start")
    for status in () if options.json else found:
        state = f"runs (process {status.pid})" if status.running else "does not run"
        kind = status.options
        print(render.plain(f"{status.name}: {state}, {_faults(dict(status.faults))}"))
        print(f"  {kind.runtime}, {kind.memory_mib} MiB, pages of {kind.pages} bytes")
        if status.machine_gone:
            print("  the system that its disk stands on is gone: start it with --fresh")
        print(render.plain(f"  ssh -F {status.folder / 'ssh_config'} {status.name}"))
    return 0


def _document(status: Status) -> dict[str, Any]:
    how = status.connection
    return {
        "name": status.name,
        "running": status.running,
        "pid": status.pid,
        "folder": str(status.folder),
        "options": dataclasses.asdict(status.options),
        "faults": dict(status.faults),
        "machine_gone": status.machine_gone,
        "ssh": {
            "host": how.host,
            "port": how.port,
            "user": how.user,
            "identity": str(how.identity),
            "host_key": how.host_key,
            "config": str(status.folder / "ssh_config"),
        },
    }


_RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "start": _start,
    "stop": _end,
    "cut": _end,
    "status": _status,
    "fault": _fault,
    "heal": _heal,
    "forget": _end,
    "lock": _lock,
}
