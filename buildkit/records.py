"""Frozen records that more than one room exchanges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORMS = ("linux/amd64", "linux/arm64")


def architecture(platform: str) -> str:
    """Debian's and OCI's name of a platform's processor: ``linux/arm64`` → ``arm64``."""
    return platform.split("/")[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """An OCI content descriptor (image-spec, descriptor.md).

    Attributes:
        media_type: media type of the blob.
        digest: ``sha256:<hex>`` of its bytes.
        size: length in bytes.
        annotations: annotations of the descriptor itself.
        artifact_type: of the manifest it names, if that is an artifact.
        platform: ``linux/arm64`` where the descriptor is an image of an index.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None
    platform: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The descriptor as the OCI specification writes it."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        if self.platform is not None:
            system, processor = self.platform.split("/")
            document["platform"] = {"os": system, "architecture": processor}
        return document
