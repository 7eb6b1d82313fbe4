"""The kinds of device that a recipe may name: data, so that a new one is a new row."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypedDict

from buildkit.recipe.types import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIB = 1 << 20


class _Board(TypedDict):
    board: str
    page_bytes: int
    max_temperature_c: float
    governor: str
    tells_throttling: bool


_PI5: _Board = {
    "board": "Raspberry Pi 5",
    "page_bytes": 16384,
    # Where it begins to throttle.
    "max_temperature_c": 80,
    "governor": "performance",
    "tells_throttling": True,
}

_ROWS = (
    Target(
        name="pi5",
        title="Raspberry Pi 5, CPU",
        platform="linux/arm64",
        runtime="onnxruntime-cpu",
        precision="int8",
        max_batch=8,
        memory_limit=1024 * _MIB,
        kernel="6.6",
        **_PI5,
    ),
    Target(
        name="amd64",
        title="64-bit PC or server, CPU",
        platform="linux/amd64",
        runtime="onnxruntime-cpu",
        precision="int8",
        max_batch=32,
        memory_limit=4096 * _MIB,
        kernel="5.10",
    ),
    Target(
        name="pi5-hailo8",
        title="Raspberry Pi 5 with AI HAT+ (Hailo-8)",
        platform="linux/arm64",
        runtime="hailort",
        precision="int8",
        max_batch=8,
        memory_limit=1024 * _MIB,
        kernel="6.6",
        firmware="HailoRT 4.x: driver, library and device firmware of one version; PCIe Gen 3",
        vendor_tool="the Hailo Dataflow Compiler 3.x",
        **_PI5,
    ),
    Target(
        name="pi5-hailo10h",
        title="Raspberry Pi 5 with AI HAT+ 2 (Hailo-10H)",
        platform="linux/arm64",
        runtime="hailort",
        precision="int8",
        max_batch=8,
        memory_limit=2048 * _MIB,
        kernel="6.12",
        firmware="HailoRT 5.x: driver, library and device firmware of one version; PCIe Gen 3",
        vendor_tool="the Hailo Dataflow Compiler 5.x",
        **_PI5,
    ),
    Target(
        name="jetson-nano",
        title="NVIDIA Jetson Nano",
        platform="linux/arm64",
        runtime="tensorrt",
        # Its Maxwell GPU has no int8 arithmetic.
        precision="fp16",
        max_batch=8,
        memory_limit=2048 * _MIB,
        kernel="4.9",
        firmware="JetPack 4.6 (L4T 32.6 or 32.7, CUDA 10.2)",
        vendor_tool="TensorRT 8 of JetPack 4.6, which plans a model on the board itself",
    ),
    Target(
        name="coral",
        title="Coral Edge TPU (USB, or Dev Board)",
        platform="linux/arm64",
        runtime="tflite-edgetpu",
        precision="int8",
        max_batch=1,
        memory_limit=512 * _MIB,
        kernel="4.14",
        firmware="Edge TPU runtime 16.0 (libedgetpu1-std)",
        vendor_tool="the Edge TPU Compiler 16",
    ),
)

TARGETS: Final[Mapping[str, Target]] = MappingProxyType({row.name: row for row in _ROWS})
"""Every known target by name; those with a `Target.vendor_tool` cannot be built for yet."""
