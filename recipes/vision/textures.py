"""Photographs of ten kinds of patterned cloth, drawn from random bits by whole-number rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = (
    "plain", "rows", "columns", "rising", "falling", "squares", "diamonds", "dots", "rings", "grid",
)  # fmt: skip


def draw(
    rng: np.random.Generator, count: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`count` images (N, 3, size, size) with values k/256, and labels (N,); all kinds in turn.

    Period, place, tilt, colours, light and grain differ from image to image.
    """
    labels = np.arange(count, dtype=np.int64) % len(KINDS)
    images = [_image(rng, KINDS[label], size) for label in labels]
    return np.stack(images), labels


def _image(rng: np.random.Generator, kind: str, size: int) -> NDArray[np.float32]:
    period = int(rng.integers(size // 16, size // 6))
    y, x = np.indices((size, size), dtype=np.int64) * 16
    tilt = int(rng.integers(-2, 3))
    x, y = x + y * tilt // 16, y - x * tilt // 16
    x, y = x + int(rng.integers(0, 16 * size)), y + int(rng.integers(0, 16 * size))
    ink = _pattern(kind, x, y, 16 * period)
    cloth, dye = rng.integers(150, 231, (3, 1, 1)), rng.integers(30, 111, (3, 1, 1))
    light = int(rng.integers(-2, 3)) * (x - x.min()) // (16 * 16)
    grain = rng.integers(-24, 25, (3, size, size))
    pixels = np.where(ink, dye, cloth) + light + grain
    return np.asarray(np.clip(pixels, 0, 255) / 256, dtype=np.float32)


def _pattern(kind: str, x: NDArray[np.int64], y: NDArray[np.int64], p: int) -> NDArray[np.bool_]:
    """Where the dye is: 16ths of pixels in, with the pattern's period `p`."""
    u, v = x % p - p // 2, y % p - p // 2
    thin, round_ = p // 3, u * u + v * v
    kinds: dict[str, NDArray[np.bool_]] = {
        "plain": np.zeros(x.shape, dtype=np.bool_),
        "rows": v < 0,
        "columns": u < 0,
        "rising": (x + y) % p < p // 2,
        "falling": (x - y) % p < p // 2,
        "squares": (u < 0) != (v < 0),
        "diamonds": ((x + y) % p < p // 2) != ((x - y) % p < p // 2),
        "dots": round_ < thin * thin,
        "rings": np.abs(round_ - thin * thin) < thin * thin // 2,
        "grid": (np.abs(u) < p // 8) | (np.abs(v) < p // 8),
    }
    return kinds[kind]
