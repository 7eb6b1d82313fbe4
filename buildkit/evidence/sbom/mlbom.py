"""A model's bill of materials: what it was made from, and a model card.

Source: CycloneDX 1.6 (type ``machine-learning-model``, ``modelCard``, ``formulation``) and
SPDX 2.3, which knows no models: there the card is text, and relationships say what each file was
for. Both describe the manifest of one variant; its file ``model.onnx`` is a part of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.evidence.sbom import component as components
from buildkit.evidence.sbom import cyclonedx, licences, modelcard, spdx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.evidence.sbom.component import Component, Tool
    from buildkit.lock.types import FilePin, Lock

_MODEL = "machine-learning-model"
_PREPARE = "workflow:prepare"
# What a file is for → how SPDX says it: (does the model stand first, relationship).
_RELATIONS = {
    "calibration": (False, "DATA_FILE_OF"),
    "golden": (False, "TEST_CASE_OF"),
}
_SOURCE = (True, "GENERATED_FROM")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A variant, and all that it was made from.

    Attributes:
        digest: of its manifest.
        card: its ``model.json``.
        licence: SPDX expression; may be empty.
        description: one line; may be empty.
        considerations: of the recipe; may be empty.
        files: each with what it was for, sorted.
        ancestors: name → digest of the models that it was made from.
        commit: last one that touched `files`; may be empty.
        tools: wheels that trained and quantised, of every build host; sorted.
    """

    digest: str
    card: Mapping[str, Any]
    licence: str
    description: str
    considerations: Mapping[str, Sequence[str]]
    files: tuple[tuple[FilePin, tuple[str, ...]], ...]
    ancestors: Mapping[str, str]
    commit: str
    tools: tuple[Component, ...]

    @property
    def purl(self) -> str:
        """The package URL of the variant."""
        return components.oci(self.card["name"], self.digest, tag=self.card["version"])


def read(digest: str, card: Mapping[str, Any], lock: Lock) -> Made:
    """Gather what card and lock know; arguments as in `buildkit.evidence.sbom.model`."""
    recipe = lock.recipe.get("model", {})
    name = str(card["name"])
    ancestors = {f"{name}, float": f"sha256:{lock.model.float_sha256}"}
    if lock.model.artifact:
        ancestors[f"{name}, source"] = lock.model.artifact
    # The result is the same on every build host, so each of them counts.
    wheels = {wheel for host in lock.hosts.values() for wheel in host.builder_wheels}
    return Made(
        digest=digest,
        card=card,
        licence=str(recipe.get("license", "")),
        description=str(lock.recipe.get("description", "")),
        considerations=recipe.get("considerations", {}),
        files=tuple((pin, _uses(pin.path, recipe)) for pin in sorted(lock.model.files)),
        ancestors=ancestors,
        commit=lock.model.commit,
        tools=tuple(map(components.of_wheel, sorted(wheels))),
    )


def cyclonedx_of(made: Made, *, epoch: int, tools: Sequence[Tool]) -> dict[str, Any]:
    """The CycloneDX document of a variant."""
    files = [_file(pin, uses) for pin, uses in made.files]
    names = cyclonedx.references(made.tools)
    wheels = [
        cyclonedx.library(each, names[each], {}) | {"scope": "excluded"} for each in made.tools
    ]
    listed = [*files, *wheels]
    document = cyclonedx.document(
        made.digest,
        _main(made),
        listed,
        depends=files,
        epoch=epoch,
        tools=tools,
        compositions=[
            {"aggregate": "complete", "assemblies": [made.purl]},
            {"aggregate": "incomplete", "dependencies": [made.purl]},
            {"aggregate": "unknown", "dependencies": sorted(each["bom-ref"] for each in listed)},
        ],
    )
    workflow = {
        "bom-ref": _PREPARE,
        "uid": "prepare",
        "name": "train or import, quantise, check",
        "taskTypes": ["build", "test"],
        "resourceReferences": [{"ref": each["bom-ref"]} for each in document["components"]],
    }
    return document | {"formulation": [{"bom-ref": "formulation", "workflows": [workflow]}]}


