"""Folders that outlive nothing, and programs that end with whoever started them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from buildkit import scratch
from buildkit.run import tied

HOLD = """
import sys, time
from pathlib import Path
from buildkit import scratch
with scratch.folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print("made", flush=True)
    time.sleep(60)
"""


def holder(home: Path) -> subprocess.Popen[bytes]:
    """A process that has a folder in `home`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"made\n"
    process.stdout.close()
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    with scratch.folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "below").mkdir()
        (folder / "below/file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_it_goes_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch.folder(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_goes_too(tmp_path: Path) -> None:
    with scratch.folder(tmp_path) as folder:
        (folder / "store").mkdir()
        (folder / "store/path").write_text("x")
        (folder / "store").chmod(0o555)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_what_the_next_sweep_takes(tmp_path: Path) -> None:
    process = holder(tmp_path)
    assert scratch.sweep(tmp_path) == 0
    kill(process)
    assert len(list(tmp_path.iterdir())) == 2
    assert scratch.sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_alone_what_is_not_ours(tmp_path: Path) -> None:
    for name in ("edge-buildkit-0", "other.lock", "edge-buildkit"):
        (tmp_path / name).mkdir()
    (tmp_path / "edge-buildkit-link.lock").symlink_to("/etc/passwd")
    with scratch.folder(tmp_path) as folder:
        assert scratch.sweep(tmp_path) == 0
        assert folder.is_dir()
    assert len(list(tmp_path.iterdir())) == 4
    assert scratch.sweep(tmp_path / "none") == 0


def test_prefixes_do_not_see_each_other(tmp_path: Path) -> None:
    kill(holder(tmp_path))
    assert scratch.sweep(tmp_path, ".recipe.lock.") == 0
    assert scratch.sweep(tmp_path) == 1


def test_sweeps_and_folders_at_once(tmp_path: Path) -> None:
    lost: list[Path] = []
    end = time.monotonic() + 1

    def make() -> None:
        while time.monotonic() < end:
            with scratch.folder(tmp_path) as folder:
                if not folder.is_dir():
                    lost.append(folder)

    def sweep() -> None:
        while time.monotonic() < end:
            scratch.sweep(tmp_path)

    threads = [threading.Thread(target=work) for work in (make, make, sweep, sweep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []


CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}.'); time.sleep(60)"
PARENT = """
import sys
from buildkit.run import run
run([sys.executable, "-c", *sys.argv[1:]])
"""


def test_a_program_ends_with_whoever_started_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, file])
    end = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith(".")) and time.monotonic() < end:
        time.sleep(0.01)
    # A process that has ended has no program any more, whether it was waited for or not.
    child = Path("/proc", file.read_text().removesuffix("."), "exe")
    assert child.exists()
    kill(process)
    while child.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not child.exists()


def test_what_cannot_be_started_is_left_as_it_is() -> None:
    assert tied(["nothing-of-the-kind", "x"]) == ("nothing-of-the-kind", "x")
    assert tied(["true"])[-1] == "true"


def test_a_signal_while_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first signal is raised, and may be so in the midst of the removal."""
    remove, calls = shutil.rmtree, 0

    def interrupted(path: Path, *, ignore_errors: bool) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            (path / "file").unlink()
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch.folder(tmp_path) as folder:
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
