# ruff: noqa: INP001 - a program of the sandbox, not a package
"""initrd.py INIT BUSYBOX-DEB MODULES OUT: the initial RAM disk (cpio, "newc": initramfs format)."""

import io
import sys
from pathlib import Path

import packages


def main() -> None:
    """Write the archive."""
    init, busybox, modules, out = map(Path, sys.argv[1:])
    archive = io.BytesIO()
    for name in ("bin", "dev", "mod", "proc", "root", "sys"):
        _add(archive, name, 0o040755, b"")
    _add(archive, "init", 0o100755, init.read_bytes())
    program = next(
        content
        for path, member, content in packages.members(busybox)
        if member.isreg() and path == "usr/bin/busybox"
    )
    _add(archive, "bin/busybox", 0o100755, program)
    for module in sorted(modules.iterdir()):
        _add(archive, f"mod/{module.name}", 0o100644, module.read_bytes())
    _add(archive, "TRAILER!!!", 0, b"")
    out.write_bytes(archive.getvalue())


def _add(archive: io.BytesIO, name: str, mode: int, content: bytes) -> None:
    """One entry; everything belongs to root and has the same time."""
    number = archive.tell() % (1 << 31)
    fields = (number, mode, 0, 0, 1, packages.EPOCH, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    archive.write(b"070701" + "".join(f"{field:08X}" for field in fields).encode())
    archive.write(name.encode() + b"\0")
    archive.write(bytes(-archive.tell() % 4))
    archive.write(content)
    archive.write(bytes(-archive.tell() % 4))


main()
