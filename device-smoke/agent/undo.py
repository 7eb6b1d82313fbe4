"""What a run changes, written down before it is changed, and put right afterwards.

Whoever comes first does it: the run itself, its guardian when the agent was killed, or the next
call after a power cut.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import places as files
from agent import runtimes, strict
from agent.container import PREFIX, Found
from agent.programs import which

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.blobs import Blobs
    from agent.board import Board
    from agent.places import Places
    from agent.programs import Programs

_FILE = "undo.json"


@dataclass(frozen=True)
class Record:
    """What one run has to put back.

    Attributes:
        run: its id.
        boot_id: of the kernel it ran under; a governor does not outlive that.
        runtime: name.
        argv: how the runtime is called.
        governors: governor by file, as they were.
    """

    run: str
    boot_id: str
    runtime: str
    argv: tuple[str, ...]
    governors: Mapping[str, str]

    @property
    def container(self) -> str:
        """The container's name."""
        return PREFIX + self.run


class Undo:
    """Writes and follows records."""

    def __init__(self, places: Places, board: Board, blobs: Blobs, programs: Programs) -> None:
        self._places = places
        self._board = board
        self._blobs = blobs
        self.programs = programs

    def folder(self, run: str) -> Path:
        """The folder of a run."""
        return self._places.runs / run

    def write(self, record: Record) -> None:
        """Put it on the disk, before anything is changed."""
        document = {
            "run": record.run,
            "boot_id": record.boot_id,
            "runtime": record.runtime,
            "argv": list(record.argv),
            "governors": dict(record.governors),
        }
        files.write(self.folder(record.run) / _FILE, json.dumps(document).encode())
        files.sync(self._places.runs)

    def leftovers(self) -> list[str]:
        """What is to be put right, for people."""
        return [f"run {name} was cut off" for name in files.names(self._places.runs)]

    def sweep(self) -> list[str]:
        """Put right all that is left; what could not be, for people."""
        wrong = []
        for name in files.names(self._places.runs):
            record = self._read(name)
            if record is None:
                # Cut off before anything was changed.
                files.remove(self.folder(name))
            elif not self.put_right(record):
                wrong.append(f"container {record.container} of {record.runtime} is still there")
        for name in files.names(self._places.images):
            if name.startswith("."):
                self._discard(self._places.images / name)
        return wrong

    def put_right(self, record: Record) -> bool:
        """Remove the container, restore the governor, forget the run; whether all of it went."""
        gone = self.remove_container(record) and not self._in_flight(record)
        if record.boot_id == self._board.boot_id:
            now = self._board.governors()
            for file, governor in record.governors.items():
                if now.get(file, governor) != governor:
                    self._board.set_governor(file, governor, self.programs)
        if gone:
            files.remove(self.folder(record.run))
            files.sync(self._places.runs)
        return gone

    def remove_container(self, record: Record) -> bool:
        """Whether it is certainly gone."""
        found = Found(name=record.runtime, version="", argv=record.argv, why="")
        if which(record.argv[0]) is None:
            return True
        runtime = runtimes.make(found, self.programs, self._blobs, self._places)
        return runtime.remove(record.container)

    def _in_flight(self, record: Record) -> bool:
        """Whether a program that may still make the container is about."""
        name = record.container.encode()
        for file in (self._board.root / "proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if name in file.read_bytes():
                    return True
        return False

    def _read(self, name: str) -> Record | None:
        try:
            document: dict[str, Any] = strict.obj(
                strict.load((self.folder(name) / _FILE).read_bytes()), _FILE
            )
            return Record(
                run=name,
                boot_id=str(document["boot_id"]),
                runtime=str(document["runtime"]),
                argv=tuple(map(str, document["argv"])),
                governors={str(k): str(v) for k, v in document["governors"].items()},
            )
        except (OSError, ValueError, KeyError, AttributeError):
            return None

    def _discard(self, path: Path) -> None:
        with suppress(OSError):
            files.remove(path)
        if path.exists() and which(runtimes.SUDO[0]):
            self.programs.run([*runtimes.SUDO, "rm", "-rf", "--", str(path)], seconds=600)
