"""Stand-ins, put together: their lock, Nix, and the boards themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import assets, canonical, digests, disk
from buildkit.errors import FetchError
from buildkit.lock import cache
from buildkit.nix import Nix, seed
from buildkit.nix.adapter import system
from buildkit.pipeline import inputs
from buildkit.pipeline.nixstage import host_architecture
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.run import run
from buildkit.standin import Machine, Standin, pins, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.lock.types import DebianPin
    from buildkit.run import Runner
    from buildkit.standin import Options, StandinLock, Status

NAME = "pi"
_LOCK = "standin.lock"


def lock_file() -> Path:
    """The lock that comes with this program."""
    return assets.asset("nix") / _LOCK


def write_lock(file: Path | None = None, *, runner: Runner = run) -> tuple[Path, bool]:
    """Pin the newest of everything that a stand-in is made of.

    Args:
        file: where to; `lock_file` when absent.
        runner: starts APT.

    Returns:
        The file, and whether its content is another one now.

    Raises:
        ResolveError: a package does not exist, or a mirror does not answer.
    """
    file = file or lock_file()
    data = pins.dump(resolve.resolve(runner, seed_hash=seed.seed_hash))
    return file, disk.replace(file, data)


def start(
    name: str = NAME,
    *,
    fresh: bool = False,
    lock: Path | None = None,
    progress: Progress | None = None,
    runner: Runner = run,
    **wanted: Any,
) -> Status:
    """Start a stand-in; what it is made of is brought and made when it is not there.

    Args:
        name: of the board.
        fresh: forget its disk, its keys and its faults.
        lock: what to make it of; `lock_file` when absent.
        progress: told what takes time.
        runner: starts programs.
        **wanted: fields of `Options`.

    Raises:
        FetchError: a package is nowhere to be had.
        InputError: it runs, or its disk was made, with other options.
        DeviceError: it does not come up.
    """
    progress = progress or Silent()
    watch = Stopwatch(progress)
    found = pins.load(lock or lock_file())

    def make(options: Options, link: Path) -> Machine:
        return _Making(found, runner, watch).machine(options, link)

    return Standin(name, runner).start(make, fresh=fresh, say=progress.note, **wanted)


def one(name: str = NAME, *, runner: Runner = run) -> Standin:
    """A stand-in by name, started or not."""
    return Standin(name, runner)


def every(*, runner: Runner = run) -> tuple[Standin, ...]:
    """Every stand-in of this user."""
    return Standin.known(runner)


class _Making:
    """Makes the machine of a stand-in with Nix."""

    def __init__(self, lock: StandinLock, runner: Runner, watch: Stopwatch) -> None:
        self._lock = lock
        self._runner = runner
        self._watch = watch
        self._nix = Nix(runner, cache.home() / "standin-nix")

    def machine(self, options: Options, link: Path) -> Machine:
        """The machine; Nix is asked only when a link beside `link` does not lead to it."""
        prefix = link.name
        link = link.with_name(f"{prefix}-{self._key(options)}")
        document = self._nix.kept(link)
        if document is None:
            wanted = self._lock.wanted(host_architecture(), options.runtime, options.pages)
            with self._watch.stage("fetch", f"{len(wanted)} packages of the stand-in"):
                self._bring(wanted)
            with self._watch.stage("nix", "the stand-in's kernel, disk and emulator"):
                arguments = {
                    "system": system(),
                    "lock": pins.to_json(self._lock),
                    "runtime": options.runtime,
                    "pages": options.pages,
                }
                document = self._nix.build(self._code[0], arguments, "standin", link)
            for old in link.parent.glob(f"{prefix}-*"):
                if old != link:
                    old.unlink()
        return Machine.from_json(document, self._nix.physical)

    @property
    def _code(self) -> tuple[Path, ...]:
        """The expression, and all that it reads beside its arguments."""
        folder = assets.asset("nix")
        programs = (file for file in sorted((folder / "standin").iterdir()) if file.is_file())
        return (*(folder / name for name in ("standin.nix", "base.nix", "tree.sh")), *programs)

    def _key(self, options: Options) -> str:
        """Sixteen hex digits over everything that decides what Nix makes."""
        parts = {
            "lock": pins.to_json(self._lock),
            "code": {file.name: digests.of_file(file) for file in self._code},
            "options": [options.runtime, options.pages],
        }
        return digests.hex_of(digests.of_bytes(canonical.dump(parts)))[:16]

    def _bring(self, wanted: tuple[DebianPin, ...]) -> None:
        host = self._lock.hosts[host_architecture()]
        try:
            inputs.bring_pins(
                wanted,
                (host.seed, host.seed_nar_sha256),
                nix=self._nix,
                runner=self._runner,
                progress=self._watch.progress,
            )
        except FetchError as error:
            raise FetchError(error.message, f"{error.remedy}; or {pins.RELOCK}") from error
