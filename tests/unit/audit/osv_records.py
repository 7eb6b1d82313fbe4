"""OSV records of our own making."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def record(
    number: int = 1,
    name: str = "libc6",
    ecosystem: str = "Debian:12",
    **more: Any,
) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.0-2"}]}],
    }
    return {
        "schema_version": "1.7.0",
        "id": f"TEST-{number}",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [affected],
        **more,
    }


def write(folder: Path, *records: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for each in records:
        (folder / f"{each['id']}.json").write_text(json.dumps(each))
    return folder
