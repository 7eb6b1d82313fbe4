"""Bring every input of a lock to this machine, by hash, through APT and pip.

Mirrors, proxies and credentials are those of this machine; what comes is what the lock says or it
does not enter the cache. Files that are there are not asked for again, so an interrupted fetch
goes on where it stopped.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import disk
from buildkit.errors import BuildkitError, DigestError, FetchError, ResolveError, ToolError
from buildkit.lock import cache as store
from buildkit.lock import workers
from buildkit.lock.resolve import apt, pip, sources
from buildkit.lock.types import DebianPin, WheelPin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildkit.lock.types import Lock
    from buildkit.run import Runner

    Progress = Callable[[int, int, str], None]

Pin = DebianPin | WheelPin

OFFLINE = "EDGE_BUILDKIT_INPUTS"
_DEBS_AT_ONCE = 16
_WHEELS_AT_ONCE = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a fetch did.

    Attributes:
        files: hex digits of SHA-256 → the file in the cache, for every input asked for.
        fetched: how many were brought now.
        cached: how many were there already.
    """

    files: Mapping[str, Path]
    fetched: int
    cached: int


def wanted(lock: Lock, host_arch: str, platforms: Iterable[str]) -> tuple[Pin, ...]:
    """Every input that building `platforms` on a host of one architecture needs, each file once.

    Raises:
        FetchError: the lock has no pins for this host or platform.
    """
    host = lock.hosts.get(host_arch)
    lacking = [f"build host {host_arch}"] if host is None else []
    lacking += [f"platform {name}" for name in platforms if name not in lock.platforms]
    if host is None or lacking:
        msg = f"the lock has no pins for {', '.join(lacking)}"
        raise FetchError(msg, "run `lock` to bring recipe and lock together")
    pins: list[Pin] = [host.seed, *host.builder_debian, *host.builder_wheels]
    pins += [*host.engine_debian, *host.tools_debian, *host.tools_wheels]
    for name in platforms:
        pins += [*lock.platforms[name].debian, *lock.platforms[name].wheels]
    return tuple({pin.sha256: pin for pin in pins}.values())


def missing(lock: Lock, host_arch: str, platforms: Iterable[str], cache: Path) -> tuple[Pin, ...]:
    """The inputs that are not in the cache yet; looks at names only, so it is quick."""
    return tuple(pin for pin in wanted(lock, host_arch, platforms) if not _holds(cache, pin))


def _holds(cache: Path, pin: Pin) -> bool:
    size = pin.size if isinstance(pin, DebianPin) else None
    return store.holds(cache, pin.sha256, size)


