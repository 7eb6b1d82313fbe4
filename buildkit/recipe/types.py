"""What a recipe says, as records that cannot exist half-valid.

`buildkit.recipe.load` is the one that makes them from ``recipe.toml``; nothing here
reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Quantization = Literal["none", "dynamic-int8", "static-int8", "int4-weights"]
CalibrationMethod = Literal["minmax", "percentile"]
Fusion = Literal["none", "basic", "extended"]
Profile = Literal["quick", "smoke", "release"]

MADE_BY_TRAINING = "train:"


@dataclass(frozen=True, kw_only=True, slots=True)
class DebianSpec:
    """Debian packages of the runtime image.

    Attributes:
        suite: code name of the release (``bookworm``); its security suite is always used too.
        packages: names to install, with what they depend on (not what they recommend).
        exclude: names left out although something depends on them.
    """

    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonSpec:
    """Python packages of the runtime image.

    Attributes:
        version: ``3.11``; must be the Python that the Debian packages bring.
        requirements: PEP 508 requirements; wheels only.
        exclude: distribution names left out although something requires them.
    """

    version: str
    requirements: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """The runtime image.

    Attributes:
        debian: packages of the first layer.
        python: wheels of the second layer.
        dockerfile: of the app layers, relative to the recipe's folder.
        context: build context, relative to the recipe's folder.
        prune: globs (``fnmatch``, whole path, ``*`` also matches ``/``) of files left out of the
            Debian and Python layers, relative to the image's root, without a leading slash.
    """

    debian: DebianSpec
    python: PythonSpec
    dockerfile: str
    context: str
    prune: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """A model that is an ONNX file: path relative to the recipe's folder, and its digest."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactSource:
    """A model that is an artifact in a store: the store's folder and a manifest digest."""

    store: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSource:
    """A script that makes the model inside the sandbox.

    It runs as ``python SCRIPT`` in a folder that holds the script and `inputs` under their own
    relative paths, with ``OUT`` (folder to write ``model.onnx`` and any data files into) and
    ``SEED`` in its environment, one thread, no network.

    Attributes:
        script: relative to the recipe's folder.
        inputs: further files that it reads, relative to the recipe's folder.
        requirements: PEP 508 requirements that it imports, besides numpy, onnx and onnxruntime.
        seed: a whole number, at least 0.
    """

    script: str
    inputs: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    seed: int = 0


Source = FileSource | ArtifactSource | TrainSource


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareSpec:
    """What happens to the float model.

    Attributes:
        shape_inference: add the inferred shapes of all tensors.
        fusion: how far ONNX Runtime may fuse nodes before quantisation (level ``all`` is refused:
            its graphs depend on the CPU).
        quantization: the kind of quantised model.
        per_channel: one scale for each output channel of a weight.
        reduce_range: 7-bit weights, so that U8S8 cannot saturate on AVX2 without VNNI.
        block_size: values that share a scale in ``int4-weights``; a power of two, 16 to 256.
    """

    shape_inference: bool = True
    fusion: Fusion = "basic"
    quantization: Quantization = "static-int8"
    per_channel: bool = True
    reduce_range: bool = True
    block_size: int = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSpec:
    """Data that the ranges of static quantisation come from.

    Attributes:
        data: ``.npz`` with one array for each model input, samples first; relative to the recipe's
            folder, or ``train:NAME`` for a file that the training script writes.
        method: how a range follows from the values seen.
        percentile: share of the values inside the range, in percent, for ``percentile``.
        samples: how many to use, from the first; all when absent.
    """

    data: str
    method: CalibrationMethod = "minmax"
    percentile: float = 99.99
    samples: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSpec:
    """Inputs and labels that the quantised model must still get right.

    Attributes:
        data: as in `CalibrationSpec`, with one more array ``label`` (N,) of class numbers.
        max_drop: largest drop of top-1 accuracy allowed, in percentage points.
    """

    data: str
    max_drop: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsiderationsSpec:
    """What its makers say about a model, for its model card; each text a line, sorted.

    Attributes:
        users: who it is made for.
        use_cases: what it is made for.
        limitations: where it fails, or was not tried.
        tradeoffs: what was given up for what.
        ethical: risks; what follows the first ``: `` is what is done about one.
    """

    users: tuple[str, ...] = ()
    use_cases: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    tradeoffs: tuple[str, ...] = ()
    ethical: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """Where the model comes from and what is done to it.

    Attributes:
        source: file, artifact or training script.
        prepare: shape inference, fusion, quantisation.
        calibration: present exactly when the quantisation is ``static-int8``.
        golden: what the result is checked against before anything is published.
        task: for the model's manifest and card (``image-classification``).
        license: SPDX expression of the model; empty when the recipe does not say.
        considerations: for the model card; absent when the recipe has no such table.
    """

    source: Source
    prepare: PrepareSpec
    calibration: CalibrationSpec | None
    golden: GoldenSpec
    task: str = ""
    license: str = ""
    considerations: ConsiderationsSpec | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeSpec:
    """How the smoke test on a device runs, and its limits; ``None`` where the recipe is silent.

    Not part of the recipe's digest: a tighter limit does not change what is built.

    Attributes:
        profile: how long it runs.
        providers: execution providers asked for, most wanted first.
        threads: of one operator; 0 lets ONNX Runtime choose.
        max_load_ms: cold load.
        max_first_ms: first inference.
        max_p50_ms: warm latency, median.
        max_p95_ms: upper 99 % confidence bound of the 95th percentile.
        max_p99_ms: 99th percentile.
        min_throughput: inferences a second.
        max_memory_mib: peak memory of the process.
        min_accuracy: percent of the golden inputs.
        max_accuracy_change: percentage points that a device may get fewer right than the build.
        min_samples: timed inferences of one run.
        min_on_accelerator: percent of the nodes that ran on an accelerator.
        max_temperature_c: of the CPU, at any reading.
        page_bytes: memory page that the kernel must have.
        max_slower: percent that p50 and p95 may be above the baseline's.
        max_larger: percent that peak memory may be above the baseline's.
        attempts: runs at most, until one is not inconclusive.
        memory_limit_mib: what the container may use.
        deadline_s: of one run.
        governor: of the CPU's frequency during the run; empty leaves it alone.
        targets: what is otherwise for one target, by its name; they have no `targets`.
    """

    profile: Profile | None = None
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    max_load_ms: float | None = None
    max_first_ms: float | None = None
    max_p50_ms: float | None = None
    max_p95_ms: float | None = None
    max_p99_ms: float | None = None
    min_throughput: float | None = None
    max_memory_mib: int | None = None
    min_accuracy: float | None = None
    max_accuracy_change: float | None = None
    min_samples: int | None = None
    min_on_accelerator: float | None = None
    max_temperature_c: float | None = None
    page_bytes: int | None = None
    max_slower: float | None = None
    max_larger: float | None = None
    attempts: int | None = None
    memory_limit_mib: int | None = None
    deadline_s: int | None = None
    governor: str | None = None
    targets: Mapping[str, SmokeSpec] = field(default_factory=dict)

    def of(self, target: str) -> SmokeSpec:
        """What holds for one target: its own words, else those for all."""
        own = self.targets.get(target)
        return replace(self if own is None else _over(self, own), targets={})


