"""Configurations, cards and annotations against one another. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.why import values
from buildkit.why.types import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.why.types import Part

_IDENTITY = (media.TITLE, media.DESCRIPTION, media.VERSION, media.LICENSES, media.SOURCE)
_NOTES: dict[str, Part] = {
    **dict.fromkeys(_IDENTITY, "identity"),
    media.CREATED: "time",
    media.LOCK_DIGEST: "lock",
    media.MODEL_DIGEST: "model",
    media.MODEL_CHECKSUM: "quantised",
    media.MODEL_DATA_DIGEST: "data",
    media.MODEL_QUANTIZATION: "card",
    media.MODEL_TARGET: "targets",
}
# By the beginning of the key, the longest first.
_CARD: dict[str, Part] = {
    "": "card",
    "name": "identity",
    "version": "identity",
    "training.commit": "commit",
    "training.data_digest": "data",
    "training.float_sha256": "float",
    "quantized.quantized": "quantised",
    "accuracy": "accuracy",
    "answers": "accuracy",
    "runtime": "targets",
    "file": "quantised",
}
_MODEL_CONFIG: dict[str, Part] = {
    "": "card",
    "descriptor": "identity",
    "descriptor.createdAt": "time",
    "descriptor.revision": "commit",
}


def notes(
    a: Mapping[str, str], b: Mapping[str, str], *, of_model: bool, kind: str = "annotation"
) -> Iterator[Effect]:
    """Annotations of manifests, or labels of an image.

    Args:
        a: of the one.
        b: of the other.
        of_model: whether the revision in them is that of the model's files alone.
        kind: of the effects.
    """
    for name in sorted({*a, *b}):
        before, after = a.get(name, ""), b.get(name, "")
        if before == after:
            continue
        part: Part = _NOTES.get(name, "config")
        if name == media.REVISION:
            part = "commit" if of_model else "revision"
        subject = f"label {name}" if kind == "image-config" else name
        yield Effect(kind=kind, subject=subject, before=before, after=after, part=part)


def image_config(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Effect]:
    """Image configurations without their list of layers (image-spec, config.md)."""
    labels = [_labels(config) for config in (a, b)]
    yield from notes(labels[0], labels[1], of_model=False, kind="image-config")
    for key, before, after in values.moved(_settings(a), _settings(b)):
        old, new = values.said(before), values.said(after)
        lists = values.split(before or [], after or [])
        if lists is not None and lists != ([], []):
            old, new = (" · ".join(each) for each in lists)
        part: Part = "config"
        if key == "created":
            part = "time"
        elif key in {"architecture", "os", "variant"}:
            part = "platforms"
        yield _effect("image-config", key, old, new, part)


def _labels(config: Mapping[str, Any]) -> dict[str, str]:
    settings = config.get("config")
    found = settings.get("Labels") if isinstance(settings, dict) else None
    if not isinstance(found, dict):
        return {}
    return {key: values.said(text) for key, text in found.items()}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the layers do not say already; of the history, the words and not the times."""
    kept = {key: value for key, value in config.items() if key != "rootfs"}
    settings, history = kept.get("config"), kept.get("history")
    if isinstance(settings, dict):
        kept["config"] = {key: value for key, value in settings.items() if key != "Labels"}
    if isinstance(history, list):
        kept["history"] = [
            values.said(step.get("created_by")) if isinstance(step, dict) else values.said(step)
            for step in history
        ]
    return kept


def card(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Effect]:
    """``model.json`` of two models."""
    for key, before, after in values.moved(a, b):
        if key in {"file.digest", "file.size"}:
            continue  # the file itself is compared
        if key == "training.float_sha256":
            old, new = (f"sha256:{text}" if text else "" for text in (before, after))
            yield _effect("float-model", "float model", old, new, "float")
            continue
        part = _longest(_CARD, key)
        yield _effect("model-card", key, values.said(before), values.said(after), part)


def model_config(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Effect]:
    """Configurations of two models (CNCF ModelPack), without their list of layers."""
    sides = [{key: value for key, value in each.items() if key != "modelfs"} for each in (a, b)]
    for key, before, after in values.moved(sides[0], sides[1]):
        part = _longest(_MODEL_CONFIG, key)
        yield _effect("model-config", key, values.said(before), values.said(after), part)


def _longest(table: Mapping[str, Part], key: str) -> Part:
    near = [name for name in table if not name or key == name or key.startswith(f"{name}.")]
    return table[max(near, key=len)]


def _effect(kind: str, subject: str, before: str, after: str, part: Part) -> Effect:
    return Effect(kind=kind, subject=subject, before=before, after=after, part=part)
