"""Writes an OSV database about the packages of `history`: made up, in the form and number of real.

.venv/bin/python benchmarks/history_osv.py FOLDER [--debian 30000] [--pypi 15000]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from history import History, Size, source_of


def write(root: Path, *, debian: int, pypi: int, seed: int = 1) -> None:
    """Make a file for each record, as an archive of one ecosystem holds them."""
    chance = random.Random(f"{seed} osv")  # noqa: S311 - no secret
    history = History(Size(), seed)
    sources = sorted({source_of(name) for name in history.debian_names})
    # Most records are about packages that an image does not have.
    others = [f"other-{at}" for at in range(3000)]
    for ecosystem, count, names in (
        ("Debian", debian, sources),
        ("PyPI", pypi, history.wheel_names),
    ):
        folder = root / ecosystem
        folder.mkdir(parents=True)
        for number in range(count):
            name = chance.choice(names if number % 20 == 0 else others)
            record = _record(chance, ecosystem, name, number)
            (folder / f"{record['id']}.json").write_text(json.dumps(record))


def _record(chance: random.Random, ecosystem: str, name: str, number: int) -> dict[str, Any]:
    turn = chance.randrange(6)
    if ecosystem == "Debian":
        fixed = f"2.{chance.randrange(40)}.1-{3 + turn}+deb12u{1 + turn}"
        releases = ["Debian:11", "Debian:12", "Debian:13"]
    else:
        fixed = f"{1 + chance.randrange(5)}.{turn}.2"
        releases = ["PyPI"]
    events: list[dict[str, str]] = [{"introduced": "0"}]
    if chance.random() < 0.8:
        events.append({"fixed": fixed})
    impact = chance.choice("HLN")
    return {
        "schema_version": "1.7.3",
        "id": f"{ecosystem.upper()}-CVE-2026-{number:05}",
        "modified": f"2026-{1 + number % 12:02}-01T00:00:00Z",
        "published": "2026-01-01T00:00:00Z",
        "upstream": [f"CVE-2026-{number:05}"],
        "details": "A hole in something, through which somebody can do what nobody wants. " * 8,
        "severity": [
            {"type": "CVSS_V3", "score": f"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:{impact}/I:N/A:H"}
        ],
        "affected": [
            {
                "package": {"ecosystem": release, "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
                "versions": [f"2.{at % 40}.1-{at}" for at in range(20)],
            }
            for release in releases
        ],
    }


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--debian", type=int, default=30_000)
    parser.add_argument("--pypi", type=int, default=15_000)
    chosen = parser.parse_args()
    write(chosen.folder, debian=chosen.debian, pypi=chosen.pypi)


if __name__ == "__main__":
    main()
