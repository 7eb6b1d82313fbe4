"""``engine``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render
from buildkit.errors import InputError

if TYPE_CHECKING:
    import argparse

    from buildkit.engine import Engine

_NOTES = """\
A build starts the engine that its lock pins, and leaves it running for the next one. Its socket
and its build cache are its own; your Docker is not touched.

examples:
  python -m buildkit engine start recipes/digits/recipe.toml
  python -m buildkit engine status
  python -m buildkit engine logs
  python -m buildkit engine stop --delete-cache
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="start the engine that a recipe's lock pins")
    start.add_argument("recipe", type=Path, help="recipe.toml")
    stop = actions.add_parser("stop", help="stop every engine, or one")
    stop.add_argument("--delete-cache", action="store_true", help="delete its build cache as well")
    status = actions.add_parser("status", help="show every engine")
    logs = actions.add_parser("logs", help="print an engine's log")
    logs.add_argument("--lines", type=int, default=50, help="how many, from the end (default: 50)")
    for action in (stop, status, logs):
        action.add_argument("engine", nargs="?", help="its name (12 hex digits)")
    for action in (start, stop, status):
        action.add_argument("--json", action="store_true", help="print one JSON object")
        action.set_defaults(quiet=False)


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    from buildkit.pipeline import other  # noqa: PLC0415 - `--help` must not wait for it

    if options.action == "start":
        status = other.start_engine(options.recipe, progress=render.progress(options))
        engines = [engine for engine in other.engines() if engine.identity == status.identity]
    else:
        engines = _chosen(other.engines(), options.engine)
    if options.action == "logs":
        for engine in engines:
            print(render.lines(engine.tail(options.lines)))
        return 0
    if options.action == "stop":
        for engine in engines:
            engine.stop()
            if options.delete_cache:
                engine.forget()
    return _show(engines, as_json=options.json)


def _chosen(known: tuple[Engine, ...], name: str | None) -> list[Engine]:
    chosen = [engine for engine in known if name is None or engine.identity.startswith(name)]
    if name is not None and not chosen:
        msg = f"{name}: there is no such engine"
        raise InputError(msg, "python -m buildkit engine status")
    return chosen


def _show(engines: list[Engine], *, as_json: bool) -> int:
    found = [engine.status() for engine in engines]
    if as_json:
        rows = [
            {
                name: str(value) if isinstance(value, Path) else value
                for name, value in fields.items()
            }
            for fields in map(dataclasses.asdict, found)
        ]
        render.document({"engines": rows})
    elif found:
        header = ("engine", "state", "process", "emulation", "socket")
        print(
            render.table(
                [
                    header,
                    *(
                        (
                            item.identity,
                            "running" if item.running else "stopped",
                            str(item.pid or "-"),
                            item.binfmt or "-",
                            str(item.socket),
                        )
                        for item in found
                    ),
                ]
            )
        )
    else:
        print("no engine has been started on this machine yet")
    return 0
