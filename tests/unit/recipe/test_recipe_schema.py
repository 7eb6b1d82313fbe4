from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from recipe_project import BASE, Project
from test_recipe_mistakes import CASES, Case, text_of

from buildkit import canonical
from buildkit.errors import RecipeError
from buildkit.recipe import (
    TARGETS,
    ArtifactSource,
    CalibrationSpec,
    ConsiderationsSpec,
    DebianSpec,
    FileSource,
    GoldenSpec,
    ImageSpec,
    ModelSpec,
    PrepareSpec,
    PythonSpec,
    Recipe,
    SmokeSpec,
    TrainSource,
    load,
    schema,
    template,
)

ROOT = Path(__file__).parents[3]
SOURCES = {"train", "file", "artifact"}
VALIDATOR = jsonschema.Draft202012Validator(schema())

# What one file cannot tell, or JSON Schema cannot say.
BEYOND = (
    "no such",
    "not a f",
    "cannot be looked at",
    "leads out",
    "among the platforms",
    "among the targets",
    "needs an accelerator",
    "brings Python",
    "is also in",
    "repeats",
    "has the hash",
    "has no use with method",
    # Floats are a whole number to JSON Schema when they have no fraction, and NaN is in any range.
    "must be 16",
    "a whole number",
)
BEYOND_IDS = (
    "percentile nan",
    "name newline",  # `$` of Python's expressions also matches before a last line break
)


def names(record: type) -> set[str]:
    return {field.name for field in dataclasses.fields(record)}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_its_keys_are_those_of_the_records() -> None:
    root = schema()
    model = root["properties"]["model"]["properties"]
    image = root["properties"]["image"]["properties"]
    smoke = root["properties"]["smoke"]["properties"]["targets"]["properties"]
    for rule, keys in (
        (root, names(Recipe) - {"file", "digest", "document"} | {"schema"}),
        (root["properties"]["image"], names(ImageSpec)),
        (image["debian"], names(DebianSpec)),
        (image["python"], names(PythonSpec)),
        (root["properties"]["model"], names(ModelSpec) - {"source"} | SOURCES),
        (model["train"], names(TrainSource)),
        (model["file"], names(FileSource)),
        (model["artifact"], names(ArtifactSource)),
        (model["prepare"], names(PrepareSpec)),
        (model["calibration"], names(CalibrationSpec)),
        (model["golden"], names(GoldenSpec)),
        (model["considerations"], names(ConsiderationsSpec)),
        (root["properties"]["smoke"], names(SmokeSpec)),
        (smoke["pi5"], names(SmokeSpec) - {"targets"}),
        (smoke["amd64"], names(SmokeSpec) - {"targets"}),
    ):
        assert set(rule["properties"]) == keys
        assert rule["additionalProperties"] is False


def test_its_targets_are_those_that_can_be_built() -> None:
    enum = schema()["properties"]["targets"]["items"]["enum"]
    assert enum == [name for name, target in TARGETS.items() if not target.vendor_tool]


def test_every_example_in_it_is_right() -> None:
    def examples(rule: dict[str, Any]) -> int:
        for example in rule.get("examples", []):
            jsonschema.validate(example, rule)
        below = rule.get("properties", {}).values()
        return len(rule.get("examples", [])) + sum(examples(inner) for inner in below)

    assert examples(schema()) > 30


def test_the_document_is_up_to_date() -> None:
    written = (ROOT / "docs" / "recipe.schema.json").read_bytes()
    assert written == canonical.dump_pretty(schema()), (
        "run python -m buildkit.recipe.schema > docs/recipe.schema.json"
    )


def test_the_module_prints_it() -> None:
    argv = [sys.executable, "-W", "error", "-m", "buildkit.recipe.schema"]
    printed = subprocess.run(argv, check=True, capture_output=True, cwd=ROOT)
    assert printed.stdout == canonical.dump_pretty(schema())
    assert not printed.stderr


def shipped() -> list[Path]:
    return sorted((ROOT / "recipes").glob("*/recipe.toml"))


def test_recipes_are_shipped() -> None:
    assert shipped()


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.parent.name)
def test_every_shipped_recipe_is_right(file: Path) -> None:
    VALIDATOR.validate(tomli.loads(file.read_text(encoding="utf-8")))
    assert load(file).name == file.parent.name


def test_the_base_and_the_template_are_right() -> None:
    VALIDATOR.validate(tomli.loads(BASE))
    VALIDATOR.validate(tomli.loads(template("digits")))


PARSED = [case for case in CASES if case.path]


@pytest.mark.parametrize("case", PARSED, ids=[case.id for case in PARSED])
def test_it_refuses_each_mistake_that_it_can_see(case: Case) -> None:
    beyond = any(words in case.message for words in BEYOND) or case.id in BEYOND_IDS
    try:
        VALIDATOR.validate(tomli.loads(text_of(case)))
    except jsonschema.ValidationError:
        return
    assert beyond


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("schema"))


@given(
    st.sampled_from([line.split(" = ") for line in BASE.splitlines() if " = " in line]),
    st.sampled_from(
        [
            "1",
            "0.25",
            "16",
            "true",
            "[]",
            "['app']",
            "['a', 'b']",
            "'1.0.0'",
            "'train.py'",
            "'golden.npz'",
            "'none'",
            "'static-int8'",
            "'trixie'",
            "'bookworm'",
            "'3.11'",
            "'x-y'",
        ]
    ),
)
def test_it_never_refuses_what_is_right(project: Project, line: list[str], value: str) -> None:
    text = BASE.replace(" = ".join(line), f"{line[0]} = {value}")
    try:
        load(project.recipe(text))
    except RecipeError:
        return
    VALIDATOR.validate(tomli.loads(text))
