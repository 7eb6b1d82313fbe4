from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildkit.recipe import TARGETS, Target
from buildkit.records import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def test_the_names() -> None:
    assert list(TARGETS) == [
        "pi5",
        "amd64",
        "pi5-hailo8",
        "pi5-hailo10h",
        "jetson-nano",
        "coral",
    ]


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_each_is_complete(target: Target) -> None:
    assert TARGETS[target.name] is target
    assert target.title
    assert target.platform in PLATFORMS
    assert target.max_batch >= 1
    assert target.memory_limit >= 256 << 20
    assert target.precision in {"int8", "fp16"}
    assert re.fullmatch(r"[0-9]+\.[0-9]+", target.kernel)
    on_cpu = target.runtime == "onnxruntime-cpu"
    assert (target.vendor_tool == "") is on_cpu
    assert (target.firmware == "") is on_cpu


def test_nobody_can_change_them() -> None:
    with pytest.raises(TypeError):
        cast("MutableMapping[str, Any]", TARGETS)["x"] = TARGETS["pi5"]
