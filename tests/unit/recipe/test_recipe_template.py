from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit.errors import InputError
from buildkit.recipe import load, schema, template

DIGITS = Path(__file__).parents[3] / "recipes" / "digits"


def test_it_builds_with_the_files_of_digits(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    shutil.copytree(DIGITS, folder)
    (folder / "recipe.toml").write_text(template("shelf-camera"), encoding="utf-8")
    recipe, digits = load(folder / "recipe.toml"), load(DIGITS / "recipe.toml")
    assert recipe.name == "shelf-camera"
    assert recipe.platforms == digits.platforms
    assert recipe.targets == digits.targets
    assert recipe.source_date_epoch == digits.source_date_epoch == 1767225600
    # What to know of a model, its own people must say.
    assert recipe.model == replace(digits.model, considerations=None)
    assert recipe.image.debian.packages == digits.image.debian.packages
    assert recipe.image.python == digits.image.python
    assert set(recipe.image.debian.exclude) <= set(digits.image.debian.exclude)
    assert set(recipe.image.prune) <= set(digits.image.prune)


def keys(rule: dict[str, Any]) -> set[str]:
    below = rule.get("properties", {})
    return set(below).union(*(keys(inner) for inner in below.values()))


def test_it_shows_every_key() -> None:
    text = template("x")
    shown = set(re.findall(r"([a-z0-9_]+) = ", text)) | set(re.findall(r"([a-z0-9]+)\]", text))
    assert keys(schema()) <= shown


@pytest.mark.parametrize("name", ["", "Digits", 'a"\nb = 1', "a" * 64])
def test_a_name_that_no_recipe_can_have(name: str) -> None:
    with pytest.raises(InputError) as caught:
        template(name)
    assert caught.value.remedy
