from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from buildkit import canonical, digests
from buildkit.gate import Rules, digest, document, rules
from buildkit.recipe import TARGETS, SmokeSpec


def test_defaults_are_the_targets() -> None:
    pi5 = rules(SmokeSpec(), TARGETS["pi5"])
    assert pi5 == Rules(
        page_bytes=16384,
        max_temperature_c=80,
        governor="performance",
        memory_limit=1 << 30,
        target="pi5",
        machine="aarch64",
        board="Raspberry Pi 5",
        tells_throttling=True,
    )
    amd64 = rules(SmokeSpec(), TARGETS["amd64"])
    assert amd64 == Rules(governor="", memory_limit=4 << 30, target="amd64", machine="x86_64")


def test_the_recipe_goes_before_the_target() -> None:
    said = SmokeSpec(
        max_p95_ms=10,
        max_memory_mib=200,
        memory_limit_mib=512,
        governor="",
        page_bytes=4096,
        providers=("CPUExecutionProvider",),
        targets={"pi5": SmokeSpec(max_p95_ms=8, max_temperature_c=70)},
    )
    found = rules(said, TARGETS["pi5"])
    assert (found.max_p95_ms, found.max_temperature_c, found.governor) == (8, 70, "")
    assert (found.max_memory_bytes, found.memory_limit) == (200 << 20, 512 << 20)
    assert (found.page_bytes, found.providers) == (4096, ("CPUExecutionProvider",))
    assert rules(said, TARGETS["amd64"]).max_p95_ms == 10


def test_every_key_of_a_recipe_is_a_rule() -> None:
    renamed = {"max_memory_mib": "max_memory_bytes", "memory_limit_mib": "memory_limit"}
    keys = {renamed.get(each.name, each.name) for each in fields(SmokeSpec)} - {"targets"}
    of_the_target = {"target", "machine", "board", "tells_throttling"}
    assert {each.name for each in fields(Rules)} == keys | of_the_target


def test_the_digest_is_of_the_document() -> None:
    found = rules(SmokeSpec(min_accuracy=95), TARGETS["pi5"])
    assert digest(found) == digests.of_bytes(canonical.dump(document(found)))
    assert json.loads(canonical.dump(document(found))) == document(found)
    assert digest(found) == digest(replace(found, min_accuracy=95.0, max_temperature_c=80.0))


@pytest.mark.parametrize("name", [each.name for each in fields(Rules)])
def test_every_rule_counts_for_the_digest(name: str) -> None:
    found = rules(SmokeSpec(), TARGETS["pi5"])
    value = getattr(found, name)
    other: Any = ("x",) if name == "providers" else "x" if isinstance(value, str) else 77
    assert digest(replace(found, **{name: other})) != digest(found)
