"""Layers as streams, and against one another."""

from __future__ import annotations

import gzip
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from why_scene import archive, entry, packed

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.why import archive as archives
from buildkit.why import layers
from buildkit.why.archive import Listing, Member, UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.why.types import Effect

PLACE = layers.Place(part="python", where="here", platforms=("linux/arm64",))
SITE = "usr/local/lib/python3.11/dist-packages"


def listing(folder: Path, data: bytes) -> Listing:
    file = folder / "blob"
    file.write_bytes(data)
    return archives.read(file, digests.of_bytes(data))


def compared(folder: Path, a: bytes, b: bytes) -> list[Effect]:
    return list(layers.differences(listing(folder, a), listing(folder, b), PLACE))


def test_headers_and_hashes(tmp_path: Path) -> None:
    found = listing(
        tmp_path,
        packed(
            entry("./app", type=tarfile.DIRTYPE, mode=0o755),
            entry("/app/main.py", b"print()", mode=0o644, uid=7, uname="web", mtime=5),
            entry("app/link", type=tarfile.SYMTYPE, linkname="../../etc/passwd"),
            entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        ),
    )
    assert list(found.members) == ["app", "app/main.py", "app/link", "dev/null"]
    file = found.members["app/main.py"]
    assert (file.kind, file.owner, file.mtime) == ("file", "7:0 web", 5)
    assert file.digest == digests.of_bytes(b"print()")
    assert found.members["app/link"].link == "../../etc/passwd"
    assert found.members["dev/null"].link == "1:3"


def test_what_is_packed_and_what_is_not_has_one_diff_id(tmp_path: Path) -> None:
    data = archive(entry("a", b"1"))
    assert listing(tmp_path, data).diff_id == digests.of_bytes(data)
    assert listing(tmp_path, gzip.compress(data)).diff_id == digests.of_bytes(data)


def test_packages_own_their_files(tmp_path: Path) -> None:
    found = listing(
        tmp_path,
        packed(
            entry("var/lib/dpkg/status.d/libc6", b"Package: libc6\n"),
            entry("var/lib/dpkg/status.d/libc6.md5sums", b"0  lib/x/libc.so.6\n"),
            entry(f"{SITE}/numpy-2.4.6.dist-info/RECORD", b"numpy/a.py,,\n../../../bin/f2py,,\n"),
        ),
    )
    assert found.owner("usr/lib/x/libc.so.6") == "libc6"
    assert found.owner("var/lib/dpkg/status.d/libc6") == "libc6"
    assert found.owner("var/lib/dpkg/status.d/libc6.md5sums") == "libc6"
    assert found.owner("usr/share/doc/zlib1g/copyright") == "zlib1g"
    assert found.owner(f"{SITE}/numpy/a.py") == "numpy"
    assert found.owner("usr/local/bin/f2py") == "numpy"
    assert found.owner(f"{SITE}/numpy-2.4.6.dist-info/WHEEL") == "numpy"
    assert found.owner("etc/passwd") is None


def test_other_bytes_than_the_digest_says(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(packed(entry("a", b"1")))
    with pytest.raises(DigestError):
        archives.read(file, digests.of_bytes(b""))
    with pytest.raises(StoreError):
        archives.read(tmp_path / "nothing", digests.of_bytes(b""))


@pytest.mark.parametrize(
    "data",
    [
        b"\x28\xb5\x2f\xfd zstandard",
        b"\x1f\x8b broken",
        gzip.compress(b"no archive" * 100, mtime=0),
        packed(entry("a", b"1" * 5000))[:-20],
        b"",
    ],
)
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        listing(tmp_path, data)


def test_a_header_that_claims_much_memory(tmp_path: Path) -> None:
    info, _ = entry("x", type=tarfile.XHDTYPE)
    info.size = 5 << 30
    with pytest.raises(UnreadableError, match="longer than any"):
        listing(tmp_path, info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))


def test_headers_without_end(tmp_path: Path) -> None:
    info, _ = entry("x", type=tarfile.XGLTYPE)
    data = info.tobuf(tarfile.USTAR_FORMAT) * 20000
    try:
        found = listing(tmp_path, gzip.compress(data))
    except UnreadableError:
        return
    assert not found.members


def test_more_entries_than_a_layer_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    with pytest.raises(UnreadableError, match="more entries"):
        listing(tmp_path, packed(*(entry(str(number)) for number in range(4))))


def test_more_bytes_than_a_layer_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    with pytest.raises(UnreadableError, match="more "):
        listing(tmp_path, packed(entry("zeros", bytes(2 << 20))))


