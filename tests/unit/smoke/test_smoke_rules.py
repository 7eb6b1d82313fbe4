"""The package stands alone: it runs where only numpy and ONNX Runtime are."""

from __future__ import annotations

import ast
import json
import re
import sys

from smoke.profiles import PROFILES
from smoke.samples import pack
from smoke_parts import ROOT

MODULES = sorted((ROOT / "device-smoke" / "smoke").glob("*.py"))
DOCS = (ROOT / "docs" / "smoke-report.md").read_text()


def test_imports_are_its_own_numpy_and_onnxruntime() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "onnxruntime"}
    found = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
    assert found - allowed == set()
    assert max(len(module.read_text().splitlines()) for module in MODULES) < 400


def test_the_page_names_every_field() -> None:
    schema = json.loads((ROOT / "docs" / "smoke-report.schema.json").read_bytes())
    words = set(re.findall(r"\w+", DOCS))
    endings = set(re.findall(r"`[\w.]*\*(\w+)`", DOCS))
    profile = set(next(iter(PROFILES.values())).document())
    missing = {
        name
        for name in properties(schema) - profile
        if name not in words and not any(name.endswith(ending) for ending in endings)
    }
    assert missing == set()


def properties(schema: object) -> set[str]:
    found: set[str] = set()
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            found |= set(schema["properties"])
        for value in schema.values():
            found |= properties(value)
    elif isinstance(schema, list):
        for value in schema:
            found |= properties(value)
    return found


def test_profiles_are_as_long_as_the_rules_ask() -> None:
    assert list(PROFILES) == ["quick", "smoke", "release"]
    for profile in PROFILES.values():
        assert profile.warmups >= 10
        assert profile.windows * profile.window_samples >= 90
    assert PROFILES["smoke"].windows * PROFILES["smoke"].window_ms >= 5000
    release = PROFILES["release"]
    assert release.window_ms >= 5000
    assert release.window_samples >= 1000
    assert release.processes >= 3


def test_the_decoder_on_the_page_works() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 - our own page
    unpack = scope["unpack"]
    assert callable(unpack)
    for numbers in ([1, 2, 1 << 20], [5, 1 << 40]):
        assert unpack(pack(numbers)).tolist() == numbers
