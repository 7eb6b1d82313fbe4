"""What a build answers, and the record of it that stays in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = "buildkit/build-result/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformImage:
    """One platform of an image: its manifest's digest, and the compressed bytes it names."""

    platform: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One variant of a model.

    Attributes:
        target: kind of device.
        digest: of its manifest.
        file_sha256: hex digits of ``model.onnx``.
        size: of ``model.onnx``, bytes.
        float_accuracy: percent of the golden inputs that the float model gets right.
        quantised_accuracy: the same, quantised.
        answers: whether the quantised model answers alike on every CPU, and if not, why
            (``docs/quantisation.md``).
    """

    target: str
    digest: str
    file_sha256: str
    size: int
    float_accuracy: float
    quantised_accuracy: float
    answers: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One reproducible piece of evidence.

    Attributes:
        kind: word of `buildkit.evidence.kinds`.
        about: for people: ``linux/arm64``, ``model pi5-cpu``, ``build``.
        digest: of the statement's canonical bytes, before anybody signs it.
    """

    kind: str
    about: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build made, or found made already.

    Attributes:
        recipe: name, version, digest.
        lock_digest: of the lock that was used.
        image_digest: of the image index.
        platforms: sorted by platform.
        model_index: digest of the index of all models.
        models: in the order of the recipe's targets.
        statements: what is said about the artifacts.
        findings: where lock and image were found to differ; people should read these.
        store: folder of the store.
        cached: whether nothing had to be done.
        seconds: stage → wall-clock seconds.
    """

    recipe: Mapping[str, str]
    lock_digest: str
    image_digest: str
    platforms: tuple[PlatformImage, ...]
    model_index: str
    models: tuple[Model, ...]
    statements: tuple[Statement, ...]
    findings: tuple[str, ...]
    store: Path
    cached: bool
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The documented object (``buildkit/build-result/v1``)."""
        return {
            "schema": SCHEMA,
            **self.reproducible(),
            "store": str(self.store),
            "cached": self.cached,
            "seconds": dict(self.seconds),
        }

    def reproducible(self) -> dict[str, Any]:
        """The part that is the same wherever and whenever it is built."""
        return {
            "recipe": dict(self.recipe),
            "lock": {"digest": self.lock_digest},
            "image": {
                "digest": self.image_digest,
                "platforms": [
                    {"platform": item.platform, "digest": item.digest, "size": item.size}
                    for item in self.platforms
                ],
            },
            "model_index": self.model_index,
            "models": [
                {
                    "target": item.target,
                    "digest": item.digest,
                    "file_sha256": item.file_sha256,
                    "size": item.size,
                    "accuracy": {
                        "float": item.float_accuracy,
                        "quantised": item.quantised_accuracy,
                    },
                    "answers": dict(item.answers),
                }
                for item in self.models
            ],
            "statements": [
                {"kind": item.kind, "about": item.about, "digest": item.digest}
                for item in self.statements
            ],
            "findings": list(self.findings),
        }

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], *, store: Path, cached: bool, seconds: Mapping[str, float]
    ) -> BuildResult:
        """The result that `reproducible` describes."""
        return cls(
            recipe=record["recipe"],
            lock_digest=record["lock"]["digest"],
            image_digest=record["image"]["digest"],
            platforms=tuple(PlatformImage(**item) for item in record["image"]["platforms"]),
            model_index=record["model_index"],
            models=tuple(
                Model(
                    target=item["target"],
                    digest=item["digest"],
                    file_sha256=item["file_sha256"],
                    size=item["size"],
                    float_accuracy=item["accuracy"]["float"],
                    quantised_accuracy=item["accuracy"]["quantised"],
                    answers=item["answers"],
                )
                for item in record["models"]
            ),
            statements=tuple(Statement(**item) for item in record["statements"]),
            findings=tuple(record["findings"]),
            store=store,
            cached=cached,
            seconds=seconds,
        )
