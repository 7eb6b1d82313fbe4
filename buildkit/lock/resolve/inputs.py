"""All of a lock but the model: asks APT and pip for hosts and platforms at once."""

from __future__ import annotations

import difflib
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from buildkit import disk
from buildkit.distributions import normal
from buildkit.errors import ResolveError
from buildkit.lock import cache as store
from buildkit.lock import fetch, files, question, workers
from buildkit.lock.resolve import apt, hosts, pip
from buildkit.lock.types import DebianPin, HostPins, PlatformPins, WheelPin
from buildkit.recipe.types import PythonSpec
from buildkit.records import architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from buildkit.lock.types import FilePin, Lock
    from buildkit.recipe.types import Recipe
    from buildkit.run import Runner

T = TypeVar("T")

_ORT = "onnxruntime"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """A lock without its model part.

    Attributes:
        hosts: as in `Lock`.
        platforms: as in `Lock`.
        onnxruntime: version that quantises: the runtime image's where it has one.
        files: what stands beside the recipe, as it is now.
        commit: last commit that touched `files`; empty when one of them is changed or unknown.
    """

    hosts: Mapping[str, HostPins]
    platforms: Mapping[str, PlatformPins]
    onnxruntime: str
    files: tuple[FilePin, ...]
    commit: str


