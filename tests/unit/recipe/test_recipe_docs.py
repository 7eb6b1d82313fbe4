from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from recipe_project import Project

from buildkit.recipe import TARGETS, load, schema

TEXT = (Path(__file__).parents[3] / "docs" / "recipe.md").read_text(encoding="utf-8")


def sections() -> dict[str, str]:
    """Heading → what stands below it."""
    parts = re.split(r"^## `?\[?([^\]`\n]*)\]?`?\n", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in `text`, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def tables(rule: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path or "At the top", rule)]
    for name, inner in rule["properties"].items():
        # Those of one target have the keys of [smoke].
        if inner.get("type") == "object" and path != "smoke.targets":
            found += tables(inner, f"{path}.{name}".strip("."))
    return found


@pytest.mark.parametrize(("title", "rule"), tables(schema()), ids=[t for t, _ in tables(schema())])
def test_every_key_and_default_is_told(title: str, rule: dict[str, Any]) -> None:
    told = {row[0].strip("`"): row for row in rows(sections()[title])}
    keys = {k: v for k, v in rule["properties"].items() if v.get("type") != "object"}
    assert list(told) == list(keys)
    for name, key in keys.items():
        if name in rule["required"]:
            default = "*required*"
        elif "default" in key:
            default = f"`{_toml(key['default'])}`"
        else:
            default = "`[]`" if key.get("type") == "array" else "*none*"
        assert told[name][2] == default, name


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_target_is_told() -> None:
    told = rows(sections()["Targets"])
    assert told == [
        [
            f"`{target.name}`",
            target.title,
            target.platform,
            target.runtime,
            target.precision,
            str(target.max_batch),
            f"{target.memory_limit >> 20} MiB",
            target.kernel,
        ]
        for target in TARGETS.values()
    ] + [
        [f"`{target.name}`", target.vendor_tool, target.firmware]
        for target in TARGETS.values()
        if target.vendor_tool
    ] + [
        [
            f"`{target.name}`",
            target.board,
            str(target.page_bytes),
            f"{target.max_temperature_c:g} °C",
            target.governor,
            "yes" if target.tells_throttling else "no",
        ]
        for target in TARGETS.values()
        if target.board and target.max_temperature_c is not None
    ]


def test_the_example_is_right(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    project = Project(tmp_path)
    (tmp_path / "exact.py").touch()
    assert load(project.recipe(example)).name == "digits"
