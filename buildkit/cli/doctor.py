"""``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render

if TYPE_CHECKING:
    import argparse

    from buildkit.doctor import Check

_MARK = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--online", action="store_true", help="also ask pip's index")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Look at the machine; exit 1 when something that a build needs is missing."""
    from buildkit.pipeline import other  # noqa: PLC0415 - `--help` must not wait for it

    checks = other.doctor(online=options.online, here=Path.cwd())
    if options.json:
        render.document({"checks": [check.to_json() for check in checks]})
    else:
        print(_table(checks))
    return 1 if any(check.status == "fail" for check in checks) else 0


def _table(checks: tuple[Check, ...]) -> str:
    lines = []
    for check in checks:
        lines.append(render.table([(f"{_MARK[check.status]:4}", f"{check.name:16}", check.found)]))
        if check.remedy:
            lines.append(f"      → {render.plain(check.remedy)}")
    return "\n".join(lines)
