"""Runs a recipe's training script: its files around it, one place to write, nothing else."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(environment: Mapping[str, str], out: Path) -> None:
    """Run the script that the environment names.

    Args:
        environment: ``script``; ``files`` (JSON: path in the recipe's folder → file); the script
            finds ``SEED`` there too, and ``OUT``.
        out: folder for what it writes.

    Raises:
        BadInputError: the script fails, or writes no ``model.onnx``.
    """
    script = environment["script"]
    files = json.loads(environment["files"])
    out.mkdir()
    with tempfile.TemporaryDirectory() as home:
        for name, file in files.items():
            copy = Path(home, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        program = Path(home, script)
        os.chdir(program.parent)
        os.environ["OUT"] = str(out)
        sys.path.insert(0, str(program.parent))
        sys.argv = [str(program)]
        try:
            runpy.run_path(str(program), run_name="__main__")
        except Exception as error:
            traceback.print_exc()
            msg = f"{script} failed: {type(error).__name__}: {error}"
            raise BadInputError(msg, "its traceback stands above") from error
        except SystemExit as error:
            if error.code:
                msg = f"{script} ended with exit status {error.code}"
                raise BadInputError(msg, "its output stands above") from error
        os.chdir("/")
    if not (out / "model.onnx").is_file():
        msg = f"{script} wrote no model.onnx"
        raise BadInputError(msg, "write it into the folder that the variable OUT names")
    for file in out.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