def resolve_all(
    recipe: Recipe,
    runner: Runner,
    *,
    seed_hash: Callable[[Path], str],
    keep: Lock | None = None,
    update: Collection[str] | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Inputs:
    """Pins for every build host and every platform of a recipe.

    Without `keep`, or with an empty `update`, everything is the newest. Else a section whose
    question is the same keeps its pins and asks nobody; any other section keeps every version that
    still fits.

    Args:
        recipe: what is wanted.
        runner: starts APT, pip and git.
        seed_hash: hex digits of the Nix archive of the seed's folder, made from its package.
        keep: the lock to start from.
        update: names of packages that shall move; Debian packages built together move together.
            All when empty, none when absent.
        home: the cache; `cache.home()` when absent.
        environ: for the ways to mirrors and offline folders.

    Raises:
        ResolveError: a package does not exist, not for a processor, or pins contradict.
        FetchError: the seed cannot be brought here.
        InputError: a file beside the recipe is missing.
    """
    if update is not None and not update:
        keep = None
    names = frozenset(update or ()) if keep else frozenset[str]()
    if keep is not None:
        _refuse_unknown(keep, names)
    pinned = files.pin_files(recipe)
    work = _Work(
        recipe=recipe,
        runner=runner,
        home=home or store.home(environ),
        keep=keep,
        update=names | {normal(name) for name in names},
        environ=environ,
    )
    platforms, ort, found_hosts = work.run(seed_hash)
    return Inputs(
        hosts=found_hosts,
        platforms=platforms,
        onnxruntime=ort,
        files=pinned,
        commit=files.commit_of(runner, recipe.folder, [pin.path for pin in pinned]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _HostDebian:
    seed: DebianPin
    builder: tuple[DebianPin, ...]
    engine: tuple[DebianPin, ...]
    tools: tuple[DebianPin, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where wheels go: a processor, the Debian packages there, the wheels it had before."""

    arch: str
    debian: tuple[DebianPin, ...]
    wheels: tuple[WheelPin, ...]


@dataclass(kw_only=True, slots=True)
class _Work:
    """One run of `resolve_all`; each APT root is refreshed once."""

    recipe: Recipe
    runner: Runner
    home: Path
    keep: Lock | None
    update: frozenset[str]
    environ: Mapping[str, str]
    settings: tuple[str, ...] | None = None
    fresh: set[str] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, seed_hash: Callable[[Path], str]
    ) -> tuple[dict[str, PlatformPins], str, dict[str, HostPins]]:
        """Platforms, the version of ONNX Runtime, hosts."""
        kept, kept_hosts = self._kept_platforms(), self._kept_hosts()
        asked = [name for name in self.recipe.platforms if name not in kept]
        wanted = [arch for arch in hosts.ARCHITECTURES if arch not in kept_hosts]
        if asked or wanted:
            self.settings = pip.machine_settings(self.runner)
        debian: dict[str, tuple[DebianPin, ...]] = {}
        host_debian: dict[str, _HostDebian] = {}
        tools: dict[str, tuple[WheelPin, ...]] = {}

        def ask_platform(name: str) -> None:
            debian[name] = self._platform_debian(name)

        def ask_host(arch: str) -> None:
            host_debian[arch] = self._host_debian(arch)

        def ask_tools(arch: str) -> None:
            tools[arch] = self._tools_wheels(arch)

        workers.gather(
            [
                *(partial(ask_platform, name) for name in asked),
                *(partial(ask_host, arch) for arch in wanted),
                *(partial(ask_tools, arch) for arch in wanted),
            ]
        )
        wheels = self._platform_wheels(debian, kept)
        platforms = {
            name: kept.get(name)
            or PlatformPins(
                debian=debian[name], wheels=wheels[name], asked=question.of_platform(self.recipe)
            )
            for name in self.recipe.platforms
        }
        ort = next((_version(pins.wheels, _ORT) for pins in platforms.values()), "")
        found = self._hosts(kept_hosts, host_debian, tools, ort, seed_hash)
        first = next(iter(found.values()))
        return platforms, ort or _version(first.builder_wheels, _ORT), found

    def _kept_platforms(self) -> dict[str, PlatformPins]:
        old = self.keep.platforms if self.keep else {}
        asked = question.of_platform(self.recipe)
        return {
            name: pins
            for name, pins in old.items()
            if name in self.recipe.platforms
            and pins.asked == asked
            and not self._moves((*pins.debian, *pins.wheels))
        }

    def _kept_hosts(self) -> dict[str, HostPins]:
        old = self.keep.hosts if self.keep else {}
        asked = question.of_host(self.recipe)
        return {
            arch: pins
            for arch, pins in old.items()
            if arch in hosts.ARCHITECTURES and pins.asked == asked and not self._moves(all_of(pins))
        }

    def _moves(self, pins: Sequence[DebianPin | WheelPin]) -> bool:
        return any(pin.name in self.update for pin in pins)

    def _hold(self, pins: Sequence[DebianPin | WheelPin]) -> dict[str, str]:
        """Versions to stay at: all but those named, and Debian packages built with those."""
        moving = {
            pin.version for pin in pins if pin.name in self.update and isinstance(pin, DebianPin)
        }
        return {
            pin.name: pin.version
            for pin in pins
            if pin.name not in self.update
            and not (isinstance(pin, DebianPin) and pin.version in moving)
        }

    def _solve(
        self,
        suite: str,
        arch: str,
        packages: Sequence[str],
        exclude: Sequence[str] = (),
        held: Sequence[DebianPin] = (),
    ) -> tuple[DebianPin, ...]:
        root = apt.open_root(suite, arch, self.home, environ=self.environ)
        with disk.exclusive(root.folder):
            if root.folder.name not in self.fresh:
                apt.update(self.runner, root)
                with self.guard:
                    self.fresh.add(root.folder.name)
            return self._loosening(
                self._hold(held),
                (),
                lambda hold: apt.solve(self.runner, root, packages, exclude=exclude, hold=hold),
            )

    def _loosening(
        self, hold: Mapping[str, str], direct: Sequence[str], ask: Callable[[Mapping[str, str]], T]
    ) -> T:
        """Ask with all versions held, then without those in `direct`, then with none.

        Where the user named what shall move, nothing else may: then only the first.
        """
        free = {normal(name) for name in direct}
        some = {name: version for name, version in hold.items() if normal(name) not in free}
        for attempt in [hold, some] if hold and not self.update else []:
            with suppress(ResolveError):
                return ask(attempt)
        return ask(hold if self.update else {})

    def _platform_debian(self, name: str) -> tuple[DebianPin, ...]:
        spec = self.recipe.image.debian
        old = self.keep.platforms.get(name) if self.keep else None
        return self._solve(
            spec.suite, architecture(name), spec.packages, spec.exclude, old.debian if old else ()
        )

    def _host_debian(self, arch: str) -> _HostDebian:
        old = self.keep.hosts.get(arch) if self.keep else None
        base, engine = hosts.BUILDER_SUITE, hosts.ENGINE_SUITE
        seeds = self._solve(base, arch, [hosts.SEED], held=(old.seed,) if old else ())
        return _HostDebian(
            seed=next(pin for pin in seeds if pin.name == hosts.SEED),
            builder=self._solve(
                base, arch, hosts.BUILDER_DEBIAN, held=old.builder_debian if old else ()
            ),
            engine=self._solve(
                engine, arch, hosts.ENGINE_DEBIAN, held=old.engine_debian if old else ()
            ),
            tools=self._solve(
                engine, arch, hosts.TOOLS_DEBIAN, held=old.tools_debian if old else ()
            ),
        )

    def _tools_wheels(self, arch: str) -> tuple[WheelPin, ...]:
        """Programs that come as wheels; they bring what they need, so no Debian is named."""
        old = self.keep.hosts.get(arch) if self.keep else None
        place = _Place(arch=arch, debian=(), wheels=old.tools_wheels if old else ())
        spec = PythonSpec(version=hosts.BUILDER_PYTHON, requirements=hosts.TOOLS_WHEELS)
        return self._pip(place, spec, {})

    def _platform_wheels(
        self, debian: Mapping[str, tuple[DebianPin, ...]], kept: Mapping[str, PlatformPins]
    ) -> dict[str, tuple[WheelPin, ...]]:
        spec = self.recipe.image.python

        def ask(name: str, fixed: Mapping[str, str]) -> tuple[WheelPin, ...]:
            old = self.keep.platforms.get(name) if self.keep else None
            place = _Place(
                arch=architecture(name), debian=debian[name], wheels=old.wheels if old else ()
            )
            return self._pip(place, spec, fixed)

        known = {pin.name: pin.version for pins in kept.values() for pin in pins.wheels}
        return _agreeing(tuple(debian), ask, known)

    def _pip(
        self, place: _Place, spec: PythonSpec, fixed: Mapping[str, str]
    ) -> tuple[WheelPin, ...]:
        """Wheels for one place: the versions it had if that can be, `fixed` always."""
        return self._loosening(
            self._hold(place.wheels),
            _constrained(spec.requirements),
            lambda hold: pip.resolve(
                self.runner,
                _patch_release(spec.version, place.debian),
                place.arch,
                spec.requirements,
                spec.exclude,
                hold={**hold, **fixed},
                settings=self.settings,
                glibc=_glibc(place.debian),
            ),
        )

    def _hosts(
        self,
        kept: Mapping[str, HostPins],
        debian: Mapping[str, _HostDebian],
        tools: Mapping[str, tuple[WheelPin, ...]],
        ort: str,
        seed_hash: Callable[[Path], str],
    ) -> dict[str, HostPins]:
        """Wheels and seed of every host; kept ones too when ONNX Runtime moved under them."""
        found = {
            arch: pins
            for arch, pins in kept.items()
            if not ort or _version(pins.builder_wheels, _ORT) == ort
        }
        packages = {
            **{arch: pins.builder for arch, pins in debian.items()},
            **{arch: pins.builder_debian for arch, pins in kept.items() if arch not in found},
        }
        spec = PythonSpec(
            version=hosts.BUILDER_PYTHON,
            requirements=tuple(question.builder_requirements(self.recipe)),
        )

        def ask(arch: str, fixed: Mapping[str, str]) -> tuple[WheelPin, ...]:
            old = self.keep.hosts.get(arch) if self.keep else None
            place = _Place(
                arch=arch, debian=packages[arch], wheels=old.builder_wheels if old else ()
            )
            return self._pip(place, spec, fixed)

        wheels = _agreeing(tuple(packages), ask, {_ORT: ort} if ort else {})
        seeds = [pins.seed for pins in debian.values()]
        brought = fetch.bring(seeds, self.runner, self.home, environ=self.environ)
        for arch, builder in wheels.items():
            if arch in kept:
                found[arch] = replace(kept[arch], builder_wheels=builder)
                continue
            parts = debian[arch]
            found[arch] = HostPins(
                seed=parts.seed,
                seed_nar_sha256=seed_hash(brought.files[parts.seed.sha256]),
                builder_debian=parts.builder,
                builder_wheels=builder,
                engine_debian=parts.engine,
                tools_debian=parts.tools,
                tools_wheels=tools[arch],
                asked=question.of_host(self.recipe),
            )
        return dict(sorted(found.items()))


def _agreeing(
    places: Sequence[str],
    ask: Callable[[str, Mapping[str, str]], tuple[WheelPin, ...]],
    known: Mapping[str, str],
) -> dict[str, tuple[WheelPin, ...]]:
    """Wheels for several places with the same version of each distribution everywhere.

    Each place is asked alone; where versions differ (no newest wheel for one processor), the
    lower one is asked for everywhere. `known` are versions that other places already have.
    """
    answers = workers.gather([partial(ask, place, known) for place in places])
    versions: dict[str, set[str]] = {}
    for pins in answers:
        for pin in pins:
            versions.setdefault(pin.name, set()).add(pin.version)
    differ = {
        name: min(found, key=pip.release) for name, found in versions.items() if len(found) > 1
    }
    if differ:
        answers = workers.gather([partial(ask, place, {**known, **differ}) for place in places])
    return dict(zip(places, answers, strict=True))


def all_of(pins: HostPins) -> tuple[DebianPin | WheelPin, ...]:
    """Every pin of a build host, in the order of its fields."""
    return (
        pins.seed,
        *pins.builder_debian,
        *pins.builder_wheels,
        *pins.engine_debian,
        *pins.tools_debian,
        *pins.tools_wheels,
    )


def _constrained(requirements: Sequence[str]) -> list[str]:
    """Names of the requirements that say more than a name, so may forbid the version held."""
    found = [re.match(r"\s*([A-Za-z0-9._-]+)\s*(.*)", line) for line in requirements]
    return [match[1] for match in found if match and match[2]]


def _version(wheels: Sequence[WheelPin], name: str) -> str:
    return next((pin.version for pin in wheels if pin.name == name), "")


def _patch_release(python: str, debian: Sequence[DebianPin]) -> str:
    """``3.11.2`` where Debian's Python is among the packages, for markers that ask for it."""
    for pin in debian:
        if pin.name == f"python{python}-minimal" and (
            found := re.match(rf"{re.escape(python)}\.\d+", pin.version)
        ):
            return found[0]
    return python


def _glibc(debian: Sequence[DebianPin]) -> int:
    """Minor version of the C library that wheels must be content with."""
    for pin in debian:
        if pin.name == "libc6" and (found := re.match(r"2\.(\d+)", pin.version)):
            return int(found[1])
    return pip.GLIBC


def _refuse_unknown(lock: Lock, names: Collection[str]) -> None:
    have = {pin.name for host in lock.hosts.values() for pin in all_of(host)}
    for platform in lock.platforms.values():
        have |= {pin.name for pin in platform.debian} | {pin.name for pin in platform.wheels}
    unknown = [name for name in names if name not in have and normal(name) not in have]
    if unknown:
        close = [word for name in unknown for word in difflib.get_close_matches(name, have, n=2)]
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        msg = f"the lock has no pin named {', '.join(unknown)}{hint}"
        raise ResolveError(msg, "name packages as the lock does, or none to move all of them")
