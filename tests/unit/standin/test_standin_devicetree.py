"""The device tree's bytes: what is read is written again, and a Pi 5 is what it says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


def load() -> Any:
    spec = importlib.util.spec_from_file_location(
        "standin_devicetree", ROOT / "nix/standin/devicetree.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TREE = load()
NAMES = st.text("abcdefgh,@-#0123456789", min_size=1, max_size=20)


def node(properties: dict[str, bytes], nodes: dict[str, Any]) -> Any:
    made = TREE.Node()
    made.properties, made.nodes = properties, nodes
    return made


PROPERTIES = st.dictionaries(NAMES, st.binary(max_size=40), max_size=5)
TREES = st.recursive(
    st.builds(node, PROPERTIES, st.just({})),
    lambda inner: st.builds(node, PROPERTIES, st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


def plain(tree: Any) -> Any:
    return [
        list(tree.properties.items()),
        [(name, plain(below)) for name, below in tree.nodes.items()],
    ]


@given(TREES, st.binary(max_size=64).map(lambda data: data + bytes(16 - len(data) % 16)))
def test_what_is_written_is_read_again(tree: Any, reserved: bytes) -> None:
    blob = TREE.render(tree, reserved)
    found, kept = TREE.parse(blob)
    assert plain(found) == plain(tree)
    assert kept == reserved
    assert TREE.render(found, kept) == blob
    assert int.from_bytes(blob[4:8], "big") == len(blob)


def test_it_says_raspberry_pi_and_that_it_is_none() -> None:
    tree = node({"model": b"virt\0"}, {"cpus": node({}, {"cpu@0": node({}, {})})})
    TREE.dress(tree, 0xB04170, "a mark")
    assert tree.properties["model"] == b"Raspberry Pi 5 Model B Rev 1.0\0"
    assert tree.properties["compatible"].startswith(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert tree.properties["edge-standin"] == b"a mark\0"
    assert tree.nodes["system"].properties["linux,revision"] == bytes.fromhex("00b04170")
    steps = tree.nodes["cpus"].nodes["cpu@0"].properties["operating-points-v2"]
    assert steps == tree.nodes["edge-standin-opp"].properties["phandle"]