def _over(general: SmokeSpec, own: SmokeSpec) -> SmokeSpec:
    said = {each.name: getattr(own, each.name) for each in fields(own) if each.name != "targets"}
    return replace(general, **{name: value for name, value in said.items() if value is not None})


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A kind of device.

    Attributes:
        name: ``pi5``.
        title: name for people.
        platform: the image it runs (``linux/arm64``).
        runtime: ``onnxruntime-cpu``, or a vendor's (``hailort``, ``tensorrt``, ``tflite-edgetpu``).
        precision: numbers that its accelerator computes with (``int8``).
        max_batch: largest batch.
        memory_limit: bytes that model and runtime may use.
        kernel: lowest kernel release, or empty.
        firmware: what it asks of firmware and driver, for people; or empty.
        vendor_tool: what is needed to compile for it and is not here; empty when nothing is.
        board: what the model name of every such board holds; empty for any board.
        page_bytes: memory page of its kernel; any when ``None``.
        max_temperature_c: of the CPU, above which a smoke test does not count; any when ``None``.
        governor: of the CPU's frequency during a smoke test; empty leaves it alone.
        tells_throttling: its firmware says whether it throttles, so it must be known.
    """

    name: str
    title: str
    platform: str
    runtime: str
    precision: str
    max_batch: int
    memory_limit: int
    kernel: str = ""
    firmware: str = ""
    vendor_tool: str = ""
    board: str = ""
    page_bytes: int | None = None
    max_temperature_c: float | None = None
    governor: str = ""
    tells_throttling: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One recipe, valid.

    Attributes:
        file: absolute path of ``recipe.toml``.
        digest: ``sha256:`` of the canonical JSON of `document`; comments do not count.
        document: what it says of the artifacts, as parsed, with defaults filled in: all but
            `smoke`.
        name: lower-case letters, digits, ``-``; also the artifact's name.
        version: of the artifact (``1.0.0``).
        platforms: sorted, at least one.
        targets: in the order given.
        source_date_epoch: seconds since 1970 for every timestamp; the commit's when absent.
        builder: another flake for the builder's environment (``github:…#env``); ours when absent.
        description: one line for people; may be empty.
        license: SPDX expression of the app; may be empty.
        source: where people find the source code (a URL); may be empty.
        smoke: limits for the test on a device; counts neither for `digest` nor for the lock.
    """

    file: Path
    digest: str
    document: Mapping[str, Any]
    name: str
    version: str
    platforms: tuple[str, ...]
    targets: tuple[Target, ...]
    image: ImageSpec
    model: ModelSpec
    source_date_epoch: int | None = None
    builder: str | None = None
    description: str = ""
    license: str = ""
    source: str = ""
    smoke: SmokeSpec = field(default_factory=SmokeSpec)

    @property
    def folder(self) -> Path:
        """The folder that every path in the recipe is relative to."""
        return self.file.parent

    @property
    def lock_file(self) -> Path:
        """``recipe.lock`` beside ``recipe.toml``; for another name, ``<stem>.lock``."""
        return self.file.with_suffix(".lock")
