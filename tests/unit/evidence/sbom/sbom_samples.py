"""The lock of a real recipe, what syft would see of it, and validators of both formats."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from buildkit import canonical
from buildkit.evidence import sbom
from buildkit.evidence.sbom.seen import Seen
from buildkit.lock import codec

if TYPE_CHECKING:
    from buildkit.lock.types import Lock, PlatformPins

RECIPES = Path(__file__).parents[4] / "recipes"
ARM = "linux/arm64"
EPOCH = 1767225600
SYFT = sbom.Tool(name="syft", version="1.18.1")
BASE, WHEELS, APP = ("sha256:" + str(n) * 64 for n in (1, 2, 3))
CONSIDERATIONS = {
    "users": ["shop staff"],
    "use_cases": ["forms"],
    "limitations": ["only dark ink", "only digits"],
    "tradeoffs": ["int8"],
    "ethical": ["a wrong reading: it is shown to a person", "no more than that"],
}
_STRICT = JsonStrictValidator(SchemaVersion.V1_6)


def lock(name: str = "digits", **model: Any) -> Lock:
    """That of a recipe, with other considerations and further keys of its ``[model]``."""
    found = codec.load(RECIPES / name / "recipe.lock")
    own = {key: value for key, value in found.recipe["model"].items() if key != "considerations"}
    recipe = {**found.recipe, "model": {**own, **model}}
    return dataclasses.replace(found, recipe=recipe)


def seen(name: str, version: str, kind: str = "python", **more: Any) -> Seen:
    found: dict[str, Any] = {
        "architecture": "",
        "purl": "",
        "licences": (),
        "cpes": (),
        "locations": (f"/usr/{name}",),
        "layer": "",
    }
    return Seen(name=name, version=version, kind=kind, **found | more)


def base(pins: PlatformPins) -> tuple[Seen, ...]:
    """What syft sees of all that is locked, as it names and words it."""
    return tuple(
        seen(
            pin.name,
            pin.version,
            "deb",
            architecture=pin.architecture,
            licences=("GPL-2.0-only", "GPL", "BSD-3-clause", "This"),
            cpes=(f"cpe:2.3:a:{pin.name.replace('+', chr(92) + '+')}:x:1:*:*:*:*:*:*:*",),
            layer=BASE,
        )
        for pin in pins.debian
    ) + tuple(
        seen(
            wheel.name.title().replace("-", "_"),
            wheel.version,
            purl=f"pkg:pypi/{wheel.name}@{wheel.version}",
            licences=("BSD-3-Clause AND MIT",),
            layer=WHEELS,
        )
        for wheel in pins.wheels
    )


def described(**more: Any) -> sbom.Described:
    found: dict[str, Any] = {
        "name": "digits",
        "version": "1.0.0",
        "platform": ARM,
        "digest": "sha256:" + "a" * 64,
        "layers": tuple(
            sbom.Layer(digest=f"sha256:{digit}{diff_id[8:]}", diff_id=diff_id)
            for digit, diff_id in zip("def", (BASE, WHEELS, APP), strict=True)
        ),
        "description": "Reads digits",
        "licence": "Apache-2.0",
    }
    return sbom.Described(**found | more)


def image(**more: Any) -> sbom.ImageSbom:
    pins = lock().platforms[ARM]
    found: dict[str, Any] = {
        "described": described(),
        "pins": pins,
        "base": base(pins),
        "app": (),
        "epoch": EPOCH,
        "tools": (SYFT,),
    }
    return sbom.image(**found | more)


CARD: dict[str, Any] = {
    "schema": "buildkit/model/v1",
    "name": "digits",
    "version": "1.0.0",
    "task": "image-classification",
    "file": {"name": "model.onnx", "digest": "sha256:" + "b" * 64, "size": 14767},
    "signature": {
        "inputs": [{"name": "input", "dtype": "float32", "shape": ["batch", 1, 8, 8]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}],
        "opset": 17,
        "parameters": 9930,
    },
    "training": {
        "commit": "c" * 40,
        "data_digest": "sha256:" + "d" * 64,
        "float_sha256": "e" * 64,
        "seed": 1,
    },
    "quantization": {
        "mode": "static-int8",
        "per_channel": True,
        "calibration": {"method": "minmax", "way": "exact"},
    },
    "quantized": {},
    "accuracy": {"samples": 500, "float": 98.4, "quantised": 98.2, "drop": 0.2, "agreement": 99.8},
    "answers": {"same_on_every_cpu": True, "float_operators": {}},
    "runtime": {"target": "pi5", "platform": ARM, "engine": "onnxruntime-cpu", "max_batch": 8},
}


def model(**more: Any) -> sbom.ModelSbom:
    found: dict[str, Any] = {
        "digest": "sha256:" + "a" * 64,
        "card": CARD,
        "lock": lock(considerations=CONSIDERATIONS),
        "epoch": EPOCH,
    }
    return sbom.model(**found | more)


def assert_valid(made: sbom.ImageSbom | sbom.ModelSbom) -> None:
    """Both documents hold against the validators of their formats."""
    assert _STRICT.validate_str(canonical.dump(made.cyclonedx).decode()) is None
    parser = JsonLikeDictParser()  # type: ignore[no-untyped-call]
    parsed = parser.parse(canonical.load(canonical.dump(made.spdx)))
    assert validate_full_spdx_document(parsed, "SPDX-2.3") == []
