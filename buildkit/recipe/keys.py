"""Every key of ``recipe.toml``, once: reader, JSON Schema and tests all go by this table.

Defaults stand in `buildkit.recipe.types`, whose fields have the names of the keys.
"""

from __future__ import annotations

from typing import Final, get_args

from buildkit.recipe import forms
from buildkit.recipe.kinds import Choice, Flag, Many, Number, RelativePath, Text
from buildkit.recipe.smoke import SMOKE
from buildkit.recipe.table import Table
from buildkit.recipe.targets import TARGETS
from buildkit.recipe.types import (
    ArtifactSource,
    CalibrationMethod,
    CalibrationSpec,
    ConsiderationsSpec,
    DebianSpec,
    FileSource,
    Fusion,
    GoldenSpec,
    ImageSpec,
    ModelSpec,
    PrepareSpec,
    PythonSpec,
    Quantization,
    Recipe,
    Target,
    TrainSource,
)
from buildkit.records import PLATFORMS

SCHEMA_VERSION: Final = 1
"""The newest form of ``recipe.toml`` that is understood."""

SUITES: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian release → the Python that it brings."""

SOURCES: Final = {"train": TrainSource, "file": FileSource, "artifact": ArtifactSource}
"""The tables of ``[model]`` of which there must be exactly one."""


def _lacks(target: Target) -> tuple[str, str]:
    near = next(
        other.name
        for other in TARGETS.values()
        if other.platform == target.platform and not other.vendor_tool
    )
    return (
        f'target "{target.name}" ({target.title}) needs {target.vendor_tool}, which is not here',
        f'remove it, or name "{near}" instead to run on the CPU',
    )


_DATA = RelativePath(
    about="a .npz file with one array for each input of the model, samples first; "
    "train:NAME for one that the training script writes",
    example="train:calibration.npz",
    trained=True,
    suffix=".npz",
)

_DEBIAN = Table(
    about="the Debian packages of the image's first layer",
    record=DebianSpec,
    keys={
        "suite": Choice(
            about="code name of the Debian release; its security updates come with it",
            options=tuple(SUITES),
            example="bookworm",
        ),
        "packages": Many(
            about="packages to install, with what they depend on",
            item=Text(about="a package", form=forms.DEBIAN_PACKAGE, example="python3.11-minimal"),
            least=1,
        ),
        "exclude": Many(
            about="packages to leave out although something depends on them",
            item=Text(about="a package", form=forms.DEBIAN_PACKAGE, example="media-types"),
        ),
    },
)

_PYTHON = Table(
    about="the Python packages of the image's second layer",
    record=PythonSpec,
    keys={
        "version": Text(
            about="the Python that the Debian packages bring",
            form=forms.PYTHON_VERSION,
            example="3.11",
        ),
        "requirements": Many(
            about="distributions to install from wheels, with what they require",
            item=Text(about="a requirement", form=forms.REQUIREMENT, example="onnxruntime==1.31.1"),
        ),
        "exclude": Many(
            about="distributions to leave out although something requires them",
            item=Text(about="a distribution", form=forms.DISTRIBUTION, example="protobuf"),
        ),
    },
)

_IMAGE = Table(
    about="the runtime image",
    record=ImageSpec,
    keys={
        "dockerfile": RelativePath(
            about="the Dockerfile of the app's layers", example="app/Dockerfile"
        ),
        "context": RelativePath(about="the folder that the Dockerfile sees", example="app"),
        "prune": Many(
            about="patterns of files to leave out of the Debian and Python layers",
            item=Text(about="a pattern", form=forms.GLOB, example="usr/share/doc/*"),
        ),
        "debian": _DEBIAN,
        "python": _PYTHON,
    },
)


def _texts(about: str, item: str, example: str) -> Many:
    return Many(about=about, item=Text(about=item, form=forms.LINE, example=example))


_CONSIDERATIONS = Table(
    about="what a person should know before using the model, for its model card",
    record=ConsiderationsSpec,
    absent="nothing",
    keys={
        "users": _texts("who it is made for", "a kind of user", "shop staff at a till"),
        "use_cases": _texts("what it is made for", "a use", "reading digits on a form"),
        "limitations": _texts(
            "where it fails, or was not tried", "a limitation", "only tried on dark ink"
        ),
        "tradeoffs": _texts(
            "what was given up for what", "a trade-off", "int8: a quarter of the size, less exact"
        ),
        "ethical": _texts(
            "risks for people, each as RISK or RISK: WHAT IS DONE ABOUT IT",
            "a risk",
            "a wrong reading goes unnoticed: low scores are shown to a person",
        ),
    },
)

_MODEL = Table(
    about="where the model comes from and what is done to it",
    record=ModelSpec,
    keys={
        "task": Text(about="what the model does", form=forms.TASK, example="image-classification"),
        "license": Text(
            about="SPDX expression of the model's licence", form=forms.SPDX, example="Apache-2.0"
        ),
        "train": Table(
            about="a script that makes the model inside the sandbox",
            record=TrainSource,
            absent="nothing",
            keys={
                "script": RelativePath(about="the Python script to run", example="train.py"),
                "inputs": Many(
                    about="further files that the script reads",
                    item=RelativePath(about="a file", example="data/labels.csv"),
                ),
                "requirements": Many(
                    about="distributions that it imports, besides numpy, onnx and onnxruntime",
                    item=Text(
                        about="a requirement", form=forms.REQUIREMENT, example="scikit-learn"
                    ),
                ),
                "seed": Number(
                    about="SEED in the script's environment",
                    low=0,
                    high=2**32 - 1,
                    example=1,
                    whole=True,
                ),
            },
        ),
        "file": Table(
            about="a model that is an ONNX file",
            record=FileSource,
            absent="nothing",
            keys={
                "path": RelativePath(about="the ONNX file", example="model.onnx"),
                "sha256": Text(
                    about="SHA-256 of the file",
                    form=forms.SHA256,
                    example="0123456789abcdef" * 4,
                ),
            },
        ),
        "artifact": Table(
            about="a model that is an artifact in a store",
            record=ArtifactSource,
            absent="nothing",
            keys={
                "store": RelativePath(
                    about="the store's folder; it may lie outside the recipe's",
                    example="../store",
                    outside=True,
                ),
                "digest": Text(
                    about="digest of the model's manifest",
                    form=forms.DIGEST,
                    example="sha256:" + "0123456789abcdef" * 4,
                ),
            },
        ),
        "prepare": Table(
            about="what happens to the float model",
            record=PrepareSpec,
            absent="defaults",
            keys={
                "shape_inference": Flag(
                    about="add the inferred shapes of all tensors", example=True
                ),
                "fusion": Choice(
                    about="how far ONNX Runtime may fuse nodes before quantisation",
                    options=get_args(Fusion),
                    example="basic",
                    refused={
                        "all": (
                            'fusion "all" makes a graph that depends on the CPU it was made on',
                            'write "extended" or "basic"',
                        )
                    },
                ),
                "quantization": Choice(
                    about="the kind of quantised model",
                    options=get_args(Quantization),
                    example="static-int8",
                ),
                "per_channel": Flag(
                    about="one scale for each output channel of a weight", example=True
                ),
                "reduce_range": Flag(about="7-bit weights, so that no CPU saturates", example=True),
                "block_size": Choice(
                    about="values that share a scale in int4-weights",
                    options=(16, 32, 64, 128, 256),
                    example=32,
                ),
            },
        ),
        "calibration": Table(
            about="the data that the ranges of static-int8 come from",
            record=CalibrationSpec,
            absent="nothing",
            keys={
                "data": _DATA,
                "method": Choice(
                    about="how a range follows from the values seen",
                    options=get_args(CalibrationMethod),
                    example="minmax",
                ),
                "percentile": Number(
                    about="share of the values inside the range, in percent",
                    low=50,
                    high=100,
                    example=99.99,
                ),
                "samples": Number(
                    about="how many samples to use, from the first; all when absent",
                    low=1,
                    high=2**31 - 1,
                    example=200,
                    whole=True,
                ),
            },
        ),
        "golden": Table(
            about="inputs and labels that the quantised model must still get right",
            record=GoldenSpec,
            keys={
                "data": RelativePath(
                    about=_DATA.about + '; with one more array "label" of class numbers',
                    example="train:golden.npz",
                    trained=True,
                    suffix=".npz",
                ),
                "max_drop": Number(
                    about="largest drop of top-1 accuracy, in percentage points",
                    low=0,
                    high=100,
                    example=0.5,
                ),
            },
        ),
        "considerations": _CONSIDERATIONS,
    },
)

RECIPE: Final = Table(
    about="what to build",
    record=Recipe,
    keys={
        "schema": Number(
            about="version of this file's form",
            low=1,
            high=SCHEMA_VERSION,
            example=SCHEMA_VERSION,
            whole=True,
        ),
        "name": Text(
            about="name of the recipe and its artifacts", form=forms.NAME, example="digits"
        ),
        "version": Text(about="version of the artifacts", form=forms.VERSION, example="1.0.0"),
        "description": Text(
            about="one line for people", form=forms.LINE, example="Reads handwritten digits"
        ),
        "license": Text(
            about="SPDX expression of the app's licence", form=forms.SPDX, example="Apache-2.0"
        ),
        "source": Text(
            about="where people find the source code: a URL",
            form=forms.URL,
            example="https://example.org/digits",
        ),
        "platforms": Many(
            about="platforms of the image",
            item=Choice(about="a platform", options=PLATFORMS, example="linux/arm64"),
            least=1,
        ),
        "targets": Many(
            about="kinds of device to prepare the model for",
            item=Choice(
                about="a target",
                options=tuple(row.name for row in TARGETS.values() if not row.vendor_tool),
                example="pi5",
                refused={row.name: _lacks(row) for row in TARGETS.values() if row.vendor_tool},
            ),
            least=1,
            ordered=True,
        ),
        "source_date_epoch": Number(
            about="seconds since 1970 for every timestamp; the last commit's when absent",
            low=0,
            high=2**32 - 1,
            example=1767225600,
            whole=True,
        ),
        "builder": Text(
            about="another flake for the builder's environment; ours when absent",
            form=forms.FLAKE,
            example="github:acme/env#builder",
        ),
        "image": _IMAGE,
        "model": _MODEL,
        "smoke": SMOKE,
    },
)
"""The whole document."""
