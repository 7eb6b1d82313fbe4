"""Names like ours, and what they must lead to. Pure."""

from __future__ import annotations

from buildkit import media


def misleads(ref: str, *, title: str, version: str, is_model: bool) -> str:
    """What an artifact should be called, where a name says that it is another; else empty.

    Only ``digits:1.1.0`` and ``HOST/digits:1.1.0`` are like ours, and in registries
    ``HOST/digits:1.1.0-model``: somebody may have called an old version the new one. Names of
    one's own have tags that are no version.

    Args:
        ref: a name of the artifact.
        title: what the artifact calls itself.
        version: and which version of it.
        is_model: whether it is a model, or an index of models.
    """
    name, colon, tag = ref.rpartition(":")
    looks_ours = tag[:1].isdigit() and tag.count(".") >= 2
    right = [(title, version)]
    if is_model:
        right = [
            (f"{title}{media.MODEL_SUFFIX}", version),
            (title, f"{version}{media.MODEL_SUFFIX}"),
        ]
    if not colon or not looks_ours or (name.rpartition("/")[2], tag) in right:
        return ""
    return ":".join(right[0])
