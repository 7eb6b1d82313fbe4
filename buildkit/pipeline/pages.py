"""Pages for people, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildkit.pipeline.trials import Trial


def write(text: str, file: Path) -> None:
    """Write a page.

    Raises:
        InputError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{file}: cannot be written: {error.strerror}"
        raise InputError(msg, "name a file in a folder that is there") from error


def of_trials(ref: str, trials: Sequence[Trial], file: Path) -> tuple[Path, ...]:
    """Write the page of each trial; with several, the device's name goes before the suffix.

    Raises:
        InputError: it cannot be written.
    """
    from buildkit.gate import page  # noqa: PLC0415 - a report of the audit does not need it

    written: list[Path] = []
    for trial in trials:
        path = _page(file, trial, written) if len(trials) > 1 else file
        facts = [("device", trial.device), ("target", trial.target), ("asked for", ref)]
        facts += trial.tried
        text = page.html(
            trial.verdict,
            trial.rules,
            title=f"{ref} on {trial.device}",
            runs=trial.runs,
            baseline=trial.baseline,
            facts=facts,
        )
        write(text, path)
        written.append(path)
    return tuple(written)


def _page(file: Path, trial: Trial, taken: Sequence[Path]) -> Path:
    """A name that no other trial has: one device may have been tried as several targets."""
    names = [trial.device, f"{trial.device}-{trial.target}"]
    names += [f"{names[1]}-{number}" for number in range(2, len(taken) + 2)]
    paths = [file.with_name(f"{file.stem}-{name}{file.suffix}") for name in names]
    return next(path for path in paths if path not in taken)
