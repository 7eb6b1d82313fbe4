"""What a stand-in is asked for, made of, and says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUNTIMES = ("crun", "podman", "docker")
PAGES = (16384, 4096)
MEMORY_MIB = (384, 16384)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What kind of board.

    Attributes:
        runtime: container runtime on it: ``crun`` (with umoci), ``podman`` or ``docker``.
        pages: bytes of a memory page: 16384 as a Pi 5 has, or 4096, which is wrong for one.
        memory_mib: memory in MiB.
        reach: TCP port of this machine's loopback that the board reaches at 10.0.2.100; 0: none.

    Raises:
        InputError: there is no such board.
    """

    runtime: str = "crun"
    pages: int = 16384
    memory_mib: int = 2048
    reach: int = 0

    def __post_init__(self) -> None:
        least, most = MEMORY_MIB
        for wrong, what in (
            (self.runtime not in RUNTIMES, f"runtime {self.runtime!r}: not one of {RUNTIMES}"),
            (self.pages not in PAGES, f"pages of {self.pages} bytes: not one of {PAGES}"),
            (
                not least <= self.memory_mib <= most,
                f"{self.memory_mib} MiB of memory: not between {least} and {most}",
            ),
            (not 0 <= self.reach < 1 << 16, f"{self.reach} is no TCP port"),
        ):
            if wrong:
                raise InputError(what, "python -m buildkit standin start --help")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What Nix made: files of this machine, and what kind of board they are.

    Attributes:
        loader: dynamic loader that starts the two programs below.
        library: folder of their libraries.
        emulator: ``qemu-system-aarch64``.
        image_tool: ``qemu-img``.
        busybox: static, of this machine's processor.
        kernel: ``Image`` of the board.
        initrd: its initial RAM disk.
        devicetree: flattened, says Raspberry Pi 5 and that it is none.
        disk: its system, qcow2; never written.
        mark: what it calls itself.
        runtime: as in `Options`.
        pages: as in `Options`.
    """

    loader: Path
    library: Path
    emulator: Path
    image_tool: Path
    busybox: Path
    kernel: Path
    initrd: Path
    devicetree: Path
    disk: Path
    mark: str
    runtime: str
    pages: int

    @classmethod
    def from_json(cls, document: Mapping[str, Any], physical: Physical) -> Machine:
        """The machine that ``nix/standin.nix`` describes.

        Args:
            document: the output of its attribute ``standin``.
            physical: where a store path is on this machine.
        """
        plain = {"mark", "runtime", "pages"}
        given: dict[str, Any] = {
            name: value if name in plain else physical(value) for name, value in document.items()
        }
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The machine with its paths as text."""
        return {
            name: value if isinstance(value, int) else str(value)
            for name, value in asdict(self).items()
        }

    def run(self, program: Path) -> tuple[str, ...]:
        """The first words of a command that starts one of the two programs."""
        return (str(self.loader), "--library-path", str(self.library), str(program))


class Physical(Protocol):
    """Where a store path is on this machine."""

    def __call__(self, path: str, /) -> Path:
        """The file."""
        ...


class Maker(Protocol):
    """Gives the machine for some options; Nix makes it, or it is there."""

    def __call__(self, options: Options, link: Path, /) -> Machine:
        """Make it.

        Args:
            options: what kind of board.
            link: where Nix puts the link that keeps it.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """How to log in over SSH; what an enrolment needs.

    Attributes:
        host: always this machine's loopback.
        port: of SSH.
        user: with the right to become root without a password.
        identity: file of the private key.
        host_key: ``ssh-ed25519 AAAA…``; known without asking the network.
    """

    host: str
    port: int
    user: str
    identity: Path
    host_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of one stand-in.

    Attributes:
        name: of the board.
        running: whether its emulator runs.
        pid: of the emulator; 0 when there is none.
        folder: disk, keys, console and SSH configuration.
        options: what kind of board.
        connection: how to log in.
        faults: name → value of what was ordered and not put right.
        machine_gone: the files that its disk stands on are no more.
    """

    name: str
    running: bool
    pid: int
    folder: Path
    options: Options
    connection: Connection
    faults: Mapping[str, str] = field(default_factory=dict)
    machine_gone: bool = False
