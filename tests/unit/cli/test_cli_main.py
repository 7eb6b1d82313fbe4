"""What a shell sees of a command: streams, exit status, one error in one form."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit import cli, errors
from buildkit.cli import show, signals

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]


def kinds(root: type[errors.BuildkitError] = errors.BuildkitError) -> list[type]:
    return [root, *(kind for each in root.__subclasses__() for kind in kinds(each))]


def documented() -> dict[str, int]:
    """Class → exit status, as the tree in the module's docstring has it."""
    return {
        name: int(code) for name, code in re.findall(r"([A-Z]\w+) +(\d+)  ", errors.__doc__ or "")
    }


def example(kind: type) -> errors.BuildkitError:
    if kind in {errors.RecipeError, errors.PolicyError}:
        several = errors.PolicyError if kind is errors.PolicyError else errors.RecipeError
        return several("a.toml", (errors.Problem(path="a", line=1, message="is wrong"),))
    if kind is errors.EvidenceError:
        return errors.EvidenceError("signature", "what happened", "what to type")
    if kind is errors.DeviceError:
        return errors.DeviceError("busy", "device", "what happened", "what to type")
    if kind is errors.Interrupted:
        return errors.Interrupted(signal.SIGINT)
    found: errors.BuildkitError = kind("what happened", "what to type")
    return found


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Make the command `show` do something else."""

    def put(does: Callable[[], int]) -> None:
        def run(_: Namespace) -> int:
            return does()

        monkeypatch.setattr(show, "run", run)

    return put


def raising(error: BaseException) -> Callable[[], int]:
    def does() -> int:
        raise error

    return does


def test_the_tree_of_errors_is_complete() -> None:
    assert documented().keys() == {kind.__name__ for kind in kinds()}


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_gives_its_exit_status(
    kind: type,
    answer: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    *,
    as_json: bool,
) -> None:
    error = example(kind)
    answer(raising(error))
    assert cli.main(["show", *(["--json"] if as_json else [])]) == documented()[kind.__name__]
    said = capsys.readouterr()
    assert said.out == ""
    if as_json:
        document = json.loads(said.err)
        assert document["kind"] == kind.__name__
        assert (document["error"], document["remedy"]) == (error.message, error.remedy)
    else:
        assert f"error: {error.message}" in said.err
        assert f"→ {error.remedy}" in said.err


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_gives_its_own_status(
    status: int, answer: Callable[[Callable[[], int]], None]
) -> None:
    answer(lambda: status)
    assert cli.main(["show"]) == status


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "/tmp/x: No space", "TMPDIR"),  # noqa: S108 - a name
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space", "make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a"), "/a: Disk quota", "make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a: Permission", "who may"),
        (OSError(errno.EROFS, "Read-only file system", b"/\xff"), "Read-only", "writable"),
        (FileNotFoundError("no usable temporary directory"), "no usable temporary", ""),
        (OSError(), "error: OSError", ""),
        (MemoryError(), "not enough memory", "add memory"),
    ],
)
def test_what_the_machine_refuses(
    error: BaseException,
    says: str,
    remedy: str,
    answer: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(raising(error))
    assert cli.main(["show"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert remedy in said
    assert "Traceback" not in said


def test_a_mistake_of_ours_is_never_a_no(
    answer: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer(raising(KeyError("digest")))
    assert cli.main(["show", "--json"]) == 2
    document = json.loads(capsys.readouterr().err)
    assert document["kind"] == "Fault"
    assert re.search(r"KeyError at .*test_cli_main\.py:\d+: 'digest'", document["error"])
    assert "report" in document["remedy"]
    assert cli.main(["show"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "required: COMMAND"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["build"], "required: recipe"),
        (["build", "a", "--nothing"], "unrecognized arguments: --nothing"),
        (["lock", "a", "--check", "--update"], "not allowed with"),
        (["engine"], "required: ACTION"),
        (["engine", "logs", "--lines", "x"], "invalid int value"),
    ],
)
def test_a_command_line_with_a_mistake(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "--help" in said.err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m buildkit {name}")
    assert cli.COMMANDS[name][1:] in said


def test_help_names_every_command_and_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(what[:30])}", said, re.MULTILINE)
    for status in ("0 it holds", "1 it does not", "2 it could not be decided", "130"):
        assert status in said


def test_every_command_that_answers_scripts_says_so() -> None:
    parser = cli.parser()
    (commands,) = [each for each in parser._actions if hasattr(each, "choices") and each.choices]
    assert list(commands.choices or ()) == list(cli.COMMANDS)
    without = [
        name
        for name, sub in dict(commands.choices or {}).items()
        if "--json" not in sub.format_help()
    ]
    assert without == ["init", "engine"]


# --- as processes: streams that are closed, full or gone ---


def shell(
    script: str, *, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "buildkit"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        check=False,
        timeout=300,
    )


def test_a_reader_that_went_away_is_no_success(tmp_path: Path) -> None:
    done = shell('set -o pipefail; "$@" init x --name x | true', folder=tmp_path)
    # Whether the answer was written before the reader went is a race; an error is none.
    assert done.returncode in {0, 141}
    assert done.stderr == b""
    done = shell('set -o pipefail; "$@" init y --name y | (exec <&-; sleep 1)', folder=tmp_path)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_answer_that_cannot_be_written_is_no_success(tmp_path: Path, unbuffered: str) -> None:
    environment = {"PYTHONUNBUFFERED": unbuffered}
    done = shell('"$@" init x --name x > /dev/full', folder=tmp_path, environment=environment)
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr
    assert unbuffered or b"standard output cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_closed_streams(tmp_path: Path) -> None:
    assert shell('"$@" init a --name a >&-', folder=tmp_path).returncode == 0
    assert shell('"$@" init b --name b <&- >&- 2>&-', folder=tmp_path).returncode == 0
    for folder in ("a", "b"):
        assert (tmp_path / folder / "recipe.toml").stat().st_size > 500
    done = shell('"$@" build none.toml 2>&-', folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_knows_few_characters(tmp_path: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = shell('"$@" init "é→" --name x', folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    done = shell('"$@" build none.toml', folder=tmp_path, environment=environment)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


# --- signals ---


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_signal_ends_a_command_after_it_has_cleaned_up(
    number: signal.Signals,
    status: int,
    answer: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    *,
    as_json: bool,
) -> None:
    cleaned = []

    def does() -> int:
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(5)
        finally:
            cleaned.append(True)
        return 0

    answer(does)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert cli.main(["show", *(["--json"] if as_json else [])]) == status
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert cleaned == [True]
    assert after == before
    said = capsys.readouterr()
    assert said.out == ""
    if as_json:
        assert json.loads(said.err)["kind"] == "Interrupted"
    else:
        assert said.err.startswith("error: interrupted\n")


def test_the_second_signal_lets_it_clean_up(answer: Callable[[Callable[[], int]], None]) -> None:
    cleaned = []

    def does() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(signal.getsignal(signal.SIGTERM))
        return 0

    answer(does)
    assert cli.main(["show"]) == 143
    # The third would have ended it.
    assert cleaned == [signal.SIG_DFL]


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with signals.raised():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
