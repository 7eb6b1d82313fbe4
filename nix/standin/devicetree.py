# ruff: noqa: INP001 - a program of the sandbox, not a package
"""devicetree.py IN OUT REVISION MARK: what QEMU says of its `virt` machine, as a Pi 5 would.

Reads and writes the flattened device tree (Devicetree Specification v0.4, chapter 5). The frequency
scaling has one step: the guest's kernel then has real governors to set, and nothing changes speed.
"""

import struct
import sys
from pathlib import Path

BEGIN, END, PROPERTY, NOP, LAST = 1, 2, 3, 4, 9
HEADER = struct.Struct(">10I")
HERTZ = 2_400_000_000


class Node:
    """One node: its properties and the nodes below it, in order."""

    def __init__(self) -> None:
        self.properties: dict[str, bytes] = {}
        self.nodes: dict[str, Node] = {}


def parse(blob: bytes) -> tuple[Node, bytes]:
    """The root node, and the block of reserved memory as it is."""
    magic, _, structure, strings, reserved, *_ = HEADER.unpack_from(blob)
    if magic != 0xD00DFEED:
        msg = "not a device tree"
        raise SystemExit(msg)
    above: list[Node] = [Node()]
    at = structure
    while True:
        (word,) = struct.unpack_from(">I", blob, at)
        at += 4
        if word == BEGIN:
            end = blob.index(0, at)
            node = above[-1].nodes[blob[at:end].decode()] = Node()
            above.append(node)
            at = (end + 4) & ~3
        elif word == END:
            above.pop()
        elif word == PROPERTY:
            size, name = struct.unpack_from(">II", blob, at)
            start = strings + name
            key = blob[start : blob.index(0, start)].decode()
            above[-1].properties[key] = blob[at + 8 : at + 8 + size]
            at = (at + 8 + size + 3) & ~3
        elif word == LAST:
            return above[0].nodes[""], blob[reserved:structure]


def render(root: Node, reserved: bytes) -> bytes:
    """The tree as bytes; version 17."""
    strings = bytearray()
    places: dict[str, int] = {}
    parts = bytearray()

    def write(name: str, node: Node) -> None:
        parts.extend(struct.pack(">I", BEGIN) + name.encode() + b"\0")
        parts.extend(bytes(-len(parts) % 4))
        for key, value in node.properties.items():
            if key not in places:
                places[key] = len(strings)
                strings.extend(key.encode() + b"\0")
            parts.extend(struct.pack(">III", PROPERTY, len(value), places[key]) + value)
            parts.extend(bytes(-len(parts) % 4))
        for below, child in node.nodes.items():
            write(below, child)
        parts.extend(struct.pack(">I", END))

    write("", root)
    parts.extend(struct.pack(">I", LAST))
    structure = HEADER.size + len(reserved)
    after = structure + len(parts)
    total = after + len(strings)
    head = (0xD00DFEED, total, structure, after, HEADER.size, 17, 16, 0, len(strings), len(parts))
    return HEADER.pack(*head) + reserved + bytes(parts) + bytes(strings)


def texts(*words: str) -> bytes:
    """A list of strings, as a property holds it."""
    return b"".join(word.encode() + b"\0" for word in words)


def cells(*numbers: int) -> bytes:
    """Numbers of 32 bits, as a property holds them."""
    return struct.pack(f">{len(numbers)}I", *numbers)


def dress(root: Node, revision: int, mark: str) -> None:
    """Let the tree say Raspberry Pi 5, and that it is none."""
    root.properties["model"] = texts("Raspberry Pi 5 Model B Rev 1.0")
    root.properties["compatible"] = texts(
        "raspberrypi,5-model-b", "brcm,bcm2712", "linux,dummy-virt"
    )
    root.properties["edge-standin"] = texts(mark)
    system = root.nodes["system"] = Node()
    system.properties["linux,revision"] = cells(revision)
    clock, steps = 0x7001, 0x7002
    fixed = root.nodes["edge-standin-clock"] = Node()
    fixed.properties = {
        "compatible": texts("fixed-clock"),
        "#clock-cells": cells(0),
        "clock-frequency": cells(HERTZ),
        "phandle": cells(clock),
    }
    table = root.nodes["edge-standin-opp"] = Node()
    table.properties = {
        "compatible": texts("operating-points-v2"),
        "opp-shared": b"",
        "phandle": cells(steps),
    }
    step = table.nodes[f"opp-{HERTZ}"] = Node()
    step.properties["opp-hz"] = struct.pack(">Q", HERTZ)
    for name, node in root.nodes["cpus"].nodes.items():
        if name.startswith("cpu@"):
            node.properties["clocks"] = cells(clock)
            node.properties["operating-points-v2"] = cells(steps)


def main() -> None:
    """Read, change, write."""
    source, target, revision, mark = sys.argv[1:]
    root, reserved = parse(Path(source).read_bytes())
    dress(root, int(revision, 16), mark)
    Path(target).write_bytes(render(root, reserved))


if __name__ == "__main__":
    main()
