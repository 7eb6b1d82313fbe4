from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lock_fakes import lock

from buildkit import canonical, digests
from buildkit.errors import LockError
from buildkit.lock import codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def sealed(document: dict[str, Any]) -> bytes:
    """A lock whose integrity line is right, whatever else is wrong with it."""
    rest = {key: value for key, value in document.items() if key != "integrity"}
    return json.dumps({**rest, "integrity": digests.of_bytes(canonical.dump(rest))}).encode()


def document() -> dict[str, Any]:
    found = json.loads(codec.dump(lock()))
    assert isinstance(found, dict)
    return found


def test_a_lock_survives_the_way_to_bytes_and_back() -> None:
    assert codec.parse(codec.dump(lock()), "recipe.lock") == lock()


def test_the_same_lock_is_the_same_bytes_whatever_the_order() -> None:
    first, second = lock(), lock()
    ranges = dict(reversed(list(second.model.ranges.items())))
    second = replace(second, model=replace(second.model, ranges=ranges))
    assert codec.dump(first) == codec.dump(second)


def test_a_whole_number_as_a_range_is_the_same_lock() -> None:
    whole = replace(lock().model, ranges={"input": (0, 1), "x/y:0": (-3.5, 0.25)})
    assert codec.dump(lock(model=whole)) == codec.dump(lock())


def test_digest_is_that_of_the_file() -> None:
    assert codec.digest(lock()) == digests.of_bytes(codec.dump(lock()))


def test_every_field_counts() -> None:
    changed = replace(lock().model, commit="")
    assert codec.digest(lock(model=changed)) != codec.digest(lock())


def test_the_file_names_no_host_and_ends_in_a_newline() -> None:
    data = codec.dump(lock())
    assert b"http" not in data
    assert data.endswith(b"}\n")


def test_windows_line_ends_do_not_count_as_an_edit() -> None:
    data = codec.dump(lock()).replace(b"\n", b"\r\n")
    assert codec.parse(data, "recipe.lock") == lock()


def test_an_edit_by_hand_is_noticed() -> None:
    data = codec.dump(lock()).replace(b"2.36-9", b"2.36-8")
    with pytest.raises(LockError, match="edited by hand") as caught:
        codec.parse(data, "recipe.lock")
    assert "lock --update" in caught.value.remedy
    assert "git checkout" in caught.value.remedy


def test_a_lock_older_than_the_wheels_of_tools_keeps_its_bytes() -> None:
    older = document()
    del older["hosts"]["amd64"]["tools_wheels"]
    found = codec.parse(sealed(older), "recipe.lock")
    host = replace(lock().hosts["amd64"], tools_wheels=())
    assert found == lock(hosts={"amd64": host})
    assert "tools_wheels" not in codec.to_json(found)["hosts"]["amd64"]
    assert codec.parse(codec.dump(found), "recipe.lock") == found


def test_a_lock_without_counts_keeps_its_bytes() -> None:
    made = lock()
    older = replace(made, model=replace(made.model, golden={}))
    assert "golden" not in codec.to_json(older)["model"]
    assert codec.parse(codec.dump(older), "recipe.lock") == older
    assert codec.parse(codec.dump(made), "recipe.lock").model.golden["agreeing"] == 99


def test_a_missing_integrity_line_is_an_edit() -> None:
    found = document()
    del found["integrity"]
    with pytest.raises(LockError, match="edited by hand"):
        codec.parse(json.dumps(found).encode(), "recipe.lock")


def test_a_newer_version_is_named_before_anything_else() -> None:
    data = json.dumps({"schema": "buildkit/lock/v2", "anything": []}).encode()
    with pytest.raises(LockError, match="newer version") as caught:
        codec.parse(data, "recipe.lock")
    assert "newer edge-buildkit" in caught.value.remedy


def test_a_missing_lock_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="no lock yet") as caught:
        codec.load(tmp_path / "recipe.lock")
    assert "run `lock`" in caught.value.remedy


def test_a_folder_is_not_a_lock(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="cannot be read"):
        codec.load(tmp_path)


def test_load_reads_what_dump_wrote(tmp_path: Path) -> None:
    file = tmp_path / "recipe.lock"
    file.write_bytes(codec.dump(lock()))
    assert codec.load(file) == lock()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"{}", b"\xff\xfe", b'{"a":1,"a":2}', b"[" * 100_000, b"1e999"],
)
def test_other_files_are_not_locks(data: bytes) -> None:
    with pytest.raises(LockError, match="not a lock"):
        codec.parse(data, "recipe.lock")


