"""The JSON Schema of ``recipe.toml``, for editors, made from the table that the reader uses.

It knows all that one file can tell: keys, types, forms and the rules between tables. Files,
hashes and the agreement of platforms and targets are known to `buildkit.recipe.load` alone.
"""

from __future__ import annotations

from typing import Any

from buildkit.recipe.keys import RECIPE, SOURCES
from buildkit.recipe.table import Table

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of a recipe (JSON Schema, draft 2020-12)."""
    root = table_schema(RECIPE)
    root["properties"]["model"] |= _model_rules()
    return {"$schema": _DIALECT, "title": "recipe.toml of edge-buildkit"} | root


def table_schema(table: Table) -> dict[str, Any]:
    """The schema of one table, with all tables in it."""
    defaults = table.defaults()
    properties: dict[str, Any] = {}
    required = []
    for name, key in table.keys.items():
        if isinstance(key, Table):
            properties[name] = table_schema(key)
            if key.absent == "mistake":
                required.append(name)
            continue
        properties[name] = {"description": key.about} | key.schema() | {"examples": [key.example]}
        if name not in defaults:
            required.append(name)
        elif defaults[name] not in (None, "", ()):
            properties[name]["default"] = defaults[name]
    return {
        "description": table.about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _model_rules() -> dict[str, Any]:
    """One source; calibration exactly for ``static-int8``; trained data only with a script."""
    static = {"properties": {"quantization": {"const": "static-int8"}}}
    trained = {"properties": {"data": {"pattern": "^train:"}}, "required": ["data"]}
    uses_script = {
        "anyOf": [
            {"properties": {name: trained}, "required": [name]}
            for name in ("calibration", "golden")
        ]
    }
    return {
        "oneOf": [{"required": [name]} for name in SOURCES],
        "allOf": [
            {
                "if": {"properties": {"prepare": static}},
                "then": {"required": ["calibration"]},
                "else": {"properties": {"calibration": False}},
            },
            {"if": uses_script, "then": {"required": ["train"]}},
        ],
    }
