"""A recipe without mistakes, and the files that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BASE = """\
schema = 1
name = "digits"
version = "1.0.0"
platforms = ["linux/arm64", "linux/amd64"]
targets = ["pi5", "amd64"]

[image]
dockerfile = "app/Dockerfile"
context = "app"

[image.debian]
suite = "bookworm"
packages = ["python3.11-minimal"]

[image.python]
version = "3.11"
requirements = ["numpy", "onnxruntime==1.31.1"]

[model]
task = "image-classification"

[model.train]
script = "train.py"
inputs = ["data/labels.csv"]

[model.prepare]
quantization = "static-int8"

[model.calibration]
data = "train:calibration.npz"

[model.golden]
data = "train:golden.npz"
max_drop = 0.5
"""

FILES = {
    "app/Dockerfile": "FROM scratch\n",
    "train.py": "",
    "data/labels.csv": "",
    "model.onnx": "not yet looked into\n",
    "golden.npz": "",
    "calibration.npz": "",
}


class Project:
    """A folder with a recipe and all the files that one may name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def recipe(self, text: str, name: str = "recipe.toml") -> Path:
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return file