def test_each_aspect_of_a_file(tmp_path: Path) -> None:
    a = packed(
        entry("content", b"1"),
        entry("gone"),
        entry("kind"),
        entry("link", type=tarfile.SYMTYPE, linkname="a"),
        entry("mode", mode=0o644),
        entry("owner", uid=0),
        entry("xattr", pax_headers={"SCHILY.xattr.user.a": "1"}),
    )
    b = packed(
        entry("come"),
        entry("content", b"2"),
        entry("kind", type=tarfile.DIRTYPE),
        entry("link", type=tarfile.SYMTYPE, linkname="b"),
        entry("mode", mode=0o4755),
        entry("owner", uid=3),
        entry("xattr", pax_headers={"SCHILY.xattr.user.a": "2"}),
    )
    found = {each.subject: (each.before, each.after) for each in compared(tmp_path, a, b)}
    assert found["come"][0] == found["gone"][1] == ""
    assert found["content"][0].startswith("content sha256:")
    assert found["kind"][1] == "folder"
    assert found["link"] == ("→ a", "→ b")
    assert found["mode"] == ("mode 0644", "mode 4755")
    assert found["owner"] == ("owner 0:0", "owner 3:0")
    assert found["xattr"][0].startswith("attributes user.a=")
    assert len(found) == 8


def test_times_are_told_once_for_all_files_that_share_them(tmp_path: Path) -> None:
    a, b = (
        packed(*(entry(f"f{number}", mtime=time) for number in range(30)))
        for time in (0, 1767225600)
    )
    (found,) = compared(tmp_path, a, b)
    assert (found.kind, found.subject) == ("time", "f0 and 29 more")
    assert (found.before, found.after) == ("1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z")


def test_the_same_entries_in_another_order_or_form(tmp_path: Path) -> None:
    one, two = entry("a", b"1"), entry("b", b"2")
    assert [each.kind for each in compared(tmp_path, packed(one, two), packed(two, one))] == [
        "order"
    ]
    padded = gzip.compress(archive(one, two) + bytes(10240))
    assert [each.kind for each in compared(tmp_path, packed(one, two), padded)] == ["packing"]


def test_very_many_files_end_in_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_FILES", 2)
    found = compared(tmp_path, packed(), packed(*(entry(str(number)) for number in range(5))))
    assert [each.subject for each in found] == ["0", "1", "3 more files"]


def layer(digest: str, number: int, title: str = "", part: str = "app") -> layers.Layer:
    return layers.Layer(digest=digest, number=number, title=title, part=part)  # type: ignore[arg-type]


def test_a_step_put_between_moves_no_other() -> None:
    old = [layer("x", 1, "COPY a"), layer("y", 2, "COPY c")]
    new = [layer("x", 1, "COPY a"), layer("z", 2, "COPY b"), layer("w", 3, "COPY c")]
    pairs = layers.aligned(old, new)
    assert (old[1], new[2]) in pairs
    assert (None, new[1]) in pairs
    assert len(pairs) == 2


def test_a_debian_layer_never_stands_for_a_layer_of_wheels() -> None:
    old, new = layer("x", 1, part="debian"), layer("y", 1, part="python")
    assert layers.aligned([old], [new]) == ((old, None), (None, new))


members = st.builds(
    Member,
    kind=st.sampled_from(["file", "folder"]),
    mode=st.sampled_from([0o644, 0o755]),
    mtime=st.sampled_from([0, 1.5, 1e30]),
    digest=st.sampled_from(["", "sha256:a", "sha256:b"]),
)
trees = st.dictionaries(st.sampled_from("abcdef"), members, max_size=6)


@given(trees, trees)
def test_every_difference_of_two_trees_is_named(a: dict[str, Member], b: dict[str, Member]) -> None:
    one, other = (Listing(members=each, diff_id=repr(list(each.items()))) for each in (a, b))
    there = list(layers.differences(one, other, PLACE))
    back = list(layers.differences(other, one, PLACE))
    assert bool(there) == (list(a.items()) != list(b.items()))
    assert sorted((each.kind, each.subject, each.before, each.after) for each in there) == sorted(
        (each.kind, each.subject, each.after, each.before) for each in back
    )
    files = {each.subject for each in there if each.kind == "file"}
    differing = {
        path
        for path in {*a, *b}
        if path not in a
        or path not in b
        or (a[path].kind, a[path].mode, a[path].digest)
        != (b[path].kind, b[path].mode, b[path].digest)
    }
    assert files <= differing
    for path in differing - files:  # of a folder, content says nothing
        assert a[path].kind == b[path].kind
