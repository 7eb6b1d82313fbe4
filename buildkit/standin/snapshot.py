"""Boards that have started once: their memory and disk, kept so that the next start is quick.

``<cache>/standin/<key>`` holds one: it enters whole or not at all, and its key covers everything
that it depends on. There are no keys in it: a board gets its own after it was restored.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import canonical, digests, disk, scratch
from buildkit.standin import emulator
from buildkit.standin.running import DISK, Running, ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.run import Runner
    from buildkit.standin.types import Machine, Options

MEMORY = "memory"
_UNUSED_SECONDS = 30 * 24 * 3600
_MOST = 6
# What a session on the board needs is read once, so that it is in memory. Nothing may ask for the
# boot's id here: the kernel makes it up when it is first asked for, for each board its own.
_WARM = """
for one in 'python3 -c "import argparse,base64,fcntl,hashlib,json,select,subprocess,tempfile"' \\
  'openssl version' '/usr/sbin/sshd -t' 'sudo -n true' 'bash -lc true' 'ip link' \\
  'crun --version' 'umoci --version' 'perl -e 1'; do
  eval "$one" > /dev/null 2>&1
done
if [ -x /usr/sbin/dockerd ]; then
  tries=0
  until docker info > /dev/null 2>&1 || [ $tries -gt 90 ]; do sleep 1; tries=$((tries + 1)); done
fi
sync
"""


class Snapshots:
    """The kept boards.

    Args:
        home: the cache's home (`buildkit.lock.cache.home`).
        runner: starts programs.
    """

    def __init__(self, home: Path, runner: Runner) -> None:
        self._home = home / "standin"
        self._runner = runner

    def folder(self, machine: Machine, options: Options) -> Path:
        """Where the snapshot of one kind of board stands, or would stand."""
        options = _alone(options)
        parts = {
            "machine": machine.to_json(),
            "command": emulator.command(machine, options, Path(DISK), port=0),
            "warm": _WARM,
        }
        return self._home / digests.hex_of(digests.of_bytes(canonical.dump(parts)))[:24]

    def find(self, machine: Machine, options: Options, say: Callable[[str], None]) -> Path:
        """The folder with `MEMORY` and `DISK` of such a board; it is started once if need be.

        Raises:
            ToolError: the emulator does not start, or its state cannot be saved.
            DeviceError: the board does not come up.
        """
        kept = self.folder(machine, options)
        if not kept.is_dir():
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            with disk.exclusive(self._home):
                if not kept.is_dir():
                    say("starting the board for the first time, to keep its state")
                    self._make(kept, machine, options)
                    self._sweep()
        os.utime(kept)
        return kept

    def drop(self, machine: Machine, options: Options) -> None:
        """Forget one that cannot be used."""
        shutil.rmtree(self.folder(machine, options), ignore_errors=True)

    def _make(self, kept: Path, machine: Machine, options: Options) -> None:
        scratch.sweep(self._home)
        with scratch.folder(self._home) as folder:
            running = Running(folder, self._runner)
            running.new_disk(machine)
            running.launch(machine, _alone(options))

            def save() -> None:
                running.await_orders()
                running.order(_WARM)
                running.save(folder / MEMORY)

            ended(save, running)
            running.kill()
            part = folder / "kept"
            part.mkdir(mode=0o700)
            for name in (MEMORY, DISK):
                (folder / name).replace(part / name)
            part.replace(kept)

    def _sweep(self) -> None:
        """Take away what nobody has used for a month, and all but the latest few."""
        used = {path.parent: path.parent.stat().st_mtime for path in self._home.glob(f"*/{MEMORY}")}
        latest = sorted(used, key=lambda folder: used[folder], reverse=True)[:_MOST]
        for folder, when in used.items():
            if folder not in latest or time.time() - when > _UNUSED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _alone(options: Options) -> Options:
    """Options of a board that reaches nothing: what one reaches is no part of its state."""
    return dataclasses.replace(options, reach=0)
