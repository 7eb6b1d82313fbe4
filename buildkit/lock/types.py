"""What a lock says: every input by name, version, file name and hash; never a host or a path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK_VERSION = 1
# What `ModelPins.golden` counts.
GOLDEN = ("samples", "float", "quantised", "agreeing")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class DebianPin:
    """One Debian package.

    Attributes:
        name: package.
        version: Debian version, epoch included.
        architecture: ``amd64``, ``arm64`` or ``all``.
        suite: release it came from (``bookworm``, ``bookworm-security``).
        file: file name with only ``[A-Za-z0-9+._-]``, so that it can name a Nix store path.
        sha256: 64 hex digits.
        size: bytes.
    """

    name: str
    version: str
    architecture: str
    suite: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class WheelPin:
    """One wheel: normalised distribution name, version, the wheel's file name, 64 hex digits."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FilePin:
    """A file beside the recipe: path relative to the recipe's folder, hex digits, bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HostPins:
    """What a build host of one architecture needs.

    Attributes:
        seed: the package whose static busybox starts everything.
        seed_nar_sha256: hex digits of the Nix archive of the seed's folder.
        builder_debian: packages of the builder's Python.
        builder_wheels: wheels for preparing the model and packing layers, training included.
        engine_debian: packages of the BuildKit engine.
        tools_debian: packages of command-line tools (docker CLI, buildx, oras, cosign).
        tools_wheels: wheels that carry a tool (syft); empty in a lock older than the tool.
        asked: digest of what was asked for, so that pins stay while the question does.
    """

    seed: DebianPin
    seed_nar_sha256: str
    builder_debian: tuple[DebianPin, ...]
    builder_wheels: tuple[WheelPin, ...]
    engine_debian: tuple[DebianPin, ...]
    tools_debian: tuple[DebianPin, ...]
    tools_wheels: tuple[WheelPin, ...] = ()
    asked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformPins:
    """What the runtime image of one platform is made of; `asked` as in `HostPins`."""

    debian: tuple[DebianPin, ...]
    wheels: tuple[WheelPin, ...]
    asked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPins:
    """What the model is made from, and what came out when the lock was made.

    Attributes:
        files: source model, training script and its inputs, calibration and golden data: those
            that stand beside the recipe.
        artifact: manifest digest of the source when that is an artifact, else empty.
        commit: last commit that touched `files` when the lock was made; empty when not known.
        seed: of the training script.
        onnxruntime: version that quantises.
        float_sha256: hex digits of the float model.
        calibration: how the ranges were found (``exact`` or ``onnxruntime``), empty without ranges.
        ranges: tensor name → (lowest, highest), each a float32 value.
        quantized_sha256: hex digits of the quantised model.
        golden: how many of the golden inputs the models got right when the lock was made:
            ``samples``, ``float``, ``quantised``, and ``agreeing`` (both say the same). Another
            CPU may round an answer to another class, so a build replays these; empty in an older
            lock.
    """

    files: tuple[FilePin, ...]
    artifact: str
    commit: str
    seed: int
    onnxruntime: str
    float_sha256: str
    calibration: str
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    quantized_sha256: str = ""
    golden: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All that goes into the artifacts of one recipe.

    Attributes:
        recipe_name: name of the recipe it was made from.
        recipe_digest: `Recipe.digest` of the recipe it was made from.
        recipe: `Recipe.document` of it: what was asked for, with defaults filled in.
        hosts: build host architecture (``amd64``, ``arm64``) → pins.
        platforms: ``linux/arm64`` → pins.
        builder: the one flake that the recipe's `builder` meant; empty when it names none.
    """

    recipe_name: str
    recipe_digest: str
    recipe: Mapping[str, Any]
    hosts: Mapping[str, HostPins]
    platforms: Mapping[str, PlatformPins]
    model: ModelPins
    builder: str = ""
