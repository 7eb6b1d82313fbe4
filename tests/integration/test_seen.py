"""The real syft, as Nix makes it: what it sees of the heavy layers and of app layers."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from real_project import ROOT, make_project

from buildkit import canonical, digests, distributions, media
from buildkit.evidence.sbom import seen
from buildkit.image import scan
from buildkit.lock import codec
from buildkit.nix import Nix
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.records import Descriptor

pytestmark = [pytest.mark.nix, pytest.mark.network]

KEY = "sha256:" + "0" * 64
SEEN = "layers.{}.seen"


@pytest.fixture(scope="session", params=["digits", "vision"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NixStage:
    """What Nix makes of one of our recipes, with everything fetched."""
    project = make_project(tmp_path_factory.mktemp(request.param) / "project", request.param)
    found = NixStage(
        load(project.recipe),
        codec.load(project.lock),
        work=project.root / ".buildkit",
        runner=run,
        progress=Silent(),
    )
    found.fetch()
    return found


@pytest.fixture(scope="session")
def paths(stage: NixStage) -> dict[str, Any]:
    found: dict[str, Any] = stage.paths("build", KEY)
    return found


@pytest.fixture(scope="session")
def syft(stage: NixStage, paths: dict[str, Any]) -> Path:
    return stage.nix.physical(paths["syft"])


def nix(stage: NixStage, folder: Path, *words: str) -> Any:
    """``nix`` with the arguments of a build."""
    (folder / "recipe.lock").write_bytes(codec.dump(stage.lock))
    file = folder / "arguments.json"
    file.write_bytes(canonical.dump(stage._arguments(folder / "recipe.lock")))
    expression = ("--file", ROOT / "nix", "--argstr", "file", file)
    options = Nix(run, folder / "unused").options()
    return canonical.load(run(["nix", *words, "--json", *expression, *options]).stdout)


def test_every_package_of_the_lock_is_seen_and_no_other(
    stage: NixStage, paths: dict[str, Any]
) -> None:
    for platform, pins in stage.lock.platforms.items():
        file = stage.nix.physical(paths["layers"][platform]["seen"])
        found = seen.parse(file.read_bytes(), platform)
        wanted = {("deb", pin.name, pin.version, pin.architecture) for pin in pins.debian}
        wanted |= {("python", pin.name, pin.version, "") for pin in pins.wheels}
        assert {
            (
                each.kind,
                distributions.normal(each.name) if each.kind == "python" else each.name,
                each.version,
                each.architecture,
            )
            for each in found
        } == wanted
        layers = {
            kind: canonical.load((stage.nix.physical(folder) / "layer.json").read_bytes())
            for kind, folder in paths["layers"][platform].items()
            if kind != "seen"
        }
        assert {(each.kind, each.layer) for each in found} <= {
            ("deb", layers["debian"]["diff_id"]),
            ("python", layers["python"]["diff_id"]),
        }


def test_what_is_seen_is_the_same_every_time(stage: NixStage, tmp_path: Path) -> None:
    for platform in stage.lock.platforms:
        # Nix itself compares, and fails where the two differ.
        (built,) = nix(stage, tmp_path, "build", "--rebuild", "--no-link", SEEN.format(platform))
        assert built["outputs"]["out"]


def test_the_builders_of_both_machines_are_named_and_the_others_is_not_built(
    stage: NixStage, paths: dict[str, Any]
) -> None:
    builders = paths["builders"]
    assert builders.keys() == {"amd64", "arm64"}
    for named in builders.values():
        assert named.keys() == {"builder", "site", "engine", "tools", "syft"}
    host = stage.paths("hostTools", KEY)
    own = next(named for named in builders.values() if named["engine"] == host["engine"])
    assert own["syft"] == paths["syft"].removesuffix("/bin/syft")
    (other,) = [named for named in builders.values() if named != own]
    assert not set(own.values()) & set(other.values())
    closure = stage.nix.closure(str(next((stage._links).glob("*-build-*")).readlink()))
    assert not set(closure).intersection(other.values())


def test_both_machines_say_the_same_of_the_builders(stage: NixStage, tmp_path: Path) -> None:
    said = []
    for system in ("x86_64-linux", "aarch64-linux"):
        (tmp_path / system).mkdir()
        arguments = stage._arguments(tmp_path / "recipe.lock")
        (tmp_path / "recipe.lock").write_bytes(codec.dump(stage.lock))
        file = tmp_path / system / "arguments.json"
        file.write_bytes(canonical.dump({**arguments, "system": system}))
        words = ("eval", "--json", "--file", ROOT / "nix", "--argstr", "file", file, "builders")
        said.append(run(["nix", *words, *stage.nix.options()]).stdout)
    assert said[0] == said[1]


# --- app layers ---


def put(store: Store, files: dict[str, bytes]) -> Descriptor:
    """An image of one layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    layer = store.put_bytes(gzip.compress(stream.getvalue(), mtime=0), media.LAYER)
    diff_ids = [digests.of_bytes(stream.getvalue())]
    config = {"architecture": "arm64", "rootfs": {"diff_ids": diff_ids}}
    document = {
        "config": store.put_json(config, media.CONFIG).to_json(),
        "layers": [layer.to_json()],
    }
    return store.put_json(document, media.MANIFEST)


