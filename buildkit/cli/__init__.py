"""The command line: one thin file a command; parse, call, render. Nothing else prints.

Exit status: 0 it holds; 1 it does not; 2 it could not be decided; 128 and more: a signal ended it
(130 Ctrl-C, 143 SIGTERM, 141 whoever read us went away).
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from buildkit import __version__, tools
from buildkit.cli import signals
from buildkit.errors import BuildkitError, Fault, InputError, Interrupted, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name → what it does. A new command is a line here and a file with `arguments` and `run`;
# only the file of the command that was asked for is imported.
COMMANDS = {
    "init": "write a commented recipe that builds",
    "lock": "pin every input of a recipe; report or move pins",
    "fetch": "bring every input of a lock, so that a build needs no network",
    "build": "build the image and the model of a recipe",
    "rebuild": "make an artifact again from scratch, and compare digest by digest",
    "sign": "sign again what a build said about its artifacts",
    "evidence": "list what is said about an artifact, or print one piece of it",
    "keys": "list, make, rotate, retire, export or import the keys that sign",
    "verify": "hold an artifact and all that is said about it against a policy",
    "device": "enrol a board, ask it, or forget it",
    "smoke": "run an image and its model on devices, and judge what they measure",
    "gate": "judge again what devices saw of an image, by the rules of today",
    "push": "copy an artifact with all that hangs on it from a store to a registry",
    "pull": "bring an artifact with all that hangs on it from a registry into a store",
    "copy": "copy an artifact with all that hangs on it from registry to registry",
    "promote": "let a channel lead to an image that is proven, or back to the one before",
    "matrix": "say which jobs a CI needs for your recipes, as JSON for GitHub Actions",
    "show": "list a store, or one artifact with all that hangs on it",
    "audit": "ask what is inside, what it was made from, who signed, where it ran",
    "why": "say why two artifacts, or two locks, differ",
    "gc": "delete what nothing in a store refers to",
    "engine": "start, stop or look at the pinned BuildKit engine",
    "standin": "start, stop or disturb an emulated board, for whoever has none",
    "doctor": "say what this machine has and lacks",
}

_EPILOG = """\
exit status: 0 it holds; 1 it does not (accuracy too low, digests differ, lock has drifted);
2 it could not be decided (bad input, a tool is missing, no network); 130 interrupted,
143 ended by SIGTERM
"""

_READER_GONE = 141
_ROOM = "make room on that disk; the variable TMPDIR names the folder for temporary files"
_RIGHTS = "check who may write there, and whether it is mounted writable"
_MACHINE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, f"{self.prog} --help")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser: of one command alone, of all, or for "" of all without their arguments."""
    top = _Parser(
        prog="python -m buildkit",
        description="From one recipe to a pinned runtime image and a quantised model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edge-buildkit {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        if command and name != command:
            continue
        sub = commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command != "":
            module = importlib.import_module(f"buildkit.cli.{name}")
            module.arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    _open_streams()
    try:
        with signals.raised():
            return _command(words)
    except BuildkitError as error:
        problem = error
    except KeyboardInterrupt as error:
        problem = Interrupted(error.number if isinstance(error, signals.Stopped) else 2)
    except BrokenPipeError:
        # Whoever read us has seen enough; keep Python from complaining while it exits.
        _drop_output()
        return _READER_GONE
    except OSError as error:
        problem = MachineError(_what(error), _MACHINE.get(error.errno or 0, ""))
    except MemoryError:
        problem = MachineError("there is not enough memory", "end other programs, or add memory")
    except Exception as error:  # noqa: BLE001 - Python's own exit status for it, 1, would read as "no"
        import traceback  # noqa: PLC0415 - only for what should never happen

        last = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__} at {last.filename}:{last.lineno}: {error}"
        problem = Fault(message, "this is a mistake in the program: please report it")
        if not as_json:
            traceback.print_exc()
    from buildkit.cli import render  # noqa: PLC0415 - only when there is an error to show

    _drop_output()
    render.error(problem, as_json=as_json)
    return problem.exit_code


def _command(words: list[str]) -> int:
    command = words[0] if words and words[0] in COMMANDS else None
    options = parser(command or "").parse_args(words)
    # Nix may stand in its own profile, where a fresh shell does not look.
    os.environ["PATH"] = tools.search_path()
    module = importlib.import_module(f"buildkit.cli.{options.command}")
    status: int = module.run(options)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        msg = f"standard output cannot be written: {error.strerror}"
        raise MachineError(
            msg, "the command itself is done; run it again to see its answer"
        ) from error
    return status


def _open_streams() -> None:
    """Let every standard stream be there, and print whatever the locale cannot say as escapes."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would become our output.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - a standard stream stays open
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Forget what is left to print: Python would try to when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _what(error: OSError) -> str:
    said = error.strerror or str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {said}" if error.filename else said
