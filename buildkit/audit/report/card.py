"""Reads a model's own card, ``model.json``, as far as a report shows it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.audit.report.types import Card
from buildkit.errors import EvidenceError
from buildkit.evidence import shapes
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST = 1 << 20
_MOST_SETTINGS = 50


def read(data: bytes, what: str) -> Card:
    """The card of one variant; what it does not say stays unknown.

    Args:
        data: bytes of ``model.json``.
        what: for the message.

    Raises:
        EvidenceError: it is no JSON object, or something in it is of another kind than it must be.
    """
    try:
        document: Any = canonical.load(data)
    except ValueError as error:
        raise EvidenceError(Reason.JSON, f"{what}: {error}") from error
    body = shapes.object(document, what)
    part = {
        key: shapes.object(body.get(key, {}), f"{what}: {key}")
        for key in (
            *("runtime", "file", "signature", "training", "quantization", "quantized"),
            *("accuracy", "answers"),
        )
    }
    whole = shapes.object(part["quantized"].get("float", {}), f"{what}: quantized.float")
    same = part["answers"].get("same_on_every_cpu")
    return Card(
        target=_text(part["runtime"], "target"),
        digest=digests.of_bytes(data),
        task=_text(body, "task"),
        engine=_text(part["runtime"], "engine"),
        mode=_text(part["quantization"], "mode"),
        settings=tuple(_flat(part["quantization"]))[:_MOST_SETTINGS],
        size=_count(part["file"], "size") or 0,
        float_size=_count(whole, "size"),
        parameters=_count(part["signature"], "parameters"),
        opset=_count(part["signature"], "opset"),
        samples=_count(part["accuracy"], "samples"),
        float_accuracy=_number(part["accuracy"], "float"),
        accuracy=_number(part["accuracy"], "quantised"),
        agreement=_number(part["accuracy"], "agreement"),
        drop=_number(part["accuracy"], "drop"),
        same_on_every_cpu=same if isinstance(same, bool) else None,
        why=_text(part["answers"], "reason"),
        seed=_count(part["training"], "seed"),
        commit=_text(part["training"], "commit"),
        data=_text(part["training"], "data_digest"),
    )


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    return value if isinstance(value, str) else ""


def _count(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return value if is_count else None


def _number(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = float(value) if abs(value) < 1e9 else math.inf
    return found if math.isfinite(found) else None


def _flat(body: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (``calibration method``, text), sorted; two levels are all there are."""
    for key, value in sorted(body.items()):
        if isinstance(value, dict) and not above:
            yield from _flat(value, f"{key} ")
        elif above or key != "mode":
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{above}{key}", text
