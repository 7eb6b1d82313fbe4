"""``python3 agent.pyz COMMAND``: one request in, JSON lines out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.board import Board
from agent.errors import AgentError, Kind, Stopped, of_system
from agent.machine import Machine
from agent.places import Places
from agent.watch import Signals
from agent.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

_DELIVERY = ("missing", "receive", "pull")
COMMANDS = ("facts", "enroll", "missing", "receive", "pull", "run", "clean")


def main(arguments: Sequence[str], root: Path | None = None) -> int:
    """Answer one call.

    Args:
        arguments: the command's name.
        root: of the machine that is looked at; for tests.

    Returns:
        0 when the last line is ``done``, else 1.
    """
    os.umask(0o077)
    wire, signals = Wire(), Signals()
    try:
        signals.install()
        places = Places.of(os.environ)
        machine = Machine(board=Board(root or Path("/")), places=places)
        wire.done(_answer(arguments, machine, wire, signals))
    except Stopped as stopped:
        # Who asked for an end may still listen; a second signal changes nothing.
        signals.held = True
        wire.error(AgentError(Kind.INTERRUPTED, stopped.why, "run it again"))
    except AgentError as error:
        wire.error(error)
    except OSError as error:
        wire.error(of_system(error))
    except MemoryError:
        wire.error(AgentError(Kind.DEVICE, "out of memory"))
    except Exception as error:  # noqa: BLE001 - else the host would take it for a cut line
        import traceback

        traceback.print_exc()
        wire.error(AgentError(Kind.DEVICE, f"a mistake in the agent: {error!r}"))
    else:
        return 0
    return 1


def _answer(
    arguments: Sequence[str], machine: Machine, wire: Wire, signals: Signals
) -> dict[str, Any]:
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        raise AgentError(Kind.USAGE, f"expected one of {', '.join(COMMANDS)}")
    request = wire.request()
    # Modules are read only when they are needed: a board may be slow.
    if arguments[0] == "run":
        from agent.run import run

        return run(request, machine, signals, wire.source)
    module: Any
    if arguments[0] in _DELIVERY:
        from agent import delivery as module
    else:
        from agent import commands as module
    answer: dict[str, Any] = getattr(module, arguments[0])(request, machine, wire)
    return answer
