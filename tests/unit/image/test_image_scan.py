from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import digests, media
from buildkit.errors import StoreError, ToolError
from buildkit.evidence.sbom import seen
from buildkit.image import scan
from buildkit.image.pack import view
from buildkit.run import Result
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from buildkit.records import Descriptor

SOURCE = b"print('hello')\n"
SYFT: dict[str, Any] = {
    "artifacts": [
        {"id": "1", "name": "b", "version": "1", "type": "python", "cpes": [], "purl": ""},
        {
            "id": "2",
            "name": "a",
            "version": "2",
            "type": "deb",
            "licenses": [{"value": "Z"}, {"value": "A"}],
            "metadata": {"architecture": "arm64", "files": ["/home/ada/x"]},
        },
    ],
    "source": {"id": "3", "metadata": {"userInput": "/home/ada/image"}},
    "distro": {},
    "descriptor": {
        "name": "syft",
        "version": "1.18.1",
        "timestamp": "2026-01-01T00:00:00Z",
        "configuration": {"catalogers": {"used": ["b", "a"]}, "home": "/home/ada"},
    },
    "schema": {"version": "16.0.18", "url": "x"},
}


@dataclass
class Syft:
    """Answers as syft does, and remembers what it was shown."""

    answer: bytes = json.dumps(SYFT).encode()
    code: int = 0
    calls: list[tuple[str, ...]] = field(default_factory=list)
    shown: list[list[str]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        assert cwd is not None
        assert (env, stdin, check) == (None, None, False)
        assert deadline is not None
        words = tuple(map(str, argv))
        self.calls.append(words)
        (entry,) = json.loads((cwd / "image/index.json").read_bytes())["manifests"]
        blobs = cwd / "image/blobs/sha256"
        manifest = json.loads((blobs / entry["digest"][7:]).read_bytes())
        self.shown.append([layer["digest"] for layer in manifest["layers"]])
        for blob in blobs.iterdir():
            assert digests.of_file(blob) == f"sha256:{blob.name}"
        return Result(argv=words, code=self.code, stdout=self.answer, stderr="no such thing\n")


def tar(**files: bytes | str | None) -> bytes:
    """A tar; a text is where a symbolic link leads, nothing means a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return stream.getvalue()


BASE = tar(**{"usr/bin/python3.11": b"\x7fELF\0"})


def put(store: Store, *tars: bytes) -> Descriptor:
    """An image of these layers."""
    layers = [store.put_bytes(gzip.compress(each, mtime=0), media.LAYER) for each in tars]
    config = {
        "architecture": "arm64",
        "rootfs": {"diff_ids": [digests.of_bytes(each) for each in tars]},
    }
    document = {
        "config": store.put_json(config, media.CONFIG).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return store.put_json(document, media.MANIFEST)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def syft() -> Syft:
    return Syft()


def test_plain_sources_are_not_shown_to_syft(store: Store, syft: Syft, tmp_path: Path) -> None:
    app = tar(app=None, **{"app/main.py": SOURCE, "app/empty.py": b""})
    said = scan.Scanner(syft, tmp_path / "syft")(store, put(store, BASE, app), 1)
    assert syft.calls == []
    assert seen.parse(said, "it") == ()
    assert seen.layers(said, "it") == (digests.of_bytes(app),)
    assert b"syft" not in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("app/main.sh", b"#!/bin/sh\n"),
        ("app/main", SOURCE),
        ("app/package.json", b"{}"),
        ("app/python3.py", SOURCE),
        ("app/Composer.py", SOURCE),
        ("app/setup.py", SOURCE),
        ("app/tool.py", b"\x7fELF\x02\x01\x01\0"),
        ("app/other.py", "main.py"),
        ("app/a b.py", SOURCE),
        ("opt/lib/dpkg/status.d/zlib.py", SOURCE),
        ("opt/x.dist-info/METADATA", b"Name: x\n"),
    ],
)
def test_anything_else_is_shown_alone(
    store: Store, syft: Syft, tmp_path: Path, name: str, content: bytes | str
) -> None:
    app = tar(**{"app/main.py": SOURCE, name: content})
    said = scan.Scanner(syft, tmp_path / "syft")(store, put(store, BASE, app), 1)
    assert len(syft.shown) == 1
    assert seen.layers(said, "it") == (digests.of_bytes(app),)
    assert [each.name for each in seen.parse(said, "it")] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("app/.wh.old.py", b""),
        ("etc/.wh..wh..opq", b""),
        ("usr/local/lib/python3.11/dist-packages/x.py", SOURCE),
        ("var/lib/dpkg/status.d/zlib1g", b"Package: zlib1g\n"),
        ("lib", None),
        ("./usr/bin/python3.11", "/bin/other"),
    ],
)
def test_where_the_base_may_change_the_whole_image_is_shown(
    store: Store, syft: Syft, tmp_path: Path, name: str, content: bytes | str | None
) -> None:
    app = tar(**{"app/main.py": SOURCE, name: content})
    said = scan.Scanner(syft, tmp_path / "syft")(store, put(store, BASE, app), 1)
    assert seen.layers(said, "it") == (digests.of_bytes(BASE), digests.of_bytes(app))
    assert len(syft.shown[0]) == 2


def test_folders_of_the_base_alone_change_nothing(store: Store, syft: Syft, tmp_path: Path) -> None:
    app = tar(**{"usr": None, "usr/share": None, "var": None, "app/main.py": SOURCE})
    scan.Scanner(syft, tmp_path / "syft")(store, put(store, BASE, app), 1)
    assert syft.calls == []


def test_the_same_layers_are_shown_once(store: Store, syft: Syft, tmp_path: Path) -> None:
    scanner = scan.Scanner(syft, tmp_path / "syft")
    app = tar(**{"app/main.sh": b"exit\n"})
    answers = {
        scanner(store, put(store, base, app), 1) for base in (BASE, tar(**{"usr/x": b"other"}))
    }
    assert (len(answers), len(syft.calls)) == (1, 1)
    # What is said of a whole image holds for that one alone.
    app = tar(**{"usr/bin/tool": b"exit\n"})
    for base in (BASE, tar(**{"usr/x": b"other"})):
        scanner(store, put(store, base, app), 1)
    assert len(syft.calls) == 3


def test_an_image_without_app_layers_has_nothing_more(
    store: Store, syft: Syft, tmp_path: Path
) -> None:
    said = scan.Scanner(syft, tmp_path / "syft")(store, put(store, BASE), 1)
    assert (syft.calls, seen.parse(said, "it"), seen.layers(said, "it")) == ([], (), ())


def test_syft_is_started_alone(
    store: Store, syft: Syft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYFT_EXCLUDE", "**")
    scan.Scanner(syft, tmp_path / "syft")(store, put(store, tar(**{"app/x": b""})), 0)
    (words,) = syft.calls
    at = words.index(str(tmp_path / "syft"))
    assert words[:2] == ("env", "-i")
    names = {word.split("=")[0] for word in words[2:at]}
    assert {"HOME", "TMPDIR", "SYFT_CHECK_FOR_APP_UPDATE"} <= names
    assert "SYFT_EXCLUDE" not in names


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (b"{}", 1, "exit status 1\n  no such thing"),
        (b"", 0, "cannot be read"),
        (b"{}", 0, "'artifacts'"),
        (b'{"artifacts": [1], "descriptor": {}}', 0, "cannot be read"),
    ],
)
def test_a_syft_that_fails_is_an_error(
    store: Store, tmp_path: Path, answer: bytes, code: int, says: str
) -> None:
    image = put(store, tar(**{"app/x": b""}))
    with pytest.raises(ToolError, match="syft") as caught:
        scan.Scanner(Syft(answer=answer, code=code), tmp_path / "syft")(store, image, 0)
    assert says in caught.value.message


def test_a_layer_that_cannot_be_read_is_an_error(store: Store, syft: Syft, tmp_path: Path) -> None:
    image = put(store, b"no tar at all" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        scan.Scanner(syft, tmp_path / "syft")(store, image, 0)


def test_what_varies_is_not_kept() -> None:
    kept = view.keep(json.dumps(SYFT).encode())
    assert b"/home" not in kept
    assert b"2026" not in kept
    turned = {**SYFT, "artifacts": [dict(reversed(each.items())) for each in SYFT["artifacts"]]}
    turned["artifacts"].reverse()
    turned["artifacts"][0]["licenses"] = [{"value": "A"}, {"value": "Z"}]
    assert view.keep(json.dumps(turned).encode()) == kept
    assert seen.parse(kept, "it") == seen.parse(json.dumps(SYFT).encode(), "it")


@given(st.text(), st.binary())
def test_only_python_sources_are_plain(name: str, head: bytes) -> None:
    if scan.is_plain(name, head):
        assert name.endswith(".py")
        assert b"\0" not in head
