"""Starts a worker, waits for it, and puts into words how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Kind, SmokeError
from .host import Host
from .process import killed_for_memory
from .stopping import stopping

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(__file__).resolve().parent


def run(job: Mapping[str, Any], deadline_ns: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The worker's result, and the reasons for what is unknown in it.

    Args:
        job: see `worker`.
        deadline_ns: monotonic time at which the worker is killed.

    Raises:
        SmokeError: it refused, crashed, was killed or took too long.
    """
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "ORT_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", f"{PACKAGE.name}.worker"]
    # A signal in the midst of a start would leave a child that nobody knows of.
    stopping.hold()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        stopping.release()
        message = f"a process cannot be started: {error.strerror}"
        raise SmokeError(Kind.DEVICE, message) from error
    with child:
        try:
            stopping.release()
            seconds = (deadline_ns - time.monotonic_ns()) / 1e9
            out, said = child.communicate(
                json.dumps({**job, "parent": os.getpid()}).encode(), max(seconds, 0.001)
            )
        except subprocess.TimeoutExpired as error:
            child.kill()
            message = "the model did not finish before the deadline"
            raise SmokeError(Kind.MODEL, message) from error
        except BaseException:
            child.kill()
            raise
    return _read(child.returncode, out, said.decode(errors="replace"))


def _read(code: int, out: bytes, said: str) -> tuple[dict[str, Any], dict[str, str]]:
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    if code == -signal.SIGKILL:
        raise _killed(Host())
    if code < 0:
        raise SmokeError(Kind.RUNTIME, f"the process of the model died of signal {-code}: {last}")
    try:
        answer = json.loads(out)
    except ValueError as error:
        message = f"the process of the model ended with {code}: {last}"
        raise SmokeError(Kind.RUNTIME, message) from error
    if "error" in answer:
        raise SmokeError(Kind(answer["error"]["kind"]), answer["error"]["message"])
    return answer["result"], answer["unknown"]


def _killed(host: Host) -> SmokeError:
    """Whose fault a kill is: of the limit on memory, as far as one can know, or of the board."""
    if killed_for_memory(host) is False:
        message = "the process of the model was killed from outside: its memory had not run out"
        return SmokeError(Kind.DEVICE, message)
    return SmokeError(Kind.MEMORY, "the process of the model was killed, likely out of memory")
