"""Bills of materials: what is inside an image or a model, in CycloneDX 1.6 and SPDX 2.3.

`seen` reads what syft saw; `merge` holds it against the lock; `cyclonedx`, `spdx` and `mlbom` write
documents, with `licences` and the package URLs of `component`; `check` reads documents that
somebody signed. Nothing in here reads or writes a file, and the same input gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit.evidence.sbom import cyclonedx, mlbom, spdx
from buildkit.evidence.sbom.check import about, missing
from buildkit.evidence.sbom.component import Described, Layer, Tool
from buildkit.evidence.sbom.merge import Finding, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit.evidence.sbom.seen import Seen
    from buildkit.lock.types import Lock, PlatformPins

__all__ = [
    "Described",
    "Finding",
    "ImageSbom",
    "Layer",
    "ModelSbom",
    "Tool",
    "about",
    "image",
    "missing",
    "model",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSbom:
    """Both documents of one platform's image, and where lock and syft differ."""

    cyclonedx: dict[str, Any]
    spdx: dict[str, Any]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSbom:
    """Both documents of one variant of a model."""

    cyclonedx: dict[str, Any]
    spdx: dict[str, Any]


def image(
    *,
    described: Described,
    pins: PlatformPins,
    base: Iterable[Seen],
    app: Iterable[Seen],
    epoch: int,
    tools: Iterable[Tool],
    whole: bool = False,
) -> ImageSbom:
    """The documents of one platform's image.

    Args:
        described: the image.
        pins: what the lock names for the platform.
        base: what syft saw in the Debian and Python layers.
        app: what syft saw in the app's layers.
        epoch: seconds since 1970 for every timestamp.
        tools: programs that had a part in it, besides us: syft.
        whole: `app` is about all layers together, since those of the app change the base.

    Raises:
        EvidenceError: the base has a package in another version than the lock's.
    """
    parts, findings = merge(pins, base, app, whole=whole)
    tools = tuple(tools)
    return ImageSbom(
        cyclonedx=cyclonedx.image(described, parts, findings, epoch=epoch, tools=tools),
        spdx=spdx.image(described, parts, findings, epoch=epoch, tools=tools),
        findings=findings,
    )


def model(
    *, digest: str, card: Mapping[str, Any], lock: Lock, epoch: int, tools: Iterable[Tool] = ()
) -> ModelSbom:
    """The documents of one variant of a model.

    Args:
        digest: ``sha256:<hex>`` of the variant's manifest.
        card: its model card (``model.json``).
        lock: what it was made from; the recipe's considerations stand in it.
        epoch: seconds since 1970 for every timestamp.
        tools: programs that had a part in the documents, besides us.
    """
    made = mlbom.read(digest, card, lock)
    tools = tuple(tools)
    return ModelSbom(
        cyclonedx=mlbom.cyclonedx_of(made, epoch=epoch, tools=tools),
        spdx=mlbom.spdx_of(made, epoch=epoch, tools=tools),
    )
