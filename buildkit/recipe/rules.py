"""What must hold between the keys of a recipe, and between the recipe and its folder.

Each rule is one function that looks at what the reader let through, and keeps quiet about keys
that are missing there: their mistakes are noted already. A new rule is a new row in `RULES`.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

from buildkit import digests
from buildkit.recipe import forms
from buildkit.recipe.keys import SOURCES, SUITES
from buildkit.recipe.notes import shown
from buildkit.recipe.targets import TARGETS
from buildkit.recipe.types import MADE_BY_TRAINING

CPU: Final = "CPUExecutionProvider"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildkit.recipe.locate import KeyPath
    from buildkit.recipe.notes import Notes

    Values = dict[str, Any]
    Rule = Callable[[Values, Notes], None]


def _find(values: Values, *path: str) -> Any:
    """What stands at `path`; None when it is missing or was wrong."""
    found: Any = values
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _elements(values: Values, *path: str) -> Iterator[tuple[int, Any]]:
    """Index and value of what is right in an array."""
    for index, element in enumerate(_find(values, *path) or ()):
        if element is not None:
            yield index, element


def _target_has_platform(values: Values, notes: Notes) -> None:
    platforms = values.get("platforms", (None,))
    for index, name in _elements(values, "targets"):
        needed = TARGETS[name].platform
        if needed not in platforms and None not in platforms:
            message = f'target "{name}" runs {needed}, which is not among the platforms'
            remedy = f'add "{needed}" to platforms, or remove "{name}"'
            notes.add(("targets", index), message, remedy)


def _python_is_debians(values: Values, notes: Notes) -> None:
    suite = _find(values, "image", "debian", "suite")
    version = _find(values, "image", "python", "version")
    if suite and version and version != SUITES[suite]:
        message = f"Debian {suite} brings Python {SUITES[suite]}, not {version}"
        remedy = f'write "{SUITES[suite]}", or take another suite'
        notes.add(("image", "python", "version"), message, remedy)


def _excludes_contradict(values: Values, notes: Notes) -> None:
    for table, wanted, same in (
        ("debian", "packages", str),
        ("python", "requirements", forms.distribution),
    ):
        named = {same(name) for _, name in _elements(values, "image", table, wanted)}
        for index, name in _elements(values, "image", table, "exclude"):
            if same(name) in named:
                path = ("image", table, "exclude", index)
                notes.add(path, f"{shown(name)} is also in {wanted}", "name it in one of the two")


def _one_source(values: Values, notes: Notes) -> None:
    if "model" not in values:
        return
    given = [name for name in SOURCES if notes.wrote("model", name)]
    if not given:
        tables = ", ".join(f"[model.{name}]" for name in SOURCES)
        notes.add(("model",), f"has no source: one of {tables}", "write one of them")
    for name in given[1:]:
        message = f"a second source of the model, beside [model.{given[0]}]"
        notes.add(("model", name), message, "keep one of them")


def _calibration_is_for_static(values: Values, notes: Notes) -> None:
    kind = _find(values, "model", "prepare", "quantization")
    path = ("model", "calibration")
    given = notes.wrote(*path)
    if kind == "static-int8" and not given:
        message = 'is missing: quantization "static-int8" finds its ranges with it'
        remedy = "write a table [model.calibration] with data, or take another quantization"
        notes.add(path, message, remedy, missing=True)
    elif kind not in (None, "static-int8") and given:
        notes.add(path, f'has no use with quantization "{kind}"', "remove the table")


def _percentile_has_method(values: Values, notes: Notes) -> None:
    path = ("model", "calibration", "percentile")
    if _find(values, "model", "calibration", "method") == "minmax" and notes.wrote(*path):
        remedy = 'write method = "percentile", or remove the key'
        notes.add(path, 'has no use with method "minmax"', remedy)


def _trained_data_has_script(values: Values, notes: Notes) -> None:
    for table in ("calibration", "golden"):
        data = _find(values, "model", table, "data") or ""
        if data.startswith(MADE_BY_TRAINING) and not notes.wrote("model", "train"):
            message = f"{shown(data)} is written by a training script, and there is none"
            remedy = "name a file beside the recipe, or write [model.train]"
            notes.add(("model", table, "data"), message, remedy)


def _smoke_target_is_named(values: Values, notes: Notes) -> None:
    targets = values.get("targets", (None,))
    for name in _find(values, "smoke", "targets") or ():
        if name not in targets and None not in targets:
            message = f'"{name}" is not among the targets of this recipe'
            remedy = f'add "{name}" to targets, or remove the table'
            notes.add(("smoke", "targets", name), message, remedy)


def _share_has_accelerator(values: Values, notes: Notes) -> None:
    general = _find(values, "smoke") or {}
    own = (_find(values, "smoke", "targets") or {}).items()
    tables = [(("smoke",), general), *((("smoke", "targets", name), one) for name, one in own)]
    for path, table in tables:
        providers = table.get("providers") or general.get("providers") or ()
        if table.get("min_on_accelerator") and set(providers) <= {CPU, None}:
            message = "needs an accelerator, and only the CPU is asked for"
            remedy = "name its execution provider in providers, or remove the key"
            notes.add((*path, "min_on_accelerator"), message, remedy)


RULES: Final[tuple[Rule, ...]] = (
    _target_has_platform,
    _python_is_debians,
    _excludes_contradict,
    _one_source,
    _calibration_is_for_static,
    _percentile_has_method,
    _trained_data_has_script,
    _smoke_target_is_named,
    _share_has_accelerator,
)
"""The rules that need no file."""


def _files(values: Values) -> Iterator[tuple[KeyPath, str, bool]]:
    """What must lie beside the recipe: key, relative path, whether it is a folder."""
    for path in (
        ("image", "dockerfile"),
        ("model", "train", "script"),
        ("model", "file", "path"),
        ("model", "calibration", "data"),
        ("model", "golden", "data"),
    ):
        place = _find(values, *path)
        if place is not None and not place.startswith(MADE_BY_TRAINING):
            yield path, place, False
    for index, place in _elements(values, "model", "train", "inputs"):
        yield ("model", "train", "inputs", index), place, False
    context = _find(values, "image", "context")
    if context is not None:
        yield ("image", "context"), context, True


def check_files(values: Values, folder: Path, notes: Notes) -> None:
    """Check that every file exists, lies in the folder, and is what its hash says.

    Args:
        values: what the reader let through.
        folder: the recipe's, absolute, without symbolic links.
        notes: takes the mistakes.
    """
    right = set()
    for path, place, is_folder in _files(values):
        message, remedy = _fault(folder, place, is_folder=is_folder)
        if message:
            notes.add(path, message, remedy)
        else:
            right.add(path)
    wanted = _find(values, "model", "file", "sha256")
    if wanted and ("model", "file", "path") in right:
        _check_hash(folder / _find(values, "model", "file", "path"), wanted, notes)


def _fault(folder: Path, place: str, *, is_folder: bool) -> tuple[str, str]:
    kind = "folder" if is_folder else "file"
    try:
        real = (folder / place).resolve()
        mode = real.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"no such {kind}: {shown(place)}", f"make it, or correct the path (from {folder})"
    except (OSError, RuntimeError, ValueError) as error:
        return f"{shown(place)} cannot be looked at: {error}", "correct the path"
    if not real.is_relative_to(folder):
        remedy = "copy it into the recipe's folder, so that a clone has it too"
        return f"{shown(place)} is a link that leads out of the recipe's folder", remedy
    if not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
        return f"{shown(place)} is not a {kind}", f"name a {kind}"
    return "", ""


def _check_hash(file: Path, wanted: str, notes: Notes) -> None:
    path = ("model", "file", "sha256")
    try:
        found = digests.hex_of(digests.of_file(file))
    except OSError as error:
        message = f"{shown(file.name)} cannot be read: {error.strerror}"
        notes.add(("model", "file", "path"), message, "make it readable")
        return
    if found != wanted:
        message = f"{shown(file.name)} has the hash {found}, and not {wanted}"
        notes.add(path, message, "bring back the right file, or write its new hash if you trust it")