def spdx_of(made: Made, *, epoch: int, tools: Sequence[Tool]) -> dict[str, Any]:
    """The SPDX document of a variant."""
    told = spdx.Licences()
    name, version = made.card["name"], made.card["version"]
    target = made.card["runtime"]["target"]
    main = spdx.package(
        "SPDXRef-Model",
        name,
        version=version,
        sha256=digests.hex_of(made.digest),
        purpose="OTHER",
        declared=told.add([made.licence]),
        summary=made.description,
        comment="; ".join(modelcard.sentences(made.card)),
    )
    remarks = [
        spdx.annotation(epoch, f"{topic}: {text}")
        for topic, texts in sorted(made.considerations.items())
        for text in texts
    ]
    weight = made.card["file"]
    packages = [_spdx_file(weight["name"], digests.hex_of(weight["digest"]), "the model's file")]
    related = [spdx.contains(main, packages[0])]
    for pin, uses in made.files:
        found = _spdx_file(pin.path, pin.sha256, ", ".join(uses))
        packages.append(found)
        for first, kind in sorted({_RELATIONS.get(use, _SOURCE) for use in uses} or {_SOURCE}):
            ends = (main, found) if first else (found, main)
            related.append(spdx.relation(ends[0]["SPDXID"], kind, ends[1]["SPDXID"]))
    for ancestor, digest in made.ancestors.items():
        found = spdx.package(
            spdx.reference("model", ancestor, digest),
            ancestor,
            sha256=digests.hex_of(digest),
            purpose="OTHER",
        )
        packages.append(found)
        related.append(spdx.relation(main["SPDXID"], "GENERATED_FROM", found["SPDXID"]))
    for wheel in made.tools:
        found = spdx.library(wheel, told)
        packages.append(found)
        related.append(spdx.relation(found["SPDXID"], "BUILD_TOOL_OF", main["SPDXID"]))
    return spdx.document(
        f"{name} {version} {target}",
        made.digest,
        main | cyclonedx.optional(annotations=remarks),
        packages,
        related,
        told=told,
        epoch=epoch,
        tools=tools,
    )


def _main(made: Made) -> dict[str, Any]:
    card = made.card
    weight = card["file"]
    runtime = {key: modelcard.text(value) for key, value in card["runtime"].items()}
    main: dict[str, Any] = {
        "type": _MODEL,
        "bom-ref": made.purl,
        "name": card["name"],
        "version": card["version"],
        "purl": made.purl,
        "hashes": cyclonedx.sha256(digests.hex_of(made.digest)),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{made.purl}#{weight['name']}",
                "name": weight["name"],
                "hashes": cyclonedx.sha256(digests.hex_of(weight["digest"])),
                "properties": cyclonedx.properties({"size": str(weight["size"])}),
            }
        ],
        "modelCard": modelcard.cyclonedx(
            card,
            made.considerations,
            [f"file:{pin.path}" for pin, uses in made.files if set(uses) & _RELATIONS.keys()],
        ),
        "pedigree": {
            "ancestors": [
                {"type": _MODEL, "name": name, "hashes": cyclonedx.sha256(digests.hex_of(digest))}
                for name, digest in sorted(made.ancestors.items())
            ]
        }
        | cyclonedx.optional(commits=[{"uid": made.commit}] if made.commit else []),
        "properties": cyclonedx.properties(runtime),
    }
    return main | cyclonedx.optional(
        description=made.description, licenses=licences.cyclonedx([made.licence])
    )


def _file(pin: FilePin, uses: tuple[str, ...]) -> dict[str, Any]:
    """A file beside the recipe as a component; data says that it is data."""
    is_data = bool(set(uses) & _RELATIONS.keys())
    kind = "data" if is_data else _MODEL if "model" in uses else "file"
    found: dict[str, Any] = {
        "type": kind,
        "bom-ref": f"file:{pin.path}",
        "name": pin.path,
        "hashes": cyclonedx.sha256(pin.sha256),
        "properties": cyclonedx.properties({"size": str(pin.size), "uses": ", ".join(uses)}),
    }
    return found | ({"data": [{"type": "dataset", "name": pin.path}]} if is_data else {})


def _spdx_file(path: str, sha256: str, use: str) -> dict[str, Any]:
    """A file as a package: the files of SPDX 2.3 want a SHA-1, which a lock does not keep."""
    return spdx.package(
        spdx.reference("file", path, sha256), path, sha256=sha256, purpose="FILE", comment=use
    )


def _uses(path: str, recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """What a file is for, by the recipe's tables: ``training``, ``model``, a data set."""
    train = recipe.get("train", {})
    named = {
        "training": path == train.get("script") or path in train.get("inputs", ()),
        "model": path == recipe.get("file", {}).get("path"),
        "calibration": path == recipe.get("calibration", {}).get("data"),
        "golden": path == recipe.get("golden", {}).get("data"),
    }
    return tuple(sorted(use for use, holds in named.items() if holds))
