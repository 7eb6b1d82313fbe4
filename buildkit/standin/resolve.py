"""Asks APT what the stand-in is made of.

The board is Debian 12 as Raspberry Pi OS of the day is, with the security archive's newer kernel,
which has one with 16 kB pages as a Pi 5 has. What emulates it is Debian 13's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from buildkit import canonical, digests, disk
from buildkit.errors import ResolveError
from buildkit.lock import cache, fetch, workers
from buildkit.lock.resolve import apt
from buildkit.standin.pins import HostPins, StandinLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.lock.types import DebianPin
    from buildkit.run import Runner

HOST_SUITE = "trixie"
BOARD_SUITE = "bookworm"
SEED = "busybox-static"
EMULATOR = ("qemu-system-arm", "qemu-utils")
# libarchive is what mke2fs reads a tar archive with.
WORKSHOP = (
    "e2fsprogs",
    "kmod",
    "libarchive13t64",
    "libpython3.13-stdlib",
    "python3.13-minimal",
)
KERNELS = {16384: "linux-image-6.12-arm64-16k", 4096: "linux-image-6.12-arm64"}
SYSTEM = (
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "kmod",
    "libc-bin",
    "libpam-modules",
    "libpam-runtime",
    "login",
    "mawk",
    "mount",
    "openssh-server",
    "openssl",
    "perl-base",
    "procps",
    "python3-minimal",
    "libpython3-stdlib",
    "sed",
    "sudo",
    "tar",
    "util-linux",
)
RUNTIMES = {
    "crun": ("crun", "umoci"),
    "podman": ("crun", "podman"),
    "docker": ("docker.io",),
}
# Only scripts that run when a package is installed need these; here none does.
_INSTALLERS = frozenset(
    (
        *("adduser", "debconf", "init-system-helpers", "libdebconfclient0", "lsb-base"),
        *("libfile-find-rule-perl", "libnumber-compare-perl", "libperl5.36", "perl"),
        *("libtext-glob-perl", "perl-modules-5.36", "runit-helper", "sensible-utils"),
        *("sysvinit-utils", "tzdata", "ucf", "usrmerge"),
    )
)


def question() -> str:
    """``sha256:`` over what is asked for."""
    asked = {
        "suites": [HOST_SUITE, BOARD_SUITE],
        "seed": SEED,
        "emulator": list(EMULATOR),
        "workshop": list(WORKSHOP),
        "kernels": {str(pages): name for pages, name in KERNELS.items()},
        "system": list(SYSTEM),
        "runtimes": {name: list(packages) for name, packages in RUNTIMES.items()},
        "without": sorted(_INSTALLERS),
    }
    return digests.of_bytes(canonical.dump(asked))


def resolve(
    runner: Runner, *, seed_hash: Callable[[Path], str], home: Path | None = None
) -> StandinLock:
    """The newest of everything, for both kinds of build host.

    Args:
        runner: starts APT.
        seed_hash: hex digits of the Nix archive of the seed's folder, made from its package.
        home: the cache; `cache.home()` when absent.

    Raises:
        ResolveError: a package does not exist, or a mirror does not answer.
        FetchError: the seed cannot be brought here.
    """
    home = home or cache.home()
    hosts: dict[str, HostPins] = {}
    boards: list[_Board] = []

    def ask_host(architecture: str) -> None:
        hosts[architecture] = _host(runner, architecture, home, seed_hash)

    def ask_board() -> None:
        boards.append(_Board(runner, home))

    tasks: list[Callable[[], None]] = [partial(ask_host, name) for name in apt.ARCHITECTURES]
    workers.gather([*tasks, ask_board])
    board = boards[0]
    return StandinLock(
        hosts=hosts,
        busybox=board.busybox,
        kernels=board.kernels,
        roots=board.roots,
        asked=question(),
    )


def _host(
    runner: Runner, architecture: str, home: Path, seed_hash: Callable[[Path], str]
) -> HostPins:
    root = apt.open_root(HOST_SUITE, architecture, home)
    with disk.exclusive(root.folder):
        apt.update(runner, root)
        emulator = apt.solve(runner, root, EMULATOR, exclude=_INSTALLERS)
        workshop = apt.solve(runner, root, WORKSHOP, exclude=_INSTALLERS)
        seed = _one(apt.solve(runner, root, (SEED,)), SEED)
    files = fetch.bring([seed], runner, home).files
    return HostPins(
        seed=seed,
        seed_nar_sha256=seed_hash(files[seed.sha256]),
        emulator=emulator,
        workshop=workshop,
    )


class _Board:
    """The answers for the board's processor."""

    def __init__(self, runner: Runner, home: Path) -> None:
        root = apt.open_root(BOARD_SUITE, "arm64", home)
        with disk.exclusive(root.folder):
            apt.update(runner, root)
            self.busybox = _one(apt.solve(runner, root, (SEED,)), SEED)
            # The named package is empty and depends on the kernel of the day.
            self.kernels = {
                pages: _one(apt.solve(runner, root, (name,)), "linux-image-", "+")
                for pages, name in KERNELS.items()
            }
            self.roots = {
                runtime: apt.solve(runner, root, (*SYSTEM, *packages), exclude=_INSTALLERS)
                for runtime, packages in RUNTIMES.items()
            }


def _one(pins: tuple[DebianPin, ...], start: str, mark: str = "") -> DebianPin:
    found = [pin for pin in pins if pin.name.startswith(start) and mark in pin.name]
    if len(found) != 1:
        msg = f"APT names {len(found)} packages {start}*, not one"
        raise ResolveError(msg, "run `apt-get update`, then try again")
    return found[0]
