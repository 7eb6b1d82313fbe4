"""Calls Nix (2.8 and later; root, daemon, or a plain user with a store of one's own)."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from buildkit import canonical, scratch
from buildkit.errors import DigestError, FetchError, InputError, ToolError
from buildkit.nix import nar
from buildkit.nix.flakes import Reference
from buildkit.run import failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit.run import Runner

_STATE = Path("/nix/var/nix")
_DAEMON = _STATE / "daemon-socket/socket"
_FEATURES = ("--extra-experimental-features", "nix-command flakes")
# A stage that refuses its input says so in one JSON line on stderr (exit status 3); Nix puts
# the derivation's name before it.
_REFUSAL = re.compile(r'(\{"error": .*\})\s*$')
# The builder of every input (`nix/default.nix`): Nix starts it only when the input is not there.
_MISSING = "/missing-input-run-buildkit-fetch"
_FAILED = re.compile(r"(?:builder for|Cannot build) '[^']*/[0-9a-z]{32}-([^']+)\.drv'")
# The derivation that runs a script of the user's own, whose output is part of the answer.
_SCRIPT = "model-trained> "
_SCRIPT_ENDED = re.compile(r"error: builder for '[^']*-model-trained\.drv' (failed .*)")
_SCRIPT_LINES = 20
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PER_CALL = 200

Mode = Literal["root", "daemon", "own /nix", "chroot store"]


def system() -> str:
    """Nix's name of this machine: ``x86_64-linux``."""
    return f"{platform.machine()}-linux"


