"""The only module that starts other programs.

A `Runner` takes an argv list and gives a `Result`. Rooms take a `Runner` as an
argument, so a test hands in one that answers from memory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from buildkit import scratch
from buildkit.conversation import Conversation
from buildkit.errors import DeadlineError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TAIL_LINES = 25
_PATIENCE = 5.0
_MOST_UNREAD = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a program left behind.

    Attributes:
        argv: the command as it was started.
        code: exit status; negative for the signal that ended it.
        stdout: its standard output, whole.
        stderr: its standard error, whole, undecodable bytes replaced.
    """

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text, undecodable bytes replaced."""
        return self.stdout.decode(errors="replace")


class Runner(Protocol):
    """Starts one program and waits for it."""

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        """Run `argv` to its end.

        Args:
            argv: program and arguments; never passed through a shell.
            cwd: folder to start in.
            env: variables added to (or replacing) this process's own.
            stdin: bytes for standard input; nothing when absent.
            deadline: seconds until the program and its children are ended.
            check: raise when the exit status is not 0.

        Raises:
            ToolError: the program is missing, or failed and `check` is set.
            DeadlineError: it did not end in time.
        """
        ...


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    deadline: float | None = None,
    check: bool = True,
) -> Result:
    """The `Runner` for real programs; each gets a process group of its own, ended with it."""
    words = tuple(str(word) for word in argv)
    home = scratch.session()
    with tempfile.TemporaryFile(dir=home) as out, tempfile.TemporaryFile(dir=home) as err:
        process = _started(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=out,
            stderr=err,
        )
        try:
            process.communicate(stdin, timeout=deadline)
        except subprocess.TimeoutExpired as error:
            _end(process)
            msg = f"{words[0]}: no answer after {deadline:.0f} s; it was stopped"
            raise DeadlineError(msg) from error
        except BaseException:
            _end(process)
            raise
        out.seek(0)
        err.seek(0)
        result = Result(
            argv=words,
            code=process.returncode,
            stdout=out.read(),
            stderr=err.read().decode(errors="replace"),
        )
    if check and result.code != 0:
        raise ToolError(failure(result))
    return result


def _started(
    words: tuple[str, ...],
    *,
    stdin: int,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """A program in a process group of its own; what keeps it from starting, in our words."""
    try:
        return subprocess.Popen(
            tied(words, env),
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            msg = f"{words[0]}: cannot be started in {cwd}: there is no such folder"
            raise ToolError(msg) from error
        msg = f"{words[0]}: no such program"
        raise ToolError(msg, "run `python -m buildkit doctor` to see what is missing") from error
    except OSError as error:
        msg = f"{words[0]}: cannot be started: {error.strerror}"
        raise ToolError(msg) from error


@contextmanager
def talk(argv: Sequence[str | Path], *, limit: int = _MOST_UNREAD) -> Iterator[Conversation]:
    """Start a program in a process group of its own, to speak with; it ends with the block.

    Args:
        argv: program and arguments; never passed through a shell.
        limit: bytes that a line, and all output that nobody has read yet, may have.

    Raises:
        ToolError: the program is missing or cannot be started.
    """
    words = tuple(str(word) for word in argv)
    pipe = subprocess.PIPE
    process = _started(words, stdin=pipe, stdout=pipe, stderr=pipe)
    pipes = [each for each in (process.stdin, process.stdout, process.stderr) if each is not None]
    try:
        conversation = Conversation(
            words[0], pipes, limit=limit, status=process.poll, end=lambda: _end(process)
        )
        yield conversation
    finally:
        try:
            if process.poll() is None:
                _end(process)
        finally:
            for each in pipes:
                with suppress(OSError):
                    each.close()


def tied(words: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A command whose program is asked to end when this process is killed (prctl(2), PDEATHSIG).

    Without ``setpriv`` (util-linux) it is the command as it was: programs then work to their end.
    """
    # By its path: the program's own PATH may lack it. What cannot be started is left as it is, so
    # that the system says why.
    setpriv = shutil.which("setpriv")
    if setpriv is None or shutil.which(words[0], path=(env or {}).get("PATH")) is None:
        return tuple(words)
    return (setpriv, "--pdeathsig", "TERM", "--", *words)


def failure(result: Result) -> str:
    """One message for a program that failed: its name, its status, the end of what it said."""
    said = (result.stderr.strip() or result.text.strip()).splitlines()[-_TAIL_LINES:]
    how = f"exit status {result.code}" if result.code >= 0 else f"signal {-result.code}"
    return "\n  ".join([f"{result.argv[0]}: {how}", *said])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children: first politely, so that it can clean up, then for good."""
    if process.returncode is None:
        try:
            _end_all({process.pid})
        finally:
            process.wait()


@contextmanager
def tended() -> Iterator[None]:
    """End every program that the block started when an exception leaves it.

    For libraries that start programs without the runner and forget them on Ctrl-C. Programs that
    ran before the block are left alone (Linux: proc(5), ``children``).
    """
    before = _children()
    try:
        yield
    except BaseException:
        _end_all(_children() - before)
        raise


def _children() -> set[int]:
    """The processes that threads of this one have started and that nobody has waited for yet."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, thread.read_text(encoding="ascii").split()))
    return found


def _end_all(processes: set[int]) -> None:
    """End children of ours and the process groups that they lead; whoever started them waits."""
    try:
        _signal(processes, signal.SIGTERM)
        _await(processes)
    finally:
        # Also when a second Ctrl-C cuts the patience short. A child that has ended keeps its
        # number until it is waited for, so what is left of its group can still be named by it.
        _signal(processes, signal.SIGKILL)
    _await(processes)


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        if _state(process) is not None:
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(process) == process:
                    os.killpg(process, number)
                else:
                    os.kill(process, number)


def _await(processes: set[int]) -> None:
    end = time.monotonic() + _PATIENCE
    while any(_state(process) is False for process in processes) and time.monotonic() < end:
        time.sleep(0.002)


def _state(process: int) -> bool | None:
    """Whether a child has ended, and nothing when it is none any more; nobody's wait is spoilt."""
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(os.P_PID, process, how) is not None
    except ChildProcessError:
        return None
