"""Files and tools of the machine, under a root folder that a test can choose."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .unknown import Unknown

TOOL_FOLDERS = ("usr/local/bin", "usr/bin", "bin", "usr/local/sbin", "usr/sbin", "opt/vc/bin")
LONGEST_ANSWER = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The machine as seen from `root`; no method raises for what is absent."""

    root: Path = Path("/")

    def text(self, name: str) -> str | Unknown:
        """A file's text without NULs and blanks around it; `name` is relative to the root."""
        try:
            with (self.root / name).open("rb") as file:
                found = file.read(LONGEST_ANSWER).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return Unknown(f"/{name} is not there")
        except OSError as error:
            return Unknown(f"/{name}: {error.strerror}")
        return found.strip("\0 \t\r\n") or Unknown(f"/{name} is empty")

    def number(self, name: str) -> int | Unknown:
        """A file that holds one whole number."""
        found = self.text(name)
        if isinstance(found, Unknown):
            return found
        try:
            return int(found)
        except ValueError:
            return Unknown(f"/{name} holds no number")

    def first(self, *names: str) -> str | Unknown:
        """The first of several files that says anything; else why the first does not."""
        answers = [self.text(name) for name in names]
        return next((one for one in answers if isinstance(one, str)), answers[0])

    def names(self, pattern: str) -> list[str]:
        """Paths that match, relative to the root, sorted."""
        try:
            return sorted(str(found.relative_to(self.root)) for found in self.root.glob(pattern))
        except OSError:
            return []

    def link(self, name: str) -> str | Unknown:
        """The last part of what a symbolic link points to."""
        try:
            return Path(os.readlink(self.root / name)).name  # noqa: PTH115 - plain text, not a path
        except OSError:
            return Unknown(f"/{name} is not there")

    def tool(self, *command: str, seconds: float = 5) -> str | Unknown:
        """What a program prints; unknown if it is absent, fails, hangs or prints nothing."""
        name = command[0]
        places = os.pathsep.join(str(self.root / folder) for folder in TOOL_FOLDERS)
        program = shutil.which(name, path=places)
        if program is None:
            return Unknown(f"{name} is not there")
        try:
            with subprocess.Popen(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                try:
                    out, _ = process.communicate(timeout=seconds)
                except BaseException:
                    # Its children hold the pipe too.
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise
        except subprocess.TimeoutExpired:
            return Unknown(f"{' '.join(command)} gave no answer in {seconds:g} s")
        except OSError as error:
            return Unknown(f"{name} cannot be started: {error.strerror}")
        if process.returncode != 0:
            return Unknown(f"{' '.join(command)} failed with {process.returncode}")
        text = out[:LONGEST_ANSWER].decode(errors="replace").strip()
        return text or Unknown(f"{' '.join(command)} said nothing")
