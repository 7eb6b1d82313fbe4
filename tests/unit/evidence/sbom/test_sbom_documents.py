from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sbom_samples import (
    ARM,
    BASE,
    CARD,
    EPOCH,
    SYFT,
    WHEELS,
    assert_valid,
    base,
    described,
    image,
    lock,
    model,
    seen,
)

from buildkit import canonical
from buildkit.evidence import sbom

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE = image()
MODEL = model()


def properties(value: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in value["properties"]}


def one(listed: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [each for each in listed if each["name"] == name]
    return found


def purls(made: sbom.ImageSbom | sbom.ModelSbom) -> tuple[set[str], set[str]]:
    cyclonedx = {each["purl"] for each in made.cyclonedx["components"] if "purl" in each}
    spdx = {
        reference["referenceLocator"]
        for each in made.spdx["packages"]
        for reference in each.get("externalRefs", [])
        if reference["referenceType"] == "purl"
    }
    return cyclonedx, spdx


@pytest.mark.parametrize("name", ["digits", "vision"])
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_documents_of_the_recipes_are_valid(name: str, platform: str) -> None:
    pins = lock(name).platforms[platform]
    made = image(pins=pins, base=base(pins), described=described(name=name, platform=platform))
    assert made.findings == ()
    assert_valid(made)
    assert_valid(model(card=CARD | {"name": name}, lock=lock(name)))


def test_documents_with_everything_in_them_are_valid() -> None:
    pins = lock().platforms[ARM]
    below = [each for each in base(pins) if each.name != "libc6"]
    app = [
        seen("Numpy", "1.0", locations=()),
        seen("Numpy", "1.0", "binary"),
        seen("tool", "", "binary", cpes=("cpe:2.3:a:tool:tool:*:*:*:*:*:*:*:*", "no cpe")),
    ]
    made = image(base=below, app=app)
    assert sorted(each.kind for each in made.findings) == ["copy", "unlocked", "unlocked", "unseen"]
    assert_valid(made)
    told = [each["value"] for each in made.cyclonedx["metadata"]["properties"]]
    assert told == [each.message for each in made.findings]
    assert len(made.spdx["annotations"]) == len(made.findings)
    assert_valid(MODEL)
    assert_valid(model(card=CARD | {"task": ""}))
    assert_valid(image(described=described(layers=(), description="", licence="")))


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(WORDS.filter(bool), WORDS, WORDS, WORDS), max_size=3))
def test_whatever_the_app_brings_the_documents_are_valid(
    found: list[tuple[str, str, str, str]],
) -> None:
    app = [
        seen(name, version, "gem", licences=(licence,) * bool(licence), cpes=(cpe,) * bool(cpe))
        for name, version, licence, cpe in found
    ]
    made = image(app=app)
    assert_valid(made)
    here, there = purls(made)
    assert here == there


def test_both_name_the_same_packages() -> None:
    for made in (IMAGE, MODEL):
        here, there = purls(made)
        assert here == there
        assert here


def test_a_package() -> None:
    pin = next(pin for pin in lock().platforms[ARM].debian if pin.name == "libstdc++6")
    ours = one(IMAGE.cyclonedx["components"], "libstdc++6")
    assert ours["version"] == pin.version
    assert ours["hashes"] == [{"alg": "SHA-256", "content": pin.sha256}]
    assert properties(ours)["io.edge-buildkit:file"] == pin.file
    assert properties(ours)["io.edge-buildkit:layer"] == f"sha256:d{BASE[8:]}"
    assert properties(ours)["io.edge-buildkit:origin"] == "both"
    assert {"id": "GPL-2.0-only", "acknowledgement": "declared"} in [
        each["license"] for each in ours["licenses"]
    ]
    theirs = one(IMAGE.spdx["packages"], "libstdc++6")
    assert theirs["versionInfo"] == pin.version
    assert theirs["packageFileName"] == pin.file
    assert theirs["checksums"] == [{"algorithm": "SHA256", "checksumValue": pin.sha256}]
    declared = "BSD-3-Clause AND GPL-2.0-only AND LicenseRef-GPL AND LicenseRef-This"
    assert theirs["licenseDeclared"] == declared
    assert theirs["supplier"] == "Organization: Debian"
    related = [
        (each["spdxElementId"], each["relationshipType"])
        for each in IMAGE.spdx["relationships"]
        if each["relatedSpdxElement"] == theirs["SPDXID"]
    ]
    assert related == [("SPDXRef-Image", "CONTAINS"), ("SPDXRef-Layer-0", "CONTAINS")]


