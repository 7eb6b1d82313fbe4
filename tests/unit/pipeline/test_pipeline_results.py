"""The documented object, and the record that stays in the store."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical
from buildkit.pipeline.results import SCHEMA, BuildResult, Model, PlatformImage, Statement

hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
digest = hexadecimal.map("sha256:{}".format)
percent = st.floats(0, 100)
results = st.builds(
    BuildResult,
    recipe=st.fixed_dictionaries({"name": st.text(), "version": st.text(), "digest": digest}),
    lock_digest=digest,
    image_digest=digest,
    platforms=st.lists(
        st.builds(PlatformImage, platform=st.text(), digest=digest, size=st.integers(0))
    ).map(tuple),
    model_index=digest,
    models=st.lists(
        st.builds(
            Model,
            target=st.text(),
            digest=digest,
            file_sha256=hexadecimal,
            size=st.integers(0),
            float_accuracy=percent,
            quantised_accuracy=percent,
            answers=st.fixed_dictionaries(
                {"same_on_every_cpu": st.booleans(), "reason": st.text()}
            ),
        )
    ).map(tuple),
    statements=st.lists(st.builds(Statement, kind=st.text(), about=st.text(), digest=digest)).map(
        tuple
    ),
    findings=st.lists(st.text()).map(tuple),
    store=st.sampled_from([Path("/a"), Path("/b c")]),
    cached=st.booleans(),
    seconds=st.dictionaries(st.text(), st.floats(0, 1e6)),
)


@given(results)
def test_the_record_gives_the_result_back(result: BuildResult) -> None:
    record = canonical.load(canonical.dump(result.reproducible()))
    found = BuildResult.from_record(
        record, store=result.store, cached=result.cached, seconds=result.seconds
    )
    assert found == result
    assert found.to_json() == result.to_json()


@given(results)
def test_where_and_when_are_no_part_of_the_record(result: BuildResult) -> None:
    record, document = result.reproducible(), result.to_json()
    assert document.keys() - record.keys() == {"schema", "store", "cached", "seconds"}
    assert {key: document[key] for key in record} == record


def test_the_documented_form() -> None:
    one, two, three, four, five = (f"sha256:{number}" * 8 for number in range(1, 6))
    result = BuildResult(
        recipe={"name": "digits", "version": "1.0.0", "digest": one},
        lock_digest=two,
        image_digest=three,
        platforms=(PlatformImage(platform="linux/arm64", digest=four, size=7),),
        model_index=one,
        models=(
            Model(
                target="pi5",
                digest=five,
                file_sha256="6" * 64,
                size=8,
                float_accuracy=98.4,
                quantised_accuracy=98.1,
                answers={"same_on_every_cpu": True},
            ),
        ),
        statements=(Statement(kind="spdx", about="model pi5", digest=two),),
        findings=("linux/arm64: something",),
        store=Path("/store"),
        cached=False,
        seconds={"check": 0.01},
    )
    assert json.loads(json.dumps(result.to_json())) == {
        "schema": SCHEMA,
        "recipe": {"name": "digits", "version": "1.0.0", "digest": one},
        "lock": {"digest": two},
        "image": {
            "digest": three,
            "platforms": [{"platform": "linux/arm64", "digest": four, "size": 7}],
        },
        "model_index": one,
        "models": [
            {
                "target": "pi5",
                "digest": five,
                "file_sha256": "6" * 64,
                "size": 8,
                "accuracy": {"float": 98.4, "quantised": 98.1},
                "answers": {"same_on_every_cpu": True},
            }
        ],
        "statements": [{"kind": "spdx", "about": "model pi5", "digest": two}],
        "findings": ["linux/arm64: something"],
        "store": "/store",
        "cached": False,
        "seconds": {"check": 0.01},
    }
    assert SCHEMA == "buildkit/build-result/v1"
