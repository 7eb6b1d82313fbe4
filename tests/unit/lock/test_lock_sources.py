from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import ResolveError
from buildkit.lock.resolve import sources
from buildkit.lock.resolve.sources import machine_sources

if TYPE_CHECKING:
    from pathlib import Path

MAIN = "deb http://one.test/debian bookworm main contrib\n"
SECURITY = "deb http://one.test/debian-security bookworm-security main\n"


def etc_with(folder: Path, **files: str) -> Path:
    etc = folder / "apt"
    (etc / "sources.list.d").mkdir(parents=True)
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        place = etc / "sources.list" if not stem else etc / "sources.list.d" / f"{stem}.{suffix}"
        place.write_text(text)
    (folder / "keyring.gpg").write_bytes(b"key")
    return etc


def found(folder: Path, suite: str = "bookworm", **files: str) -> str:
    etc = etc_with(folder, **files)
    return machine_sources(suite, "arm64", etc=etc, environ={}, keyrings=(folder / "keyring.gpg",))


def test_one_line_sources_become_the_two_suites(tmp_path: Path) -> None:
    text = found(tmp_path, _list=MAIN + "# a comment\n" + SECURITY + "deb-src x y z\n")
    assert text == (
        "Types: deb\nURIs: http://one.test/debian\nSuites: bookworm\nComponents: main\n"
        f"Architectures: arm64\nTargets: Packages\nSigned-By: {tmp_path}/keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://one.test/debian-security\nSuites: bookworm-security\n"
        f"Components: main\nArchitectures: arm64\nTargets: Packages\n"
        f"Signed-By: {tmp_path}/keyring.gpg\n"
    )


def test_the_recipes_suite_replaces_the_machines(tmp_path: Path) -> None:
    text = found(tmp_path, "trixie", _list=MAIN + SECURITY)
    assert "Suites: trixie\n" in text
    assert "Suites: trixie-security\n" in text
    assert "bookworm" not in text


def test_deb822_sources_with_comments_and_inline_keys(tmp_path: Path) -> None:
    block = (
        "# a comment\nTypes: deb deb-src\nURIs: {uri}\n# another\nSuites: {suites}\n"
        "Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n x\n"
    )
    text = found(
        tmp_path,
        debian_sources=block.format(uri="http://a.test/debian", suites="bookworm bookworm-updates")
        + "\n"
        + block.format(uri="http://a.test/debian-security", suites="bookworm-security"),
    )
    assert text.count("http://a.test/debian\n") == 1
    assert text.count("http://a.test/debian-security\n") == 1
    assert "BEGIN PGP" not in text


def test_snapshot_options_are_kept_and_trusted_is_not(tmp_path: Path) -> None:
    text = found(
        tmp_path,
        _list="deb [check-valid-until=no trusted=yes] http://s.test/d/2026 bookworm main\n"
        + SECURITY,
    )
    assert "check-valid-until: no" in text
    assert "trusted" not in text.lower()


def test_other_peoples_archives_are_left_out(tmp_path: Path) -> None:
    text = found(
        tmp_path,
        _list=MAIN + SECURITY,
        vendor_list="deb [signed-by=/etc/apt/keyrings/v.gpg] http://v.test/debian bookworm main\n",
        tool_list="deb http://t.test/debian bookworm stable\n",
        db_list="deb http://d.test/apt bookworm-pgdg main\n",
        off_sources="Types: deb\nEnabled: no\nURIs: http://off.test\nSuites: bookworm\n"
        "Components: main\n",
        node_sources="Types: deb\nURIs: http://n.test\nSuites: nodistro\nComponents: main\n",
    )
    for host in ("v.test", "t.test", "off.test", "n.test"):
        assert host not in text
    assert text.count("URIs:") == 2 + ("d.test" in text)


def test_a_further_mirror_is_used_too(tmp_path: Path) -> None:
    more = "deb http://snapshot.test/archive/debian/20260101 bookworm main\n"
    assert "snapshot.test" in found(tmp_path, _list=MAIN + SECURITY + more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no Debian archive"),
        (MAIN, "no Debian security archive"),
        (SECURITY, "no Debian archive"),
    ],
)
def test_a_missing_archive_is_an_error_with_a_way_out(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ResolveError, match=said) as caught:
        found(tmp_path, _list=text)
    assert sources.OVERRIDE in caught.value.remedy


def test_without_a_keyring_nothing_is_trusted(tmp_path: Path) -> None:
    etc = etc_with(tmp_path, _list=MAIN + SECURITY)
    with pytest.raises(ResolveError, match="keyring"):
        machine_sources("bookworm", "amd64", etc=etc, environ={}, keyrings=())


def test_a_file_named_by_the_environment_replaces_the_machines(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    etc = etc_with(tmp_path, _list=MAIN + SECURITY)
    text = machine_sources("trixie", "amd64", etc=etc, environ=environ, keyrings=())
    assert "mirror.test" in text
    assert "one.test" not in text
    assert f"Signed-By: {tmp_path}/keyring.gpg" in text


def test_a_file_named_by_the_environment_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ResolveError, match="cannot be read") as caught:
        machine_sources("trixie", "amd64", environ={sources.OVERRIDE: str(tmp_path / "none")})
    assert sources.OVERRIDE in caught.value.remedy


@given(st.text(max_size=300))
def test_no_sources_end_in_a_traceback(text: str) -> None:
    for reader in (sources._deb822, sources._one_line):
        for source in reader(text):
            assert source.uris
