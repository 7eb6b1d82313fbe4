"""The command line: one thin file a command; parse, call, render. Nothing else prints.

Exit status: 0 it holds; 1 it does not; 2 it could not be decided; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

from buildkit import __version__, tools
from buildkit.errors import BuildkitError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name → what it does. A new command is a line here and a file with `arguments` and `run`;
# only the file of the command that was asked for is imported.
COMMANDS = {
    "init": "write a commented recipe that builds",
    "lock": "pin every input of a recipe; report or move pins",
    "fetch": "bring every input of a lock, so that a build needs no network",
    "build": "build the image and the model of a recipe",
    "show": "list a store, or one artifact with all that hangs on it",
    "gc": "delete what nothing in a store refers to",
    "engine": "start, stop or look at the pinned BuildKit engine",
    "doctor": "say what this machine has and lacks",
}

_EPILOG = """\
exit status: 0 it holds; 1 it does not (accuracy too low, digests differ, lock has drifted);
2 it could not be decided (bad input, a tool is missing, no network); 130 interrupted
"""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser, with the arguments of one command, or of all."""
    top = argparse.ArgumentParser(
        prog="python -m buildkit",
        description="From one recipe to a pinned runtime image and a quantised model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edge-buildkit {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command in (None, name):
            module = importlib.import_module(f"buildkit.cli.{name}")
            module.arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words and words[0] in COMMANDS else None
    options = parser(command or "").parse_args(words)
    # Nix may stand in its own profile, where a fresh shell does not look.
    os.environ["PATH"] = tools.search_path()
    module = importlib.import_module(f"buildkit.cli.{options.command}")
    try:
        status: int = module.run(options)
        sys.stdout.flush()
    except BuildkitError as error:
        from buildkit.cli import render  # noqa: PLC0415 - only when there is an error to show

        render.error(error, as_json=getattr(options, "json", False))
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was published", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read us has seen enough; keep Python from complaining while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
