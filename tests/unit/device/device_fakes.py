"""A device in a folder, an ``ssh`` that leads there over a faulty line, and things to bring."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from buildkit import digests
from buildkit.device import ssh, zips
from buildkit.device.agent import Agent
from buildkit.device.types import Blob, Device, Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.device.zips import Packed

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

DEVICE = Device(name="shelf-1", host="pi@board", target="pi5", host_key=HOST_KEY, key="0" * 16)

_SSH = r"""
import json, os, select, subprocess, sys
from pathlib import Path

folder = Path(sys.argv[0]).parent.parent
words = sys.argv[1:]
with (folder / "calls").open("a") as file:
    file.write(json.dumps(words) + "\n")
at = words.index("--")
options, rest = words[:at], words[at + 1 :]
if "-O" in options:
    sys.exit(0)
faults = json.loads((folder / "line.json").read_text())
fault = faults.pop(0) if faults else {}
(folder / "line.json").write_text(json.dumps(faults))
if "status" in fault:
    sys.stderr.write(fault.get("stderr", ""))
    sys.exit(fault["status"])
home = folder / "device"
env = {"PATH": os.environ["PATH"], "HOME": str(home)}
there = subprocess.Popen(
    ["sh", "-c", rest[1]], env=env, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
to, back = there.stdin.fileno(), there.stdout.fileno()
ways = {0: to, back: 1}
names = {0: "in", back: "out"}
done = {0: 0, back: 0}

def lost():
    there.stdin.close()
    while os.read(back, 65536):
        pass
    there.wait()
    sys.stderr.write("client_loop: send disconnect: Broken pipe\r\n")
    sys.exit(255)

while back in ways:
    for source in select.select(list(ways), [], [])[0]:
        piece = os.read(source, 65536)
        if not piece:
            if source == 0:
                there.stdin.close()
            del ways[source]
            continue
        limit = fault.get("cut_" + names[source])
        flip = fault.get("flip_" + names[source], -1) - done[source]
        if 0 <= flip < len(piece):
            piece = piece[:flip] + bytes([piece[flip] ^ 1]) + piece[flip + 1 :]
        is_cut = limit is not None and done[source] + len(piece) >= limit
        if is_cut:
            piece = piece[: limit - done[source]]
        done[source] += len(piece)
        try:
            while piece:
                piece = piece[os.write(ways[source], piece) :]
        except BrokenPipeError:
            ways.pop(0, None)
        if is_cut:
            lost()
sys.exit(there.wait())
"""


def fake_packed() -> Packed:
    source = (Path(__file__).parent / "fake_agent.py").read_bytes()
    return zips.packed({"__main__.py": source}, prefix=b"#!/usr/bin/env python3\n")


@dataclass
class Board:
    """A device in a folder."""

    folder: Path
    packed: Packed = field(default_factory=fake_packed)
    device: Device = DEVICE
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        program = self.folder / "bin/ssh"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable} -IS\n{_SSH}")
        program.chmod(0o755)
        self.home.mkdir()
        self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def home(self) -> Path:
        return self.folder / "device"

    @property
    def path(self) -> str:
        return str(self.folder / "bin")

    def agent(self) -> Agent:
        link = self.stack.enter_context(ssh.connect(self.device, path=self.path))
        return Agent(link=link, packed=self.packed)

    def line(self, *faults: Mapping[str, Any]) -> None:
        """What goes wrong with each of the next calls; nothing with those after them."""
        (self.folder / "line.json").write_text(json.dumps(faults))

    def behave(self, **how: Any) -> None:
        (self.home / "behave.json").write_text(json.dumps(how))

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def blobs(self) -> dict[str, bytes]:
        """What is there, under its digest."""
        folder = self.home / ".local/share/edge-buildkit/blobs/sha256"
        return {f"sha256:{file.name}": file.read_bytes() for file in folder.glob("*")}

    def enrolled(self, key: str) -> None:
        self.device = replace(self.device, key=key)


@dataclass(frozen=True)
class Goods:
    """Bytes under their digests."""

    contents: Mapping[str, bytes]

    @classmethod
    def of(cls, *contents: bytes) -> Goods:
        return cls({digests.of_bytes(each): each for each in contents})

    @property
    def blobs(self) -> tuple[Blob, ...]:
        kind = "application/octet-stream"
        return tuple(
            Blob(digest=digest, size=len(data), media_type=kind)
            for digest, data in self.contents.items()
        )

    @contextlib.contextmanager
    def __call__(self, digest: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(self.contents[digest])


def order(**more: Any) -> Order:
    """One that names digests of nothing."""
    names = ("image_index", "image_manifest", "model_index", "model_manifest", "golden", "smoke")
    fields: dict[str, Any] = {name: digests.of_bytes(name.encode()) for name in names}
    fields |= {"nonce": "n-1", "target": "pi5", "bundles": (digests.of_bytes(b"bundle"),)}
    fields |= {"blobs": (), "deadline_s": 30}
    return Order(**fields | more)
