"""The settings file: what the recipe says about preparing the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import BadInputError
from .files import read_json

if TYPE_CHECKING:
    from pathlib import Path

FUSIONS = ("none", "basic", "extended")
QUANTIZATIONS = ("none", "dynamic-int8", "static-int8", "int4-weights")
METHODS = ("minmax", "percentile")
BLOCK_SIZES = (16, 32, 64, 128, 256)

T = TypeVar("T", str, int)

_KEYS = frozenset(
    {
        "shape_inference",
        "fusion",
        "quantization",
        "per_channel",
        "reduce_range",
        "block_size",
        "calibration",
    }
)
# `data` is the recipe's own name for the file, which comes as an option here.
_CALIBRATION_KEYS = frozenset({"method", "percentile", "samples", "data"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How ranges follow from data.

    Attributes:
        method: ``minmax`` or ``percentile``.
        percentile: share of the values inside the range, in percent (above 50, at most 100).
        samples: how many to use, from the first; all when absent.
    """

    method: str = "minmax"
    percentile: float = 99.99
    samples: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is done to the float model; the same words as in the recipe."""

    shape_inference: bool = True
    fusion: str = "basic"
    quantization: str = "static-int8"
    per_channel: bool = True
    reduce_range: bool = True
    block_size: int = 32
    calibration: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings that matter for the result, in the form that `load` reads."""
        known: dict[str, Any] = {
            "shape_inference": self.shape_inference,
            "fusion": self.fusion,
            "quantization": self.quantization,
            "per_channel": self.per_channel,
            "reduce_range": self.reduce_range,
            "block_size": self.block_size,
            "calibration": None,
        }
        if self.calibration is not None:
            known["calibration"] = {
                "method": self.calibration.method,
                "percentile": self.calibration.percentile,
                "samples": self.calibration.samples,
            }
        return known


def load(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        BadInputError: not JSON, an unknown key, or a value that is not allowed.
    """
    return parse(read_json(path, "the settings file"))


def parse(document: dict[str, Any]) -> Settings:
    """The settings that a JSON object says; absent keys have their defaults.

    Raises:
        BadInputError: an unknown key, or a value that is not allowed.
    """
    _known(document, _KEYS, "")
    default = Settings()
    calibration = document.get("calibration")
    if calibration is not None and not isinstance(calibration, dict):
        msg = "settings: calibration: not an object"
        raise BadInputError(msg)
    return Settings(
        shape_inference=_flag(document, "shape_inference", default=default.shape_inference),
        fusion=_choice(document, "fusion", FUSIONS, default.fusion),
        quantization=_choice(document, "quantization", QUANTIZATIONS, default.quantization),
        per_channel=_flag(document, "per_channel", default=default.per_channel),
        reduce_range=_flag(document, "reduce_range", default=default.reduce_range),
        block_size=_choice(document, "block_size", BLOCK_SIZES, default.block_size),
        calibration=None if calibration is None else _calibration(calibration),
    )


def _calibration(document: dict[str, Any]) -> Calibration:
    _known(document, _CALIBRATION_KEYS, "calibration.")
    default = Calibration()
    percentile = number(document.get("percentile", default.percentile))
    if percentile is None or not 50 < percentile <= 100:
        msg = (
            f"settings: calibration.percentile: {document['percentile']!r} "
            "is not above 50 and at most 100"
        )
        raise BadInputError(msg, "99.99 is usual")
    samples = document.get("samples")
    whole = isinstance(samples, int) and not isinstance(samples, bool)
    if samples is not None and (not whole or samples < 1):
        msg = f"settings: calibration.samples: {samples!r} is not a whole number above 0"
        raise BadInputError(msg, "leave it out to use all samples")
    return Calibration(
        method=_choice(document, "method", METHODS, default.method),
        percentile=percentile,
        samples=samples,
    )


def number(value: Any) -> float | None:
    """A number, or one written as text (Nix 2.8 cuts JSON numbers to six digits); else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _known(document: dict[str, Any], keys: frozenset[str], path: str) -> None:
    for key in sorted(document):
        if key not in keys:
            msg = f"settings: {path}{key}: unknown key"
            raise BadInputError(msg, f"known keys: {', '.join(sorted(keys))}")


def _flag(document: dict[str, Any], key: str, *, default: bool) -> bool:
    value = document.get(key, default)
    if not isinstance(value, bool):
        msg = f"settings: {key}: {value!r} is not true or false"
        raise BadInputError(msg)
    return value


def _choice(document: dict[str, Any], key: str, allowed: tuple[T, ...], default: T) -> T:
    value = document.get(key, default)
    for one in allowed:
        if type(value) is type(one) and value == one:
            return one
    msg = f"settings: {key}: {value!r} is not allowed"
    raise BadInputError(msg, f"one of: {', '.join(str(one) for one in allowed)}")
