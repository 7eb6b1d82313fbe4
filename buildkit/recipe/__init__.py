"""From ``recipe.toml`` to a `Recipe`, or all its mistakes at once.

Reading goes one way: `syntax` (text to values) → `table`, with the `kinds` and `forms` that
`keys` names (values that are right, defaults filled in) → `rules` (between keys, and the files)
→ `parse` (the record and its digest). `notes` gathers the mistakes, `locate` finds their lines.
"""

from __future__ import annotations

from buildkit.recipe.editor import schema
from buildkit.recipe.keys import SCHEMA_VERSION
from buildkit.recipe.parse import limits_of, load
from buildkit.recipe.starter import template
from buildkit.recipe.targets import TARGETS
from buildkit.recipe.types import (
    MADE_BY_TRAINING,
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
    SmokeSpec,
    Source,
    Target,
    TrainSource,
)

__all__ = [
    "MADE_BY_TRAINING",
    "SCHEMA_VERSION",
    "TARGETS",
    "ArtifactSource",
    "CalibrationMethod",
    "CalibrationSpec",
    "ConsiderationsSpec",
    "DebianSpec",
    "FileSource",
    "Fusion",
    "GoldenSpec",
    "ImageSpec",
    "ModelSpec",
    "PrepareSpec",
    "PythonSpec",
    "Quantization",
    "Recipe",
    "SmokeSpec",
    "Source",
    "Target",
    "TrainSource",
    "limits_of",
    "load",
    "schema",
    "template",
]