def test_the_image() -> None:
    main = IMAGE.cyclonedx["metadata"]["component"]
    assert main["purl"] == f"pkg:oci/digits@sha256:{'a' * 64}?arch=arm64&tag=1.0.0"
    assert [properties(each)["io.edge-buildkit:diff-id"] for each in main["components"]][:2] == [
        BASE,
        WHEELS,
    ]
    assert main["licenses"] == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    system = one(IMAGE.cyclonedx["components"], "debian")
    assert (system["type"], system["version"]) == ("operating-system", "12")
    assert IMAGE.cyclonedx["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert IMAGE.spdx["creationInfo"]["created"] == "2026-01-01T00:00:00Z"
    assert "Tool: syft-1.18.1" in IMAGE.spdx["creationInfo"]["creators"]


def test_it_says_what_it_does_not_know() -> None:
    main = IMAGE.cyclonedx["metadata"]["component"]["bom-ref"]
    [dependencies] = IMAGE.cyclonedx["dependencies"]
    names = [each["bom-ref"] for each in IMAGE.cyclonedx["components"]]
    assert dependencies == {"ref": main, "dependsOn": names}
    app, packages = IMAGE.cyclonedx["compositions"]
    assert app["aggregate"] == "incomplete_third_party_only"
    assert packages == {"aggregate": "unknown", "dependencies": names}


def test_the_order_of_what_is_given_means_nothing() -> None:
    pins = lock().platforms[ARM]
    below = base(pins)[::-1]
    again = image(base=below, app=below[:2])
    assert canonical.dump(again.cyclonedx) == canonical.dump(IMAGE.cyclonedx)
    assert canonical.dump(again.spdx) == canonical.dump(IMAGE.spdx)


def test_another_image_has_another_name_and_the_same_image_the_same() -> None:
    other = image(described=described(digest="sha256:" + "b" * 64))
    assert other.cyclonedx["serialNumber"] != IMAGE.cyclonedx["serialNumber"]
    assert other.spdx["documentNamespace"] != IMAGE.spdx["documentNamespace"]
    assert image(epoch=0).cyclonedx["serialNumber"] == IMAGE.cyclonedx["serialNumber"]
    assert IMAGE.spdx["documentNamespace"] == f"urn:edge-buildkit:spdx:sha256:{'a' * 64}"


def test_names_inside_a_document_are_unique() -> None:
    twice = [seen("x", "1", purl="pkg:generic/x@1"), seen("x", "1", "npm", purl="pkg:generic/x@1")]
    made = image(app=twice)
    for names in (
        [each["bom-ref"] for each in made.cyclonedx["components"]],
        [each["SPDXID"] for each in made.spdx["packages"]],
        [each["bom-ref"] for each in MODEL.cyclonedx["components"]],
        [each["SPDXID"] for each in MODEL.spdx["packages"]],
    ):
        assert len(set(names)) == len(names)
    assert_valid(made)


def test_the_model_card() -> None:
    card = MODEL.cyclonedx["metadata"]["component"]["modelCard"]
    parameters = card["modelParameters"]
    assert parameters["task"] == "image-classification"
    assert parameters["inputs"] == [{"format": "input: float32[batch, 1, 8, 8]"}]
    [data] = parameters["datasets"]
    assert properties(data["contents"]) == {"io.edge-buildkit:data-digest": "sha256:" + "d" * 64}
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert {
        "type": "top-1 accuracy (%)",
        "value": "98.2",
        "slice": "this model, 500 golden samples",
    } in metrics
    told = properties(card)
    assert told["io.edge-buildkit:quantization:calibration:method"] == "minmax"
    assert told["io.edge-buildkit:quantization:per_channel"] == "true"
    assert told["io.edge-buildkit:answers:same_on_every_cpu"] == "true"
    assert card["considerations"] == {
        "users": ["shop staff"],
        "useCases": ["forms"],
        "technicalLimitations": ["only dark ink", "only digits"],
        "performanceTradeoffs": ["int8"],
        "ethicalConsiderations": [
            {"name": "a wrong reading", "mitigationStrategy": "it is shown to a person"},
            {"name": "no more than that"},
        ],
    }
    comment = one(MODEL.spdx["packages"], "digits")["comment"]
    assert "top-1 accuracy (%), this model, 500 golden samples: 98.2" in comment
    remarks = [each["comment"] for each in one(MODEL.spdx["packages"], "digits")["annotations"]]
    assert "limitations: only dark ink" in remarks


def test_without_considerations_there_is_no_empty_table() -> None:
    made = model(lock=lock())
    assert "considerations" not in made.cyclonedx["metadata"]["component"]["modelCard"]
    assert "annotations" not in one(made.spdx["packages"], "digits")


def test_what_the_model_was_made_from() -> None:
    found = lock()
    main = MODEL.cyclonedx["metadata"]["component"]
    assert main["pedigree"]["commits"] == [{"uid": found.model.commit}]
    [ancestor] = main["pedigree"]["ancestors"]
    assert ancestor["hashes"][0]["content"] == found.model.float_sha256
    script = one(MODEL.cyclonedx["components"], "train.py")
    assert properties(script)["io.edge-buildkit:uses"] == "training"
    wheels = {wheel.sha256 for host in found.hosts.values() for wheel in host.builder_wheels}
    for made in (
        {each["hashes"][0]["content"] for each in MODEL.cyclonedx["components"]},
        {
            each["checksums"][0]["checksumValue"]
            for each in MODEL.spdx["packages"]
            if "checksums" in each
        },
    ):
        assert wheels <= made
    [workflow] = MODEL.cyclonedx["formulation"][0]["workflows"]
    names = [each["bom-ref"] for each in MODEL.cyclonedx["components"]]
    assert workflow["resourceReferences"] == [{"ref": name} for name in names]
    [dependencies] = MODEL.cyclonedx["dependencies"]
    assert dependencies["dependsOn"] == ["file:exact.py", "file:train.py"]


def test_data_files_are_data() -> None:
    found = lock(
        train={"script": "train.py"},
        calibration={"data": "exact.py"},
        golden={"data": "exact.py"},
    )
    made = model(lock=found)
    assert_valid(made)
    data = one(made.cyclonedx["components"], "exact.py")
    assert data["type"] == "data"
    parameters = made.cyclonedx["metadata"]["component"]["modelCard"]["modelParameters"]
    assert {"ref": data["bom-ref"]} in parameters["datasets"]
    package = one(made.spdx["packages"], "exact.py")
    kinds = {
        each["relationshipType"]
        for each in made.spdx["relationships"]
        if each["spdxElementId"] == package["SPDXID"]
    }
    assert kinds == {"DATA_FILE_OF", "TEST_CASE_OF"}


def test_it_is_cheap() -> None:
    pins = lock().platforms[ARM]
    below, arguments = base(pins), {"described": described(), "epoch": EPOCH, "tools": (SYFT,)}
    begun = time.process_time()
    for _ in range(2):
        made = sbom.image(pins=pins, base=below, app=(), **arguments)  # type: ignore[arg-type]
        canonical.dump(made.cyclonedx), canonical.dump(made.spdx)
    assert time.process_time() - begun < 0.06
