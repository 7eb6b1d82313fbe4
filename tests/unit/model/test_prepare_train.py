"""The stage that runs a recipe's script, as the sandbox does: a process of its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULES = Path(__file__).parents[3] / "buildkit/model"

# Any file is a model here: reading it is the next stage's business.
SCRIPT = """
import os, sys
from pathlib import Path
import helper
out = Path(os.environ["OUT"])
(out / "model.onnx").write_text(helper.WORDS + os.environ["SEED"])
(out / "data").mkdir()
(out / "data/golden.npz").write_text(" ".join([__name__, *sys.argv[1:], *sorted(os.listdir())]))
"""


def train(
    tmp_path: Path, script: str, *, name: str = "train.py", **more: str
) -> tuple[int, Path, str]:
    """Run the stage; exit status, the folder it wrote, its standard error."""
    given = tmp_path / "given"
    given.mkdir()
    texts = {name: script, **more}
    files = {}
    for number, (path, text) in enumerate(texts.items()):
        # Nix gives each file a name of its own.
        file = given / f"{number}-file"
        file.write_text(text)
        file.chmod(0o444)
        files[path] = str(file)
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-B", "-m", "prepare", "train", "--out", out],
        env={
            **os.environ,
            "PYTHONPATH": str(MODULES),
            "SEED": "7",
            "script": name,
            "files": json.dumps(files),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, out, done.stderr


def last_error(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_a_script_finds_its_files_its_seed_and_its_folder(tmp_path: Path) -> None:
    status, out, _ = train(tmp_path, SCRIPT, **{"helper.py": "WORDS = 'weights '"})
    assert status == 0
    assert (out / "model.onnx").read_text() == "weights 7"
    assert (out / "data/golden.npz").read_text() == "__main__ helper.py train.py"


def test_a_script_in_a_folder_of_the_recipe_runs_there(tmp_path: Path) -> None:
    status, out, _ = train(
        tmp_path,
        SCRIPT,
        name="model/train.py",
        **{
            "model/helper.py": "from pathlib import Path; WORDS = Path('../a').read_text()",
            "a": "b",
        },
    )
    assert status == 0
    assert (out / "model.onnx").read_text() == "b7"


def test_what_a_script_writes_has_the_same_permissions_whatever_it_set(tmp_path: Path) -> None:
    script = SCRIPT + "\nfor f in out.rglob('*'): f.chmod(0o700 if f.is_dir() else 0o600)\n"
    status, out, _ = train(tmp_path, script, **{"helper.py": "WORDS = ''"})
    assert status == 0
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in out.rglob("*")}
    assert modes == {"model.onnx": 0o644, "data": 0o755, "golden.npz": 0o644}


def test_nothing_is_left_beside_the_output(tmp_path: Path) -> None:
    train(tmp_path, SCRIPT, **{"helper.py": "WORDS = ''"})
    assert sorted(f.name for f in tmp_path.iterdir()) == ["given", "out"]


@pytest.mark.parametrize(
    ("script", "error", "shown"),
    [
        ("1 / 0", "train.py failed: ZeroDivisionError: division by zero", "1 / 0"),
        ("import nowhere", "train.py failed: ModuleNotFoundError: No module named 'nowhere'", ""),
        ("def f(:", "train.py failed: SyntaxError", "def f(:"),
        ("raise SystemExit(4)", "train.py ended with exit status 4", ""),
        ("raise SystemExit('no data')", "train.py ended with exit status no data", ""),
        ("pass", "train.py wrote no model.onnx", ""),
        ("raise SystemExit", "train.py wrote no model.onnx", ""),
        ("import os; os.mkdir(os.environ['OUT'] + '/model.onnx')", "wrote no model.onnx", ""),
    ],
)
def test_a_script_that_fails_is_bad_input(
    tmp_path: Path, script: str, error: str, shown: str
) -> None:
    status, _, text = train(tmp_path, script)
    assert status == 3
    assert error in last_error(text)["error"]
    assert last_error(text)["remedy"]
    assert shown in text


def test_a_script_that_ends_well_by_itself_is_well(tmp_path: Path) -> None:
    status, out, _ = train(
        tmp_path, SCRIPT + "\nraise SystemExit(0)", **{"helper.py": "WORDS = ''"}
    )
    assert status == 0
    assert (out / "model.onnx").is_file()


def test_libraries_are_told_to_use_one_thread(tmp_path: Path) -> None:
    script = """
import os
from pathlib import Path
names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Path(os.environ["OUT"], "model.onnx").write_text(" ".join(os.environ[n] for n in names))
"""
    _, out, _ = train(tmp_path, script)
    assert (out / "model.onnx").read_text() == "1 1 1"
