"""What each question answers about a small history, and what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from audit_world import key_id

from buildkit import audit
from buildkit.errors import InputError

if TYPE_CHECKING:
    from audit_world import World

    from buildkit.audit import Answer, Index

BUSYBOX = "pkg:deb/debian/busybox-static@1.0-1?arch=amd64&distro=debian-12"


def kinds_of(index: Index, answer: Answer[Any]) -> set[tuple[str, str]]:
    """Kind and reason of every bundle that an answer rests on."""
    bundles = {each for row in answer.rows for each in row.evidence}
    cells = audit.sql(index, "SELECT bundle, kind, reason FROM statement", limit=10_000)
    cells = audit.Cells(
        columns=cells.columns, rows=tuple(row for row in cells.rows if row[0] in bundles)
    )
    assert {row[0] for row in cells.rows} == bundles
    return {(str(row[1]), str(row[2])) for row in cells.rows}


# contains


def test_contains_lists_channels_devices_images(index: Index, built: World) -> None:
    found = audit.contains(index, "numpy")
    what = {(row.what, row.name, row.version) for row in found.rows}
    assert what == {
        ("channel", "tiny:canary", "1.0.0"),
        ("channel", "tiny:stable", "1.0.0"),
        ("device", "board", "1.1.0"),
        ("device", "board2", "1.0.0"),
        ("image", "tiny", "1.0.0"),
        ("image", "tiny", "1.1.0"),
        ("image", "other", "1.0.0"),
        ("image", "other", "2.0.0"),
    }
    assert not found.more
    assert {row.package for row in found.rows} == {"pkg:pypi/numpy@2.0"}
    board2 = next(row for row in found.rows if row.name == "board2")
    assert board2.image == built.made["other:1.0.0"].image
    assert kinds_of(index, found) == {
        ("cyclonedx", ""),
        ("test-result", ""),
        ("promotion", ""),
    }


@pytest.mark.parametrize(
    ("package", "is_there"),
    [
        ("numpy<2.1", True),
        ("numpy<2.0", False),
        ("NumPy>=2,<3", True),
        ("numpy!=2.0", False),
        ("numpy==2", True),
        ("pkg:pypi/numpy", True),
        ("pkg:pypi/numpy@2.0", True),
        ("pkg:pypi/numpy@2.1", False),
        ("pkg:deb/debian/numpy", False),
        ("pkg:deb/debian/libc6?arch=arm64", True),
        ("pkg:deb/debian/libc6?arch=riscv64", False),
        ("libc6<1.0-1+deb12u1", True),
        ("libc6<1.0-1~rc1", False),
        ("no-such-package", False),
        ("licence:no-such-licence", False),
        ("sha256:" + "0" * 64, False),
    ],
)
def test_contains_selects(index: Index, package: str, *, is_there: bool) -> None:
    assert bool(audit.contains(index, package).rows) == is_there


def test_contains_by_hash_finds_one_architecture(index: Index) -> None:
    (row, *_) = audit.contains(index, "pkg:deb/debian/libc6?arch=arm64").rows
    found = audit.contains(index, row.sha256)
    assert {each.package for each in found.rows} == {row.package}
    assert {each.variant for each in found.rows} == {"linux/arm64"}
    assert audit.contains(index, row.sha256[:20]) == found


def test_a_limit_says_when_more_matched(index: Index) -> None:
    whole = audit.contains(index, "numpy")
    cut = audit.contains(index, "numpy", limit=1)
    assert cut.more
    assert [row.what for row in cut.rows] == ["channel", "device", "image"]
    assert set(cut.rows) <= set(whole.rows)


# from, materials


def test_from_a_wheel(index: Index) -> None:
    found = audit.made_from(index, "numpy<2.1")
    assert {(row.role, row.name, row.version) for row in found.rows} >= {
        ("image", "tiny", "1.1.0"),
        ("model", "tiny", "1.1.0"),
        ("image", "other", "2.0.0"),
    }
    assert {row.role for row in found.rows} == {"image", "model"}
    assert kinds_of(index, found) == {("provenance", "")}
    assert audit.made_from(index, "numpy<2.0").rows == ()


def test_from_whatever_names_an_input(index: Index) -> None:
    every = {row.digest for row in audit.made_from(index, BUSYBOX).rows}
    assert len(every) == 12
    nix = "a" * 32
    for name in (
        *("busybox-static", "builder amd64", f"nix:{nix}", f"nix:{nix[:9]}"),
        *(f"/nix/store/{nix}-builder", f"nix:/nix/store/{nix}-builder", "builder:pinned"),
        "urn:edge-buildkit:builder:pinned:v1",
    ):
        assert {row.digest for row in audit.made_from(index, name).rows} == every, name
    assert audit.made_from(index, "builder:mine").rows == ()
    digest = audit.made_from(index, BUSYBOX).rows[0].input_digest
    assert {row.digest for row in audit.made_from(index, digest).rows} == every
    assert {row.digest for row in audit.made_from(index, digest[7:20]).rows} == every


def test_from_a_commit(index: Index) -> None:
    commits = audit.sql(index, 'SELECT "commit" FROM material WHERE "commit" <> \'\'').rows
    for (commit,) in commits:
        assert isinstance(commit, str)
        found = audit.made_from(index, commit[:9])
        assert found.rows
        assert {row.commit for row in found.rows} == {commit}


def test_materials_go_down_to_the_seed(index: Index, built: World) -> None:
    found = audit.materials(index, "tiny:1.0.0")
    assert {row.of for row in found.rows} == {built.made["tiny:1.0.0"].image}
    assert BUSYBOX in {row.uri for row in found.rows if "seed" in row.uses}
    assert {"recipe.lock", "numpy", "builder amd64"} <= {row.name for row in found.rows}
    assert kinds_of(index, found) == {("provenance", "")}
    cut = audit.materials(index, "tiny:1.0.0", limit=3)
    assert (cut.rows, cut.more) == (found.rows[:3], True)


# devices, passed


def test_devices_say_when_and_with_what_verdict(index: Index, built: World) -> None:
    found = audit.devices(index, "tiny:1.1.0")
    assert [(row.device, row.result, row.verdict, row.runs) for row in found.rows] == [
        ("board", "PASSED", "PASS", 2),
        ("board2", "FAILED", "FAIL", 1),
    ]
    first = found.rows[0]
    assert (first.key, first.target, first.mark) == (key_id("board"), "pi5", "")
    assert (first.kernel, first.firmware) == ("6.12.1-v8-16k+", "fw of board")
    assert (first.p50_ns, first.p95_ns) == (1_000_000, 2_000_000)
    assert first.ended < built.now
    # Board and host signed it, and a gate judged it.
    assert len(first.evidence) == 3
    assert kinds_of(index, found) == {("test-result", ""), ("verdict", "")}


def test_devices_of_every_run(index: Index) -> None:
    found = audit.devices(index, "tiny:1.1.0", all_runs=True)
    assert [(row.device, row.result, row.verdict) for row in found.rows] == [
        ("board", "PASSED", "PASS"),
        ("board", "WARNED", ""),
        ("board2", "FAILED", "FAIL"),
    ]
    assert audit.devices(index, "tiny:1.1.0", all_runs=True, limit=2).more


def test_a_run_on_no_device_is_marked(index: Index) -> None:
    found = audit.devices(index, "other:1.0.0")
    assert [(row.device, row.key, row.mark) for row in found.rows] == [
        ("", "", "local"),
        ("board2", key_id("board2"), "stand-in"),
    ]


def test_parts_and_models_are_asked_for_likewise(index: Index, built: World) -> None:
    made = built.made["tiny:1.1.0"]
    whole = audit.devices(index, made.image)
    model = whole.rows[0].model
    assert audit.devices(index, model) == whole
    assert audit.devices(index, whole.rows[0].image[7:19]) == whole


def test_passed_since(index: Index) -> None:
    found = audit.passed(index, target="pi5")
    assert [(row.name, row.version) for row in found.rows] == [
        ("tiny", "1.1.0"),
        ("tiny", "1.0.0"),
        ("tiny", "1.0.0"),
    ]
    assert audit.passed(index, target="pi5", since=found.rows[0].at).rows == found.rows[:1]
    assert audit.passed(index, target="pi5", since=found.rows[0].at + 1).rows == ()
    assert audit.passed(index, target="jetson").rows == ()
    assert audit.passed(index).rows == found.rows
    assert kinds_of(index, found) == {("verdict", "")}


# channels


def test_history_is_newest_first(index: Index) -> None:
    found = audit.history(index, "tiny:canary")
    assert [(row.number, row.version, row.restores) for row in found.rows] == [
        (3, "1.0.0", 1),
        (2, "1.1.0", 0),
        (1, "1.0.0", 0),
    ]
    assert {row.signer for row in found.rows} == {f"key {key_id('good')}"}
    assert audit.history(index, "canary") == found
    assert audit.history(index, "other:canary").rows == ()
    assert kinds_of(index, found) == {("promotion", "")}


def test_at_a_time(index: Index, built: World) -> None:
    moves = audit.history(index, "tiny:canary").rows
    for row in moves:
        (canary,) = (each for each in audit.at(index, row.at).rows if "canary" in each.channel)
        assert canary == row
    assert audit.at(index, moves[-1].at - 1).rows == ()
    assert [row.channel for row in audit.at(index, built.now).rows] == [
        "tiny:canary",
        "tiny:stable",
    ]


# signed-by, who


def test_signed_by(index: Index) -> None:
    found = audit.signed_by(index, key_id("board"))
    assert {row.kind for row in found.rows} == {"test-result"}
    times = [row.time for row in found.rows]
    assert times == sorted(times, key=lambda time: -(time or 0))
    assert audit.signed_by(index, "board") == found
    assert audit.signed_by(index, key_id("board")[:6]) == found
    assert audit.signed_by(index, f"device key {key_id('board')}") == found
    assert found.rows[0].names == ("tiny:1.1.0 linux/arm64", "tiny:1.1.0 pi5")
    late = audit.signed_by(index, "board", since=found.rows[0].time)
    assert late.rows == found.rows[:1]
    assert audit.signed_by(index, "nobody-of-that-name").rows == ()


def test_signed_by_of_one_kind(index: Index) -> None:
    found = audit.signed_by(index, "good", kind="provenance")
    assert {row.kind for row in found.rows} == {"provenance"}
    assert len(audit.signed_by(index, "good", limit=5).rows) == 5
    assert audit.signed_by(index, "good", limit=5).more


def test_who_says_what(index: Index) -> None:
    found = audit.who(index, "tiny:1.1.0")
    said = {(row.role, row.kind, row.signer) for row in found.rows if not row.reason}
    host = f"key {key_id('good')}"
    assert ("image", "provenance", host) in said
    assert ("platform", "cyclonedx", host) in said
    assert ("platform", "test-result", f"device key {key_id('board')}") in said
    refused = [row for row in found.rows if row.reason]
    assert {(row.kind, row.reason) for row in refused} == {("test-result", "signer-unknown")}


# path


def test_a_chain_from_a_report_to_an_input(index: Index) -> None:
    run = audit.signed_by(index, "board").rows[0].evidence[0]
    lock = next(
        row.digest for row in audit.materials(index, "tiny:1.1.0").rows if row.name == "recipe.lock"
    )
    found = audit.path(index, run, lock)
    # Two ways are as short: which one is taken, follows from the digests.
    part = found.rows[1].kind
    assert part in {"platform", "model"}
    assert [(step.by, step.kind) for step in found.rows] == [
        ("", "test-result"),
        ("is about", part),
        ("is described by", "provenance"),
        ("is made from", "material"),
    ]
    assert (found.rows[0].id, found.rows[-1].id) == (run, lock)
    assert all(step.evidence for step in found.rows[1:])
    back = audit.path(index, lock, run)
    assert [step.id for step in back.rows] == [step.id for step in reversed(found.rows)]
    assert back.rows[1].by == "is an input of"


def test_a_chain_between_devices_channels_and_packages(index: Index, built: World) -> None:
    device = audit.path(index, key_id("board2"), BUSYBOX)
    assert [step.kind for step in device.rows] == [
        *("device", "test-result", "platform", "provenance", "material"),
    ]
    channel = audit.path(index, "tiny:stable", built.made["tiny:1.0.0"].image)
    assert channel.rows
    package = audit.path(index, "tiny:1.0.0", "pkg:deb/debian/libc6@1.0-1?arch=amd64")
    assert [step.kind for step in package.rows] == ["image", "platform", "package"]
    # The whole names its part by digest: that is the proof.
    assert package.rows[1].evidence == (package.rows[0].id,)


def test_what_two_have_in_common_comes_last(index: Index) -> None:
    found = audit.path(index, "tiny:1.0.0", "other:1.0.0")
    assert any(step.kind == "material" for step in found.rows)
    same = audit.path(index, "tiny:1.0.0", "tiny:1.0.0")
    assert len(same.rows) == 1


def test_nothing_leads_over_what_is_refused(index: Index) -> None:
    refused = audit.sql(index, "SELECT bundle FROM statement WHERE reason <> ''").rows
    assert refused
    for (bundle,) in refused:
        assert isinstance(bundle, str)
        assert audit.path(index, bundle.partition("@")[0], "tiny:1.1.0").rows == ()


# gaps


def test_gaps(index: Index) -> None:
    found = audit.gaps(index, kinds=["rebuild"])
    assert {(row.gap, row.role) for row in found.rows} == {
        ("no-rebuild", "image"),
        ("no-rebuild", "model"),
    }
    image = {(row.name, row.version) for row in found.rows if row.role == "image"}
    assert ("tiny", "1.0.0") in image
    assert ("tiny", "1.1.0") not in image
    tests = audit.gaps(index, kinds=["test-result"])
    assert ("tiny", "1.1.0", "linux/amd64") in {
        (row.name, row.version, row.variant) for row in tests.rows
    }
    assert ("tiny", "1.1.0", "linux/arm64") not in {
        (row.name, row.version, row.variant) for row in tests.rows
    }
    assert audit.gaps(index, kinds=["provenance"]).rows == ()
    assert audit.gaps(index, limit=1).more
    with pytest.raises(InputError, match="no kind of evidence"):
        audit.gaps(index, kinds=["poem"])


# names


@pytest.mark.parametrize("ref", ["tiny:9", "deadbeef", "sha256:" + "0" * 64, "", " ", "\udcff"])
def test_what_is_not_there(index: Index, ref: str) -> None:
    with pytest.raises(InputError):
        audit.materials(index, ref)


def test_a_name_nearby_is_told(index: Index) -> None:
    with pytest.raises(InputError, match=r"there is .*tiny:1\.0\.0"):
        audit.devices(index, "tiny:2.0.0")


def test_the_surface(index: Index) -> None:
    assert sorted(audit.__all__) == audit.__all__
    for name in audit.__all__:
        assert getattr(audit, name) is not None
        assert name in dir(audit)
    with pytest.raises(AttributeError):
        _ = audit.no_such_thing
    status = audit.status(index)
    assert status.sources == ("store",)
    assert status.unfinished == ()
    assert {each.name: each.count for each in status.refused} == {"signer-unknown": 1}
