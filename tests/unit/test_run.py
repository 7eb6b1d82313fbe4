"""The runner, on real small programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import DeadlineError, ToolError
from buildkit.run import Result, failure, run, tended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    end = time.monotonic() + 30
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def number_in(file: Path) -> int:
    """What a program that runs beside us writes into `file`."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return int(text)
        time.sleep(0.005)
    raise AssertionError(file)


def test_a_result_has_both_streams_and_the_status() -> None:
    result = run(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (result.code, result.text, result.stdout, result.stderr) == (
        0,
        "out\n",
        b"out\n",
        "err\n",
    )
    assert result.argv[0] == sys.executable


def test_much_output_does_not_block() -> None:
    program = "import sys; sys.stdout.write('o' * 3000000); sys.stderr.write('e' * 3000000)"
    result = run(python(program), deadline=60)
    assert (len(result.stdout), len(result.stderr)) == (3_000_000, 3_000_000)


def test_bytes_that_are_no_text_are_replaced() -> None:
    result = run(python(r"import os; os.write(1, b'\xff'); os.write(2, b'a\xfe')"))
    assert (result.stdout, result.text, result.stderr) == (b"\xff", "\ufffd", "a\ufffd")


def test_standard_input() -> None:
    shout = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert run(python(shout), stdin=b"abc" * 100_000).text == "ABC" * 100_000
    assert run(python(shout)).text == ""


def test_a_program_that_does_not_read_its_input() -> None:
    assert run(python("pass"), stdin=b"x" * 1_000_000).code == 0


def test_variables_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("REPLACED", "1")
    show = "import os; print(os.environ['KEPT'], os.environ['REPLACED'], os.environ.get('ADDED'))"
    assert run(python(show), env={"REPLACED": "2", "ADDED": "3"}).text == "1 2 3\n"
    assert run(python(show)).text == "1 1 None\n"


def test_a_program_may_get_a_path_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text(f"#!{sys.executable}\nprint('found')\n")
    (tmp_path / "tool").chmod(0o755)
    assert run(["tool"], env={"PATH": str(tmp_path)}).text == "found\n"
    assert run(python("print(1)"), env={"PATH": "/nothing"}).text == "1\n"
    with pytest.raises(ToolError, match="tool: no such program"):
        run(["tool"], env={"PATH": "/nothing"})


def test_programs_end_when_this_process_is_killed(tmp_path: Path) -> None:
    """Not even `kill -9` leaves a tool at work for nobody (needs ``setpriv``, as in Debian)."""
    program = "import sys; from buildkit.run import run; run([sys.executable, *sys.argv[1:]])"
    wait = (
        "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w', 1)); time.sleep(60)"
    )
    process = subprocess.Popen([*python(program), "-c", wait, str(tmp_path / "pid")])
    try:
        tool = number_in(tmp_path / "pid")
    finally:
        process.kill()
        process.wait()
    assert gone(tool)


def test_the_folder_to_start_in(tmp_path: Path) -> None:
    assert run(python("import os; print(os.getcwd())"), cwd=tmp_path).text == f"{tmp_path}\n"


def test_words_are_never_read_by_a_shell(tmp_path: Path) -> None:
    words = ["$(touch hit)", "; touch hit", "*", "a b", "'", ""]
    result = run([*python("import sys; print(sys.argv[1:])"), *words], cwd=tmp_path)
    assert result.text == f"{words}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_program_has_a_remedy() -> None:
    with pytest.raises(ToolError, match=r"^nothing-of-the-kind: no such program$") as caught:
        run(["nothing-of-the-kind"])
    assert "doctor" in caught.value.remedy
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"cannot be started in {tmp_path}/none"):
        run(python("pass"), cwd=tmp_path / "none")


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ToolError, match="cannot be started: Permission denied"):
        run([tmp_path / "text"])


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; print('why', file=sys.stderr); sys.exit(3)", "exit status 3\n  why"),
        ("print('only on stdout'); raise SystemExit(4)", "exit status 4\n  only on stdout"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_a_failure_says_status_and_reason(program: str, says: str) -> None:
    with pytest.raises(ToolError) as caught:
        run(python(program))
    assert caught.value.message == f"{sys.executable}: {says}"
    assert caught.value.exit_code == 2


def test_a_failure_can_be_looked_at() -> None:
    assert run(python("raise SystemExit(3)"), check=False).code == 3
    assert run(python("import os; os.kill(os.getpid(), 15)"), check=False).code == -15


def test_only_the_end_of_a_long_log_is_told() -> None:
    said = "\n".join(map(str, range(100)))
    told = failure(Result(argv=("tool",), code=1, stdout=b"", stderr=said)).splitlines()
    assert told[0] == "tool: exit status 1"
    assert [line.strip() for line in told[1:]] == [str(number) for number in range(75, 100)]


FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{child.pid}\\n")
time.sleep(600)
"""


def too_long(program: str, file: Path) -> None:
    """Run a program that never ends, with a deadline that lets it come so far as to write `file`.

    How long Python takes to begin depends on what else the machine does.
    """
    for seconds in (1, 5, 25):
        with pytest.raises(DeadlineError, match=f"no answer after {seconds} s; it was stopped"):
            run([*python(program), file], deadline=seconds)
        if file.exists() and file.read_text():
            return
    raise AssertionError(file)


def test_the_deadline_ends_a_program_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever does as it is told is not waited for any longer.
    monkeypatch.setattr("buildkit.run._PATIENCE", 200)
    start = time.monotonic()
    too_long(FAMILY, tmp_path / "pid")
    assert time.monotonic() - start < 150
    assert gone(number_in(tmp_path / "pid"))


def test_children_that_outlive_a_polite_parent_are_ended(tmp_path: Path) -> None:
    deaf = FAMILY.replace("import time; time", "import signal, time; signal.signal(15, 1); time")
    too_long(deaf, tmp_path / "pid")
    assert gone(number_in(tmp_path / "pid"))


def test_a_program_may_clean_up_when_it_is_ended(tmp_path: Path) -> None:
    program = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1]).write_text("clean")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
time.sleep(60)
"""
    too_long(program, tmp_path / "said")
    assert (tmp_path / "said").read_text() == "clean"


def test_a_program_that_does_not_listen_is_ended_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildkit.run._PATIENCE", 0.3)
    program = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
time.sleep(60)
"""
    too_long(program, tmp_path / "pid")
    assert gone(number_in(tmp_path / "pid"))


class Stop(BaseException):
    """What a signal raises."""


@pytest.fixture
def interrupted() -> Iterator[Callable[..., None]]:
    """Send this process a signal as soon as a file is written, and another one after the first."""
    handled = threading.Semaphore(0)

    def stop(*_: object) -> None:
        handled.release()
        raise Stop

    def send(after: Path, times: int) -> None:
        number_in(after)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGUSR1)
            handled.acquire()
            # What it has interrupted begins to clean up.
            time.sleep(0.2)

    def start(after: Path, times: int = 1) -> None:
        threading.Thread(target=send, args=(after, times), daemon=True).start()

    before = signal.signal(signal.SIGUSR1, stop)
    yield start
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_ends_a_program_and_its_children(
    interrupted: Callable[..., None], tmp_path: Path
) -> None:
    interrupted(tmp_path / "pid")
    with pytest.raises(Stop):
        run([*python(FAMILY), tmp_path / "pid"])
    assert gone(number_in(tmp_path / "pid"))


def test_a_second_interrupt_does_not_save_the_program(
    interrupted: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildkit.run._PATIENCE", 50)
    program = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
time.sleep(60)
"""
    interrupted(tmp_path / "pid", times=2)
    start = time.monotonic()
    with pytest.raises(Stop):
        run([*python(program), tmp_path / "pid"])
    # Without the second one it would be asked politely for so long.
    assert time.monotonic() - start < 40
    assert gone(number_in(tmp_path / "pid"))


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_tended_ends_what_the_block_started_and_nothing_else() -> None:
    ours = sleeper()
    theirs: list[subprocess.Popen[bytes]] = []

    def work() -> None:
        with tended():
            theirs.append(sleeper())
            thread = threading.Thread(target=lambda: theirs.append(sleeper()))
            thread.start()
            thread.join()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert [each.wait(60) for each in theirs] == [-15, -15]
    assert ours.poll() is None
    ours.kill()
    ours.wait()


def test_tended_ends_groups_and_programs_that_do_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildkit.run._PATIENCE", 0.3)
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n" + FAMILY
    started: list[subprocess.Popen[bytes]] = []

    def work() -> None:
        with tended():
            words = [*python(deaf), str(tmp_path / "pid")]
            started.append(subprocess.Popen(words, start_new_session=True))
            number_in(tmp_path / "pid")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert started[0].wait(60) == -9
    assert gone(number_in(tmp_path / "pid"))


def test_tended_leaves_programs_alone_when_nothing_goes_wrong() -> None:
    with tended():
        process = sleeper()
    assert process.poll() is None
    process.kill()
    process.wait()