class Nix:
    """Nix on this machine.

    Args:
        runner: starts Nix.
        home: folder for a store of one's own; used only by the mode ``chroot store``.
        apart: use that mode whatever the machine offers, without binary caches and remote
            builders, so that nothing made before is found.

    Attributes:
        mode: with a daemon, through it; else as root, or as the plain user that ``/nix`` belongs
            to, in ``/nix`` itself; else in a store of one's own, below a folder that the builders
            see as the root.
    """

    def __init__(self, runner: Runner, home: Path, *, apart: bool = False) -> None:
        self._runner = runner
        self.mode: Mode = "chroot store" if apart else _mode()
        self._root = home.absolute() if self.mode == "chroot store" else None
        self._apart = apart
        self._own_substituters: bool | None = None

    def physical(self, path: str) -> Path:
        """Where the files of a store path are on this machine."""
        return Path(path) if self._root is None else Path(f"{self._root}{path}")

    def has(self, path: str) -> bool:
        """Whether a store path is there; asks the file system alone."""
        return os.path.lexists(self.physical(path))

    def options(self, *, substitute: bool = False) -> list[str]:
        """Options that every call gets.

        Args:
            substitute: ask the public cache too, where the user has not named another.
        """
        words = [
            *_FEATURES,
            *("--option", "sandbox", "true"),
            *("--option", "sandbox-fallback", "false"),
            *("--option", "sandbox-paths", ""),
            # What a binary cache gives counts only with a signature that the user trusts.
            *("--option", "require-sigs", "true"),
            *("--option", "warn-dirty", "false"),
            # Layers and model do not wait for one another; each runs on one core.
            *("--option", "max-jobs", "auto"),
            *("--option", "cores", "1"),
        ]
        if self.mode != "daemon" and os.geteuid() == 0:
            # Debian's package makes no build users; the sandbox's own namespaces isolate.
            words += ["--option", "build-users-group", ""]
        if self.mode == "daemon":
            # Root would go past it.
            words += ["--store", "daemon"]
        if self._root is not None:
            words += ["--store", str(self._root)]
        if not substitute and (self._apart or not self._has_own_substituters()):
            # Without one every call would wait for a public cache that has nothing of ours.
            words += ["--option", "substitute", "false"]
        if self._apart:
            # Another machine may have made it before.
            words += ["--option", "builders", ""]
        return words

    def add_flat(self, files: Mapping[Path, str]) -> None:
        """Put files into the store as flat SHA-256 fixed outputs.

        Args:
            files: file → its name in the store.

        Raises:
            ToolError: Nix failed.
        """
        with scratch.folder() as folder:
            # Nix names a path after the file that it is given; two files may share a name.
            links = []
            for number, (file, name) in enumerate(files.items()):
                home = folder / str(number)
                home.mkdir()
                try:
                    os.link(file, home / name)
                except OSError:
                    shutil.copyfile(file, home / name)
                links.append(home / name)
            for start in range(0, len(links), _PER_CALL):
                some = links[start : start + _PER_CALL]
                self._run(["nix-store", "--add-fixed", "sha256", *some, *self.options()])

    def add_folder(self, folder: Path, name: str, sha256: str) -> str:
        """Put a folder into the store as a recursive SHA-256 fixed output.

        Raises:
            DigestError: its Nix archive has another hash.
        """
        expected = nar.store_path(name, sha256, "recursive")
        how = ("--add-fixed", "--recursive", "sha256")
        command = ["nix-store", *how, str(folder), *self.options()]
        found = self._run(command).strip()
        if found != expected:
            msg = f"{name}: its content is not what the lock says ({found} instead of {expected})"
            raise DigestError(msg, "run `python -m buildkit lock --update`")
        return found

    def build(
        self, expression: Path, arguments: Mapping[str, Any], attribute: str, link: Path
    ) -> Any:
        """Build one attribute whose output is a JSON file, and read it.

        Args:
            expression: folder of ``default.nix``.
            arguments: what it is called with.
            attribute: ``build``.
            link: link that keeps the result from Nix's garbage collection.

        Raises:
            InputError: a stage refused its input.
            FetchError: an input is not in the store.
            ToolError: Nix failed otherwise.
        """
        link.parent.mkdir(parents=True, exist_ok=True)
        with scratch.folder() as folder:
            file = folder / "arguments.json"
            file.write_bytes(canonical.dump(arguments))
            result = self._runner(
                [
                    *("nix", "build", "--json", "-L", "-o", link),
                    *("--file", expression, "--argstr", "file", file),
                    attribute,
                    *self.options(),
                ],
                # Where Nix builds; what a killed one leaves there is swept with the rest.
                env={"TMPDIR": str(folder)},
                check=False,
            )
        if result.code != 0:
            self._explain(result.stderr)
            raise ToolError(failure(result), "the whole log is in `nix log` of the path above")
        output = json.loads(result.stdout)[0]["outputs"]["out"]
        path = output if isinstance(output, str) else output["path"]
        return json.loads(self.physical(path).read_text())

    def kept(self, link: Path) -> Any | None:
        """What `build` read when it made this link; None where its result is gone."""
        if link.is_symlink():
            result = self.physical(str(link.readlink()))
            if result.is_file():
                return canonical.load(result.read_bytes())
        return None

    def pin_flake(self, reference: str, folder: Path) -> str:
        """The reference of the very flake that an installable names now.

        Args:
            reference: ``github:acme/env#python``, ``path:./env#python``.
            folder: where a relative ``path:`` starts.

        Raises:
            InputError: there is no such folder.
            ToolError: there is no such flake.
        """
        flake = Reference.parse(reference)
        if flake.is_local:
            return flake.written(flake.place, flake.content(folder))
        place = reference.partition("#")[0]
        words = ["nix", "flake", "metadata", "--json", place, *self.options(substitute=True)]
        found = json.loads(self._of_flake(words, reference, folder))["url"]
        return f"{found}#{flake.package}" if flake.package else str(found)

    def build_flake(self, reference: str, folder: Path) -> str:
        """Build an installable of the user's own.

        Args:
            reference: what to build, pinned or not; its inputs must be in its ``flake.lock``.
            folder: where a relative ``path:`` starts.

        Returns:
            Its store path.

        Raises:
            InputError: there is no such folder.
            DigestError: its files are not those that the reference pins.
            ToolError: there is no such flake, or it does not build.
        """
        flake = Reference.parse(reference)
        place = reference
        if flake.is_local:
            if flake.nar_hash and flake.content(folder) != flake.nar_hash:
                msg = f"builder: the files of {flake.place} are not those of the lock"
                raise DigestError(msg, "run `python -m buildkit lock` to take the change over")
            # From inside, because no spelling of a path with a space is right for every Nix.
            folder, place = flake.folder(folder), flake.written("path:.")
        command = ["nix", "build", "--json", "--no-link", "--no-update-lock-file", place]
        # What it is made of may well be in the public cache, unlike all that is ours.
        words = [*command, *self.options(substitute=True)]
        output = json.loads(self._of_flake(words, reference, folder))[0]["outputs"]["out"]
        return str(output if isinstance(output, str) else output["path"])

    def _of_flake(self, words: list[str], reference: str, folder: Path) -> str:
        result = self._runner(words, check=False, cwd=folder)
        if result.code != 0:
            msg = f"builder = {reference!r} cannot be built: {failure(result)}"
            raise ToolError(msg, "name a flake whose package has bin/python3; see docs/nix.md")
        return result.text

    def closure(self, path: str) -> tuple[str, ...]:
        """Every store path that a path needs at run time, itself included, sorted."""
        words = ["nix-store", "--query", "--requisites", path, *self.options()]
        return tuple(sorted(self._run(words).split()))

    def _run(self, words: Iterable[str | Path]) -> str:
        return self._runner(list(words)).text

    def _has_own_substituters(self) -> bool:
        if self._own_substituters is None:
            self._own_substituters = False
            # The second name came later; the first one may go.
            for name in (["show-config"], ["config", "show"]):
                result = self._runner(["nix", *name, "--json", *_FEATURES], check=False)
                if result.code == 0:
                    setting = json.loads(result.stdout).get("substituters", {})
                    self._own_substituters = setting.get("value") != setting.get("defaultValue")
                    break
        return self._own_substituters

    @staticmethod
    def _explain(log: str) -> None:
        """Raise what a stage said of its input, if one did."""
        lines = [_COLOUR.sub("", line) for line in log.splitlines()]
        for line in lines:
            match = _REFUSAL.search(line)
            if match is not None:
                try:
                    said = json.loads(match[1])
                except ValueError:
                    continue
                output = _output_of_script(lines) if line.startswith(_SCRIPT) else []
                raise InputError("\n  ".join([said["error"], *output]), said.get("remedy", ""))
        if any(_MISSING in line for line in lines):
            names = sorted({match[1] for line in lines for match in _FAILED.finditer(line)})
            msg = f"inputs of the lock are not in the Nix store: {', '.join(names) or 'some'}"
            raise FetchError(msg, "bring them: python -m buildkit fetch RECIPE")
        for line in lines:
            end = _SCRIPT_ENDED.search(line)
            if end is not None:
                msg = f"the training script {end[1].rstrip('; ')}"
                raise InputError(
                    "\n  ".join([msg, *_output_of_script(lines)]),
                    "its output stands above; out of memory is a common reason",
                )


def _mode() -> Mode:
    if os.geteuid() != 0 and os.access(_STATE, os.R_OK | os.W_OK):
        return "own /nix"
    if _DAEMON.exists():
        return "daemon"
    return "root" if os.geteuid() == 0 else "chroot store"


def _output_of_script(lines: list[str]) -> list[str]:
    """The end of what the user's script printed before it was refused."""
    said = [line.removeprefix(_SCRIPT).rstrip() for line in lines if line.startswith(_SCRIPT)]
    return [line for line in said if line and not _REFUSAL.search(line)][-_SCRIPT_LINES:]
