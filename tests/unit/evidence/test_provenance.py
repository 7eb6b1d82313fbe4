"""Provenance: every entry of the lock is there, and what was written reads back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from buildkit import canonical, digests
from buildkit.errors import EvidenceError
from buildkit.evidence import provenance
from buildkit.evidence.reasons import Reason
from buildkit.lock import codec
from buildkit.lock.resolve.inputs import all_of

ROOT = Path(__file__).resolve().parents[3]
LOCK = codec.load(ROOT / "recipes/digits/recipe.lock")
PATH = "/nix/store/" + "a" * 32


def build(**changed: Any) -> provenance.Build:
    facts: dict[str, Any] = {
        "recipe": {"name": "digits", "version": "1.0.0", "digest": LOCK.recipe_digest},
        "lock": LOCK,
        "lock_digest": codec.digest(LOCK),
        "sources": {
            "recipe.toml": digests.of_bytes(b"recipe"),
            "app/main.py": "sha256:" + "1" * 64,
        },
        "repository": "https://git.example.test/edge",
        "revision": "ab" * 20,
        "epoch": 1767225600,
        "code": "sha256:" + "2" * 64,
        "builder": "",
        "closures": {
            "arm64": {"builder": f"{PATH}-builder", "engine": f"{PATH}-engine"},
            "amd64": {"builder": f"{PATH}-builder", "engine": f"{PATH}-engine"},
        },
        "byproducts": [
            provenance.Byproduct(
                name="model.json", digest="sha256:" + "3" * 64, media_type="application/json"
            )
        ],
    }
    return provenance.Build(**(facts | changed))


def test_every_entry_of_the_lock_is_a_dependency() -> None:
    document = provenance.predicate(build())
    listed = document["buildDefinition"]["resolvedDependencies"]
    found = {each["digest"].get("sha256") for each in listed}
    pins = [pin for host in LOCK.hosts.values() for pin in all_of(host)]
    for platform in LOCK.platforms.values():
        pins += [*platform.debian, *platform.wheels]
    assert {pin.sha256 for pin in pins} <= found
    assert {pin.sha256 for pin in LOCK.model.files} <= found
    assert digests.hex_of(codec.digest(LOCK)) in found
    uses = {use for each in listed for use in each.get("annotations", {}).get("uses", ())}
    assert {
        "lock",
        "source",
        "model",
        "host amd64 engine",
        "host arm64 tools",
        "platform linux/arm64",
    } <= uses
    # A package that several hosts use stands there once.
    assert len(found - {None}) == len([each for each in listed if "sha256" in each["digest"]])


def test_it_is_slsas_form() -> None:
    document = provenance.predicate(build())
    assert set(document) == {"buildDefinition", "runDetails"}
    assert document["buildDefinition"]["buildType"] == provenance.BUILD_TYPE
    assert "metadata" not in document["runDetails"]
    builder = document["runDetails"]["builder"]
    assert builder["id"] == provenance.PINNED_BUILDER
    assert [each["name"] for each in builder["builderDependencies"]] == [
        "builder amd64", "engine amd64", "builder arm64", "engine arm64",
    ]  # fmt: skip
    assert builder["builderDependencies"][0] == {
        "name": "builder amd64",
        "uri": f"nix:{PATH}-builder",
        "digest": {"nixStorePath": "a" * 32},
    }
    names = [each["name"] for each in document["runDetails"]["byproducts"]]
    assert names == ["model.json", "calibration-ranges"]
    named = provenance.predicate(build(builder="my-nodes"))
    assert named["runDetails"]["builder"]["id"] == "urn:edge-buildkit:builder:named:my-nodes"


@pytest.mark.parametrize(
    ("repository", "revision", "expected"),
    [
        ("https://git.example.test/edge", "ab" * 20, {"gitCommit": "ab" * 20}),
        ("https://git.example.test/edge", "ab" * 20 + "-dirty", {}),
        ("https://git.example.test/edge", "", {}),
        ("", "ab" * 20, {"gitCommit": "ab" * 20}),
        ("", "ab" * 20 + "-dirty", None),
        ("", "", None),
    ],
)
def test_a_commit_is_named_only_when_it_is_what_was_built(
    repository: str, revision: str, expected: dict[str, str] | None
) -> None:
    document = provenance.predicate(build(repository=repository, revision=revision))
    listed = document["buildDefinition"]["resolvedDependencies"]
    found = [each["digest"] for each in listed if each["name"] == "source"]
    assert found == ([] if expected is None else [expected])


def test_it_reads_back() -> None:
    document = canonical.load(canonical.dump(provenance.predicate(build())))
    read = provenance.read(document, "it")
    assert read.lock_digest == codec.digest(LOCK)
    assert read.recipe["name"] == "digits"
    assert read.builder == provenance.PINNED_BUILDER
    assert set(provenance.materials(LOCK)) <= set(read.materials)


def broken(*path: str | int, value: Any) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(provenance.predicate(build()))
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "buildDefinition: not an object"),
        (broken("buildDefinition", "buildType", value="https://other.test"), "build type"),
        (broken("buildDefinition", "externalParameters", value=[]), "not an object"),
        (broken("buildDefinition", "resolvedDependencies", value={}), "not a list"),
        (broken("buildDefinition", "resolvedDependencies", value=[]), "0 locks"),
        (broken("buildDefinition", "resolvedDependencies", 1, value=7), "not an object"),
        (
            broken("buildDefinition", "resolvedDependencies", 1, "name", value=None),
            "not a text",
        ),
        (broken("runDetails", value=None), "runDetails: not an object"),
        (broken("runDetails", "builder", "id", value=7), "not a text"),
    ],
)
def test_what_does_not_hold_together_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(EvidenceError, match=said) as caught:
        provenance.read(document, "it")
    assert caught.value.reason == Reason.PREDICATE