def fetch(  # noqa: PLR0917 - what to bring (three), with what, where to, whom to tell
    lock: Lock,
    host_arch: str,
    platforms: Iterable[str],
    runner: Runner,
    cache: Path,
    progress: Progress | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Fetched:
    """Bring what `wanted` names into the cache.

    Args:
        lock: what to bring.
        host_arch: Debian's name of this machine's architecture.
        platforms: of the images that will be built here.
        runner: starts APT and pip.
        cache: the cache's home (`cache.home`).
        progress: called with files done, files in all, and a name; from any thread, one at a time.
        environ: `OFFLINE` names a folder to look into first.

    Raises:
        FetchError: some inputs are nowhere to be had; all of them are named.
        DigestError: a mirror or the offline folder holds other bytes.
    """
    return bring(
        wanted(lock, host_arch, tuple(platforms)), runner, cache, progress, environ=environ
    )


def bring(
    pins: Sequence[Pin],
    runner: Runner,
    cache: Path,
    progress: Progress | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Fetched:
    """Bring `pins` into the cache; see `fetch`."""
    store.sweep(cache)
    lacking = [pin for pin in pins if not _holds(cache, pin)]
    tell = _Teller(len(pins), len(pins) - len(lacking), progress)
    means = _Means(runner=runner, cache=cache, tell=tell, environ=environ)
    tell.said("")
    offline = environ.get(OFFLINE, "")
    rest = [pin for pin in lacking if not (offline and _from_folder(Path(offline), pin, means))]
    problems: list[BuildkitError] = []
    workers.gather([partial(_guarded, problems, task) for task in _tasks(rest, means)])
    if problems:
        raise _together(problems)
    return Fetched(
        files={pin.sha256: store.entry(cache, pin.sha256) for pin in pins},
        fetched=len(lacking),
        cached=len(pins) - len(lacking),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """What every task works with."""

    runner: Runner
    cache: Path
    tell: _Teller
    environ: Mapping[str, str]


class _Teller:
    """Counts files from several threads and tells one at a time."""

    def __init__(self, total: int, done: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, done, progress
        self._turn = threading.Lock()

    def said(self, what: str, count: int = 0) -> None:
        with self._turn:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._total, what)


def _guarded(problems: list[BuildkitError], task: Callable[[], None]) -> None:
    """One mirror's trouble does not stop the others: all that can come, comes."""
    try:
        task()
    except BuildkitError as error:
        problems.append(error)


def _together(problems: list[BuildkitError]) -> BuildkitError:
    """One error for all: wrong bytes weigh more than missing ones."""
    wrong = [error for error in problems if isinstance(error, DigestError)]
    chosen = wrong or problems
    message = "\n  ".join(dict.fromkeys(error.message for error in chosen))
    remedy = "; ".join(dict.fromkeys(error.remedy for error in chosen if error.remedy))
    return DigestError(message, remedy) if wrong else FetchError(message, remedy)


def _tasks(pins: Sequence[Pin], means: _Means) -> list[Callable[[], None]]:
    """One task for each APT root, and one for each handful of wheels of one platform."""
    debs: dict[tuple[str, str], list[DebianPin]] = {}
    wheels: dict[tuple[str, str], list[WheelPin]] = {}
    for pin in pins:
        if isinstance(pin, DebianPin):
            arch = apt.ARCHITECTURES[0] if pin.architecture == "all" else pin.architecture
            debs.setdefault((pin.suite.removesuffix("-security"), arch), []).append(pin)
        else:
            wheels.setdefault(pip.wanted_by(pin.file), []).append(pin)
    tasks: list[Callable[[], None]] = [
        partial(_debs, means, suite, arch, group) for (suite, arch), group in sorted(debs.items())
    ]
    settings = pip.machine_settings(means.runner, local=True) if wheels else ()
    for key, group in sorted(wheels.items()):
        parts = -(-len(group) // _WHEELS_AT_ONCE)
        tasks += [
            partial(_wheels, means, key, settings, group[start::parts]) for start in range(parts)
        ]
    return tasks


def _debs(means: _Means, suite: str, arch: str, pins: Sequence[DebianPin]) -> None:
    try:
        root = apt.open_root(suite, arch, means.cache, environ=means.environ)
        with disk.exclusive(root.folder):
            gone = _superseded(means.runner, root, pins)
            rest = [pin for pin in pins if pin not in gone]
            for start in range(0, len(rest), _DEBS_AT_ONCE):
                _download(means, root, rest[start : start + _DEBS_AT_ONCE])
    except ResolveError as error:
        raise FetchError(error.message, error.remedy) from error
    if gone:
        names = ", ".join(f"{pin.name} {pin.version} ({pin.architecture})" for pin in gone)
        msg = f"no mirror has these Debian packages of {suite} any more: {names}"
        raise FetchError(
            msg,
            "add a snapshot archive to APT's sources (or to the file that "
            f"{sources.OVERRIDE} names), put the files into the folder that {OFFLINE} names, "
            f"or move the pins: `lock --update {' '.join(sorted({pin.name for pin in gone}))}`",
        )


def _superseded(
    runner: Runner, root: apt.AptRoot, pins: Sequence[DebianPin]
) -> tuple[DebianPin, ...]:
    """Pins that the index does not have, not even after it was refreshed."""
    names = [pin.name for pin in pins]
    have = apt.known(runner, root, names)
    if any(pin.version not in have.get(pin.name, {}) for pin in pins):
        apt.update(runner, root)
        have = apt.known(runner, root, names)
    return tuple(pin for pin in pins if pin.version not in have.get(pin.name, {}))


def _download(means: _Means, root: apt.AptRoot, pins: Sequence[DebianPin]) -> None:
    """Let APT bring some packages into its own folder, where it also resumes half a file."""
    folder = root.folder / "download"
    folder.mkdir(exist_ok=True)
    words = [f"{pin.name}={pin.version}" for pin in pins]
    result = apt.call(
        means.runner, root, ["apt-get", "-q", "download", "--", *words], cwd=folder, check=False
    )
    absent: list[DebianPin] = []
    wrong: list[BuildkitError] = []
    for pin in pins:
        version = pin.version.replace(":", "%3a")
        file = folder / f"{pin.name}_{version}_{pin.architecture}.deb"
        if not file.is_file() or (result.code != 0 and file.stat().st_size != pin.size):
            absent.append(pin)
            continue
        try:
            store.admit(file, pin.sha256, means.cache, what=f"{pin.name} {pin.version}")
        except DigestError as error:
            wrong.append(error)
        else:
            means.tell.said(pin.name, 1)
        finally:
            file.unlink(missing_ok=True)
    if wrong:
        raise _together(wrong)
    if absent:
        said = "\n  ".join(line for line in result.stderr.splitlines() if line[:2] in {"E:", "W:"})
        names = ", ".join(f"{pin.name} {pin.version}" for pin in absent)
        msg = f"APT did not bring {names}:\n  {said}"
        if "Hash Sum mismatch" in said:
            raise DigestError(msg, "the mirror is broken or out of step: wait, or use another one")
        raise FetchError(msg, "check the network and APT's mirrors, then run `fetch` again")


def _wheels(
    means: _Means, key: tuple[str, str], settings: Sequence[str], pins: Sequence[WheelPin]
) -> None:
    with store.scratch(means.cache) as folder:
        try:
            pip.download(means.runner, key, pins, folder, settings=settings)
        except ToolError as error:
            raise FetchError(
                error.message, "check the network and pip's index, then run `fetch` again"
            ) from error
        for pin in pins:
            file = folder / pin.file
            if not file.is_file():
                msg = f"pip did not bring {pin.file}"
                raise FetchError(msg, f"move the pin: `lock --update {pin.name}`")
            store.admit(file, pin.sha256, means.cache, what=f"{pin.name} {pin.version}")
            means.tell.said(pin.name, 1)


def _from_folder(folder: Path, pin: Pin, means: _Means) -> bool:
    """Take one input from a folder of files, by its digits or by its name."""
    names = [pin.sha256, f"sha256/{pin.sha256}", pin.file]
    if isinstance(pin, DebianPin):
        for mark in (":", "%3a"):
            version = pin.version.replace(":", mark)
            names.append(f"{pin.name}_{version}_{pin.architecture}.deb")
        names.append(f"{pin.name}_{pin.version.split(':')[-1]}_{pin.architecture}.deb")
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        return False
    store.admit(file, pin.sha256, means.cache, what=str(file))
    means.tell.said(pin.name, 1)
    return True
