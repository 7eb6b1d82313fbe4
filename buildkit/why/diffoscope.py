"""The inside of one file that changed, as diffoscope shows it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from buildkit import scratch, tools
from buildkit.errors import InputError, ToolError
from buildkit.run import failure
from buildkit.why.types import Effect

if TYPE_CHECKING:
    from buildkit.run import Runner
    from buildkit.store import Store
    from buildkit.why.types import Explanation

MOST_LINES = 200
_MOST_BYTES = 1 << 28
_DEADLINE = 300.0


def inside(found: Explanation, store_a: Store, store_b: Store, *, runner: Runner) -> list[str]:
    """Give both versions of the first changed file to diffoscope; lines for people.

    Args:
        found: why two artifacts differ.
        store_a: holds the one.
        store_b: holds the other.
        runner: starts diffoscope.

    Raises:
        ToolError: diffoscope is not there, or cannot tell.
        InputError: the file is too long.
    """
    program = tools.find("diffoscope")
    reasons = (*found.causes, *found.unexplained)
    every = [what for r in reasons for what in (r.what, *(each.effect for each in r.explains))]
    effects = [each for each in every if isinstance(each, Effect)]
    layers = {each.where: each for each in effects if each.kind == "layer"}
    for file in effects:
        # A file is in its layer; a model is a blob of its own.
        changed = file.kind == "file" and len({*file.contents, ""}) == 3
        blob = layers.get(file.where) if changed else None
        blob = file if file.kind == "quantised-model" else blob
        if blob and store_a.has(blob.before) and store_b.has(blob.after):
            break
    else:
        return ["no file is in both with another content: diffoscope has nothing to show"]
    with scratch.folder() as folder:
        sides = []
        for side, store, digest in (("a", store_a, blob.before), ("b", store_b, blob.after)):
            name = PurePosixPath(file.subject).name[-60:]
            sides.append(Path(side, name if name.strip(".") else "file"))
            (folder / side).mkdir()
            path = file.subject if file.kind == "file" else None
            _extract(store.path(digest), path, folder / sides[-1])
        words: list[str | Path] = [program, "--no-progress", "--text", "-"]
        words += ["--text-color", "never", "--", *sides]
        # What it unpacks goes with the folder, however it ends.
        variables = {"TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}
        done = runner(words, cwd=folder, env=variables, deadline=_DEADLINE, check=False)
    if done.code not in (0, 1):
        msg = f"diffoscope could not compare {file.subject}: {failure(done)}"
        raise ToolError(msg, "leave --diffoscope out")
    lines = done.text.expandtabs().splitlines()
    cut = [f"… and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return [f"inside {file.subject}, as diffoscope shows it:", *lines[:MOST_LINES], *cut]


def _extract(blob: Path, path: str | None, target: Path) -> None:
    """Write the last file of a path in a layer, whose entries `archive` has checked, or a blob."""
    if path is None:
        shutil.copyfile(blob, target)
        return
    with tarfile.open(blob) as tar:
        for member in tar:
            if not member.isreg() or member.name.removeprefix("./").strip("/") != path:
                continue
            if member.size > _MOST_BYTES:
                msg = f"{path} is too long for diffoscope: {member.size} bytes"
                raise InputError(msg, "leave --diffoscope out")
            stream = tar.extractfile(member)
            target.write_bytes(stream.read() if stream else b"")
