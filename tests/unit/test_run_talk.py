"""Speaking with real small programs."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from buildkit.errors import DeadlineError, ToolError
from buildkit.run import talk


def python(program: str) -> list[str]:
    return [sys.executable, "-uc", program]


def gone(pid: int) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line.upper())"


def test_lines_go_to_and_fro() -> None:
    with talk(python(ECHO)) as program:
        for word in (b"one\n", b"two\n"):
            assert program.write(word, wait=60)
        assert program.line(wait=0.05) in (None, b"ONE\n")
        program.close()
        rest = [program.line(wait=60) for _ in range(3)]
        assert rest[-1] == b""
        assert b"TWO\n" in rest
        assert program.finish(wait=60) == 0


def test_the_last_line_may_lack_its_end() -> None:
    with talk(python("print('a'); print('b', end='')")) as program:
        assert [program.line(wait=60) for _ in range(4)] == [b"a\n", b"b", b"", b""]


def test_nothing_in_time_is_not_the_end() -> None:
    with talk(python("input(); print('late')")) as program:
        assert program.line(wait=0.05) is None
        assert program.line(wait=0) is None
        assert program.write(b"\n")
        assert program.line() == b"late\n"


def test_one_that_chatters_on_standard_error_does_not_stop_the_clock() -> None:
    noise = "import sys\nprint('ready')\nwhile True: sys.stderr.write('x' * 100)"
    with talk(python(noise)) as program:
        assert program.line(wait=60) == b"ready\n"
        start = time.monotonic()
        assert program.line(wait=0.3) is None
        with pytest.raises(DeadlineError, match=r"took no input for 0 s"):
            program.write(b"x" * 1_000_000, wait=0.3)
        assert time.monotonic() - start < 60
        assert program.stderr == "x" * (1 << 16)


def test_both_sides_may_say_much_at_once() -> None:
    """Neither waits for the other to listen first."""
    data = b"x" * 99 + b"\n"
    with talk(python(ECHO)) as program:
        assert program.write(data * 50_000, wait=60)
        program.close()
        count = 0
        while line := program.line(wait=60):
            assert line == data.upper()
            count += 1
        assert count == 50_000


def test_a_program_that_reads_no_more_can_still_be_heard() -> None:
    with talk(python("input(); print('full'); raise SystemExit(3)")) as program:
        assert not program.write(b"\n" + b"x" * 1_000_000, wait=60)
        assert program.line(wait=60) == b"full\n"
        assert not program.write(b"more")
        assert program.finish(wait=60) == 3


def test_a_program_that_does_not_read() -> None:
    with (
        talk(python("import time; time.sleep(60)")) as program,
        pytest.raises(DeadlineError, match="took no input"),
    ):
        program.write(b"x" * 1_000_000, wait=0.2)


def test_a_line_has_a_limit() -> None:
    with (
        talk(python("print('x' * 1_000_000, end='')"), limit=100_000) as program,
        pytest.raises(ToolError, match="more than 100000 bytes"),
    ):
        program.line(wait=60)


def test_what_it_complained_about_is_kept() -> None:
    with talk(python("import sys; sys.stderr.buffer.write(b'why \\xff'); sys.exit(2)")) as program:
        assert program.finish(wait=60) == 2
        assert program.stderr == "why \ufffd"


def test_one_that_does_not_end_is_ended() -> None:
    with talk(python("import time; print('x' * 200000); time.sleep(60)")) as program:
        assert program.finish(wait=0.3) == -15


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_the_end_of_the_block_ends_it_and_its_children() -> None:
    with talk(python(FAMILY)) as program:
        child = int(program.line(wait=60) or b"")
    assert gone(child)


def test_so_does_an_error() -> None:
    child = 0

    def work() -> None:
        nonlocal child
        with talk(python(FAMILY)) as program:
            child = int(program.line(wait=60) or b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert gone(child)


def test_a_missing_program_has_a_remedy() -> None:
    with pytest.raises(ToolError, match=r"^nothing-of-the-kind: no such program$"):  # noqa: SIM117
        with talk(["nothing-of-the-kind"]):
            pass


def pipes() -> set[str]:
    """Those that this process has open, by their own numbers."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        # The folder itself was open while it was read.
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("pipe:")}


def test_no_pipe_is_left_open() -> None:
    before = pipes()
    for _ in range(3):
        with talk(python("pass")) as program:
            program.line(wait=60)
    # Others of this process may be closed meanwhile.
    assert pipes() <= before
