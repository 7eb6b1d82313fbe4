from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lock_fakes import Deb, Wheel, lock, recipe

from buildkit.errors import InputError
from buildkit.lock import drift, files, question
from buildkit.lock.types import Lock, PlatformPins
from buildkit.recipe.types import (
    ArtifactSource,
    CalibrationSpec,
    FileSource,
    GoldenSpec,
    TrainSource,
)

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.recipe.types import Recipe


@pytest.fixture
def agreed(tmp_path: Path) -> tuple[Recipe, Lock]:
    made = recipe(tmp_path)
    host = replace(lock().hosts["amd64"], asked=question.of_host(made))
    platform = replace(lock().platforms["linux/arm64"], asked=question.of_platform(made))
    return made, lock(
        hosts={"amd64": host, "arm64": host},
        platforms={"linux/amd64": platform, "linux/arm64": platform},
        model=replace(lock().model, files=files.pin_files(made), seed=7),
    )


def test_what_agrees_does_not_drift(agreed: tuple[Recipe, Lock]) -> None:
    assert drift.drift(*agreed) == ()


def kinds(made: Recipe, locked: Lock) -> list[tuple[str, str]]:
    found = drift.drift(made, locked)
    assert all(item.message and item.remedy for item in found)
    return [(item.kind, item.subject) for item in found]


def test_a_changed_recipe_drifts(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    assert kinds(replace(made, digest="sha256:" + "b" * 64), locked) == [("recipe", "recipe.toml")]
    assert kinds(replace(made, name="other"), locked) == [("recipe", "name")]


def test_platforms_drift_both_ways(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    assert kinds(replace(made, platforms=("linux/arm64",)), locked) == [("platform", "linux/amd64")]
    less = replace(locked, platforms={"linux/arm64": locked.platforms["linux/arm64"]})
    assert kinds(made, less) == [("platform", "linux/amd64")]


def test_other_packages_drift_on_every_platform(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    debian = replace(made.image.debian, packages=("python3.11-minimal",))
    changed = replace(made, image=replace(made.image, debian=debian))
    assert kinds(changed, locked) == [("packages", "linux/amd64"), ("packages", "linux/arm64")]


def test_the_order_of_packages_does_not_drift(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    debian = replace(made.image.debian, packages=tuple(reversed(made.image.debian.packages)))
    assert kinds(replace(made, image=replace(made.image, debian=debian)), locked) == []


def test_training_needs_drift_on_the_builder(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    source = TrainSource(script="train.py", requirements=(), seed=8)
    changed = replace(made, model=replace(made.model, source=source))
    assert kinds(changed, locked) == [
        ("builder", "amd64"),
        ("builder", "arm64"),
        ("model", "model.source.seed"),
    ]


def test_files_drift_when_changed_missing_new_or_dropped(
    agreed: tuple[Recipe, Lock], tmp_path: Path
) -> None:
    made, locked = agreed
    script = tmp_path / "train.py"
    script.write_text(script.read_text().replace("train", "strain"))
    assert kinds(made, locked) == [("file", "train.py")]
    script.write_text("print('trains')\n"[:15] + "\n")
    script.unlink()
    (gone,) = drift.drift(made, locked)
    assert "No such file" in gone.message
    assert "git checkout -- train.py" in gone.remedy


def test_a_file_of_the_same_length_drifts_too(agreed: tuple[Recipe, Lock], tmp_path: Path) -> None:
    made, locked = agreed
    script = tmp_path / "train.py"
    script.write_text(script.read_text().swapcase())
    assert kinds(made, locked) == [("file", "train.py")]


def test_files_that_the_recipe_takes_up_or_drops(
    agreed: tuple[Recipe, Lock], tmp_path: Path
) -> None:
    made, locked = agreed
    golden = GoldenSpec(data="golden.npz", max_drop=1.0)
    (tmp_path / "golden.npz").write_bytes(b"")
    changed = replace(made, model=replace(made.model, golden=golden))
    assert kinds(changed, locked) == [("file", "golden.npz")]
    more = replace(locked, model=replace(locked.model, files=files.pin_files(changed)))
    assert kinds(made, more) == [("file", "golden.npz")]


def test_another_source_artifact_drifts(agreed: tuple[Recipe, Lock]) -> None:
    made, locked = agreed
    source = ArtifactSource(store="store", digest="sha256:" + "c" * 64)
    changed = replace(made, model=replace(made.model, source=source))
    assert ("model", "model.source.digest") in kinds(changed, locked)


def test_every_file_that_counts_is_pinned(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    model = replace(
        made.model,
        source=TrainSource(script="train.py", inputs=("data/a.csv", "data/b.csv")),
        calibration=CalibrationSpec(data="cal.npz"),
        golden=GoldenSpec(data="golden.npz", max_drop=1.0),
    )
    names = files.recipe_files(replace(made, model=model))
    assert names == ("cal.npz", "data/a.csv", "data/b.csv", "golden.npz", "train.py")
    model = replace(model, source=FileSource(path="m.onnx", sha256="0" * 64))
    assert files.recipe_files(replace(made, model=model)) == ("cal.npz", "golden.npz", "m.onnx")
    with pytest.raises(InputError) as caught:
        files.pin_files(replace(made, model=model))
    for name in ("cal.npz", "golden.npz", "m.onnx"):
        assert name in caught.value.message


def test_changes_name_what_came_went_and_moved() -> None:
    old = lock()
    platform = PlatformPins(
        debian=(Deb(name="libc6", version="2.36-10", arch="arm64").pin(),),
        wheels=(Wheel(name="numpy", version="2.4.6").pin(),),
    )
    new = replace(
        old,
        platforms={"linux/arm64": platform},
        model=replace(old.model, seed=8, ranges={"input": (0.0, 2.0)}),
    )
    found = drift.changes(old, new)
    assert [(item.section, item.name, item.kind) for item in found] == [
        ("model", "calibration ranges", "moved"),
        ("model", "training seed", "moved"),
        ("platform linux/arm64", "debian/libc6", "moved"),
        ("platform linux/arm64", "python/numpy", "added"),
        ("platform linux/arm64", "python/onnxruntime", "removed"),
    ]
    assert (found[2].before, found[2].after) == ("2.36-9", "2.36-10")
    assert (found[3].before, found[3].after) == ("", "2.4.6")


def test_another_file_of_the_same_version_is_a_change() -> None:
    old = lock()
    wheel = replace(old.platforms["linux/arm64"].wheels[0], sha256="9" * 64)
    pins = replace(old.platforms["linux/arm64"], wheels=(wheel,))
    (found,) = drift.changes(old, replace(old, platforms={"linux/arm64": pins}))
    assert found.before.startswith("1.31.1 ")
    assert found.after == "1.31.1 999999999999"


def test_the_first_lock_adds_everything_and_the_same_one_nothing() -> None:
    assert {item.kind for item in drift.changes(None, lock())} == {"added"}
    assert drift.changes(lock(), lock()) == ()