WHEEL = b"Metadata-Version: 2.1\nName: tool\nVersion: 1.2\nLicense: MIT\n\n"


def test_a_package_in_the_app_is_seen(syft: Path, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    image = put(store, {"app/x/tool-1.2.dist-info/METADATA": WHEEL, "app/main.py": b"1\n"})
    said = scan.Scanner(run, syft)(store, image, 0)
    (found,) = seen.parse(said, "app")
    assert (found.name, found.version, found.licences) == ("tool", "1.2", ("MIT",))
    assert (found.layer,) == seen.layers(said, "app")
    assert said == scan.Scanner(run, syft)(store, image, 0)


def test_settings_of_the_user_do_not_matter(
    syft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "store")
    image = put(store, {"app/x/tool-1.2.dist-info/METADATA": WHEEL})
    before = scan.Scanner(run, syft)(store, image, 0)
    (tmp_path / ".syft.yaml").write_text("select-catalogers: ['-python']\nexclude: ['**']\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYFT_SELECT_CATALOGERS", "-python")
    monkeypatch.chdir(tmp_path)
    assert scan.Scanner(run, syft)(store, image, 0) == before


def test_files_that_are_not_shown_hold_nothing_that_syft_sees(syft: Path, tmp_path: Path) -> None:
    """Our own sources, some forty names and contents, under names that are not shown."""
    store = Store.create(tmp_path / "store")
    sources = sorted((ROOT / "buildkit").rglob("*.py"))
    files = {f"app/{number}/{file.name}": file.read_bytes() for number, file in enumerate(sources)}
    plain = {name: data for name, data in files.items() if scan.is_plain(name, data[:512])}
    assert len(plain) > 40
    whole = put(store, {**plain, "app/main.sh": b"exit\n"})
    assert seen.parse(scan.Scanner(run, syft)(store, whole, 0), "app") == ()


# `**/gcc` and `**/xtrabackup`, and words that follow them in the pinned program by chance.
GLUED = {"gccwp-clidistrodirectGOPATH", "xtrabackuperlang-binaryhaskell"}


def test_no_pattern_of_syft_fits_a_name_that_is_not_shown(syft: Path) -> None:
    """Patterns stand in the program as they are, but with nothing between two of them."""
    is_plain = partial(scan.is_plain, head=b"")
    texts = [
        match[1].decode() for match in re.finditer(rb"(?=\*\*/([!-~]{1,80}))", syft.read_bytes())
    ]
    assert len(texts) > 80
    beginnings, names, folders = set(), set(), set()
    for text in texts:
        word = re.match(r"[A-Za-z0-9_.+-]*", text)
        assert word is not None
        after = text[word.end() :]
        if after.startswith("/"):
            folders.add(word[0])
        elif after.startswith("*") and (not after.startswith("**/") or after.startswith("***")):
            beginnings.add(word[0])
        else:
            names.add(word[0])
    # What begins a pattern may begin no name of ours, and a folder in one may be none of ours.
    assert beginnings >= {"composer", "python"}
    for name in beginnings - {""}:
        assert not is_plain(f"app/{name}x.py"), name
        assert not is_plain(f"app/{name}.py"), name
    for name in folders - GLUED - {""}:
        assert not is_plain(f"{name}/main.py"), name
    # A pattern without a star fits one name; with one at its front it fits one end.
    for name in names:
        whole, source, _ = name.partition(".py")
        assert not source or not is_plain(f"app/{whole}.py"), name
    ends = {text.partition("**/")[0] for text in texts if text.startswith("*") and text[1:2] != "*"}
    assert not [end for end in ends if re.match(r"\*[a-z_]*\.py(?![a-z])", end)]


def test_an_app_of_plain_sources_costs_no_start_of_syft(syft: Path, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    image = put(store, {"app/main.py": b"print(1)\n"})
    missing = syft.with_name("no-such-program")
    assert seen.parse(scan.Scanner(run, missing)(store, image, 0), "app") == ()


def test_a_lock_without_syft_says_what_to_do(stage: NixStage, tmp_path: Path) -> None:
    arguments = stage._arguments(_file(tmp_path, stage.lock))
    for pins in arguments["lock"]["hosts"].values():
        pins["tools_wheels"] = []
    with pytest.raises(Exception, match="the lock pins no syft") as caught:
        stage.nix.build(ROOT / "nix", arguments, "build", tmp_path / "link")
    assert "buildkit lock" in str(caught.value)


def _file(folder: Path, lock: Lock) -> Path:
    file = folder / "recipe.lock"
    file.write_bytes(codec.dump(lock))
    return file
