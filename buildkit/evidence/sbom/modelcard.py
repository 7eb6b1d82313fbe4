"""The model card of CycloneDX 1.6, from the card that a model carries (``model.json``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit.evidence.sbom import cyclonedx as bom

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# The recipe's words → CycloneDX's.
_TEXTS = {
    "users": "users",
    "use_cases": "useCases",
    "limitations": "technicalLimitations",
    "tradeoffs": "performanceTradeoffs",
}


def cyclonedx(
    card: Mapping[str, Any], considerations: Mapping[str, Sequence[str]], data: Sequence[str]
) -> dict[str, Any]:
    """The value of ``modelCard``.

    Args:
        card: the model's own card.
        considerations: the recipe's table; may be empty.
        data: ``bom-ref`` of each data file that is a component of the document.
    """
    learned = {
        "type": "dataset",
        "name": "all that the model learned or was calibrated from",
        "contents": {
            "properties": bom.properties({"data-digest": card["training"]["data_digest"]})
        },
    }
    parameters: dict[str, Any] = {
        "datasets": [learned, *({"ref": name} for name in data)],
        "inputs": [{"format": _tensor(each)} for each in card["signature"]["inputs"]],
        "outputs": [{"format": _tensor(each)} for each in card["signature"]["outputs"]],
    }
    told = {
        **{f"quantization:{key}": value for key, value in _flat(card["quantization"])},
        **{f"answers:{key}": value for key, value in _flat(card.get("answers", {}))},
        "training:seed": text(card["training"]["seed"]),
        "training:commit": card["training"]["commit"],
        "parameters": text(card["signature"].get("parameters", "")),
        "opset": text(card["signature"].get("opset", "")),
    }
    return {
        "modelParameters": parameters | bom.optional(task=card["task"]),
        "quantitativeAnalysis": {"performanceMetrics": _metrics(card["accuracy"])},
        "properties": bom.properties(told),
    } | bom.optional(considerations=_considerations(considerations))


def sentences(card: Mapping[str, Any]) -> list[str]:
    """The card in words, for a format that has no place for one."""
    found = [
        f"ONNX model for {card['runtime']['target']}",
        *([f"task: {card['task']}"] if card["task"] else []),
        f"data: {card['training']['data_digest']}",
    ]
    found += [
        f"{each['type']}, {each['slice']}: {each['value']}" for each in _metrics(card["accuracy"])
    ]
    return found + [f"quantization {key}: {value}" for key, value in _flat(card["quantization"])]


def text(value: Any) -> str:
    """A value of the card as the text that properties want."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _metrics(accuracy: Mapping[str, Any]) -> list[dict[str, str]]:
    samples = f"{accuracy['samples']} golden samples"
    told = (
        ("top-1 accuracy (%)", "float", "float model"),
        ("top-1 accuracy (%)", "quantised", "this model"),
        ("drop of top-1 accuracy (percentage points)", "drop", "float to this model"),
        ("same answer (%)", "agreement", "float and this model"),
    )
    return [
        {"type": kind, "value": text(accuracy[key]), "slice": f"{of}, {samples}"}
        for kind, key, of in told
        if key in accuracy
    ]


def _considerations(said: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    risks = []
    for each in said.get("ethical", ()):
        risk, _, done = each.partition(": ")
        risks.append({"name": risk} | bom.optional(mitigationStrategy=done))
    found = {theirs: list(said.get(ours, ())) for ours, theirs in _TEXTS.items()}
    return bom.optional(**found, ethicalConsiderations=risks)


def _tensor(tensor: Mapping[str, Any]) -> str:
    """``input: float32[batch, 1, 8, 8]``."""
    shape = ", ".join(text(size) for size in tensor["shape"])
    return f"{tensor['name']}: {tensor['dtype']}[{shape}]"


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (``calibration:method``, text), sorted."""
    for key, value in sorted(values.items()):
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}:")
        else:
            yield above + key, text(value)