def _unknown(found: dict[str, Any]) -> None:
    found["hosts"]["amd64"]["seed"]["url"] = "x"


def _missing(found: dict[str, Any]) -> None:
    del found["model"]["seed"]


def _hash(found: dict[str, Any]) -> None:
    found["platforms"]["linux/arm64"]["wheels"][0]["sha256"] = "A" * 64


def _file(found: dict[str, Any]) -> None:
    found["platforms"]["linux/arm64"]["wheels"][0]["file"] = "../../etc/passwd"


def _hidden(found: dict[str, Any]) -> None:
    found["hosts"]["amd64"]["seed"]["file"] = ".profile"


def _path(found: dict[str, Any]) -> None:
    found["model"]["files"][0]["path"] = "../outside"


def _absolute(found: dict[str, Any]) -> None:
    found["model"]["files"][0]["path"] = "/etc/passwd"


def _type(found: dict[str, Any]) -> None:
    found["hosts"]["amd64"]["seed"]["size"] = "12"


def _true(found: dict[str, Any]) -> None:
    found["model"]["seed"] = True


def _list(found: dict[str, Any]) -> None:
    found["hosts"]["amd64"]["engine_debian"] = {}


def _range(found: dict[str, Any]) -> None:
    found["model"]["ranges"]["input"] = [1.0, 0.0]


def _double(found: dict[str, Any]) -> None:
    found["model"]["ranges"]["input"] = [0.0, 0.1]


def _platform(found: dict[str, Any]) -> None:
    found["platforms"]["windows"] = found["platforms"].pop("linux/arm64")


def _question(found: dict[str, Any]) -> None:
    found["recipe"]["document"]["version"] = "2.0.0"


def _option(found: dict[str, Any]) -> None:
    found["hosts"]["amd64"]["seed"]["name"] = "-oDir=/"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unknown, "hosts.amd64.seed.url: unknown key"),
        (_missing, "model.seed: is missing"),
        (_hash, "platforms.linux/arm64.wheels[0].sha256: cannot be"),
        (_file, "platforms.linux/arm64.wheels[0].file: cannot be"),
        (_hidden, "hosts.amd64.seed.file: cannot be"),
        (_path, "model.files[0].path: must stay inside"),
        (_absolute, "model.files[0].path: must stay inside"),
        (_type, "hosts.amd64.seed.size: must be a whole number"),
        (_true, "model.seed: must be a whole number"),
        (_list, "hosts.amd64.engine_debian: must be a list"),
        (_range, "model.ranges.input: must be two float32"),
        (_double, "model.ranges.input: must be two float32"),
        (_platform, "platforms.windows: is no such name"),
        (_question, "recipe.digest: is not that of recipe.document"),
        (_option, "hosts.amd64.seed.name: cannot be"),
    ],
)
def test_what_is_not_sound_is_named(spoil: Callable[[dict[str, Any]], None], said: str) -> None:
    found = document()
    spoil(found)
    with pytest.raises(LockError, match="not sound") as caught:
        codec.parse(sealed(found), "recipe.lock")
    assert said in caught.value.message
    assert caught.value.remedy


def test_all_problems_come_at_once() -> None:
    found = document()
    for spoil in (_unknown, _missing, _hash, _range):
        spoil(found)
    with pytest.raises(LockError) as caught:
        codec.parse(sealed(found), "recipe.lock")
    assert caught.value.message.count("\n") == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    with pytest.raises(LockError):
        codec.parse(data, "recipe.lock")


@given(st.data())
@settings(max_examples=200)
def test_no_value_anywhere_ends_in_a_traceback(data: st.DataObject) -> None:
    found = document()
    place: Any = found
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(place[key], (dict, list)) and len(place[key]) > 0
        if not deeper or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        seal = sealed(found)
    except ValueError:
        seal = json.dumps(found).encode()
    try:
        codec.parse(seal, "recipe.lock")
    except LockError as error:
        said = error
    else:
        return
    assert said.remedy


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.tuples(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
        ).map(lambda pair: (min(pair), max(pair))),
        max_size=5,
    )
)
def test_ranges_come_back_to_the_bit(ranges: dict[str, tuple[float, float]]) -> None:
    made = lock(model=replace(lock().model, ranges=ranges))
    found = codec.parse(codec.dump(made), "recipe.lock").model.ranges
    assert {name: struct.pack("2f", *pair) for name, pair in found.items()} == {
        name: struct.pack("2f", *pair) for name, pair in ranges.items()
    }
