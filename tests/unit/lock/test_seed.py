from __future__ import annotations

import io
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InputError
from buildkit.nix import nar, seed

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = b"\x7fELF and so on"


def ar(*members: tuple[str, bytes]) -> bytes:
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        data += content + b"\n" * (len(content) % 2)
    return data


def archive(name: str, content: bytes = PROGRAM) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        made.addfile(info, io.BytesIO(content))
    return lzma.compress(stream.getvalue())


def package(name: str = "./bin/busybox") -> bytes:
    return ar(
        ("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", archive(name))
    )


@pytest.mark.parametrize("name", ["./bin/busybox", "usr/bin/busybox"])
def test_the_seed_is_one_program_and_its_links(tmp_path: Path, name: str) -> None:
    deb = tmp_path / "busybox-static.deb"
    deb.write_bytes(package(name))
    folder = tmp_path / "seed"
    seed.unpack(deb, folder)
    assert (folder / "bin/busybox").read_bytes() == PROGRAM
    assert (folder / "bin/busybox").stat().st_mode & 0o777 == 0o755
    assert {path.name for path in (folder / "bin").iterdir()} == {"busybox", *seed.APPLETS}
    for applet in seed.APPLETS:
        assert (folder / "bin" / applet).readlink().as_posix() == "busybox"
    assert seed.seed_hash(deb) == nar.nar_sha256(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"!<arch>\n" + b"x" * 60,
        package()[:-40],
        ar(("data.tar.xz", b"not xz")),
        ar(("data.tar.xz", lzma.compress(b"not tar" * 200))),
    ],
)
def test_other_files_are_not_packages(tmp_path: Path, data: bytes) -> None:
    deb = tmp_path / "x.deb"
    deb.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.deb: n") as caught:
        seed.unpack(deb, tmp_path / "seed")
    assert caught.value.remedy
    assert not (tmp_path / "seed").exists()


def test_a_package_without_busybox_is_refused(tmp_path: Path) -> None:
    deb = tmp_path / "x.deb"
    deb.write_bytes(package("./bin/bash"))
    with pytest.raises(InputError, match="no busybox inside"):
        seed.unpack(deb, tmp_path / "seed")


@given(st.binary(max_size=300))
def test_no_package_ends_in_a_traceback(data: bytes) -> None:
    for prefix in (b"", b"!<arch>\n"):
        try:
            assert list(seed._members(prefix + data)) is not None
        except ValueError:
            continue
