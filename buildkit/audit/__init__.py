"""Answers an auditor out of an index of what verifies, which can be thrown away and made again.

    >>> from buildkit import audit
    >>> index = audit.open(".buildkit/audit.sqlite", readonly=True)
    >>> for found in audit.contains(index, "openssl<3.0.15").rows:
    ...     print(found.what, found.name, found.package, found.evidence)

Importing this costs nothing: what is asked for is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildkit.audit.database import Index, open  # noqa: A004 - as files are
    from buildkit.audit.queries.asked import sql
    from buildkit.audit.queries.channels import at, history
    from buildkit.audit.queries.gaps import gaps
    from buildkit.audit.queries.inside import contains
    from buildkit.audit.queries.origin import made_from, materials
    from buildkit.audit.queries.path import path
    from buildkit.audit.queries.status import status
    from buildkit.audit.queries.tried import devices, passed
    from buildkit.audit.queries.words import signed_by, who
    from buildkit.audit.types import (
        Answer,
        Cells,
        Counted,
        Gap,
        Holder,
        Made,
        Move,
        Passed,
        Seen,
        Signed,
        Source,
        Status,
        Step,
        Word,
    )

__all__ = [
    "Answer",
    "Cells",
    "Counted",
    "Gap",
    "Holder",
    "Index",
    "Made",
    "Move",
    "Passed",
    "Seen",
    "Signed",
    "Source",
    "Status",
    "Step",
    "Word",
    "at",
    "contains",
    "devices",
    "gaps",
    "history",
    "made_from",
    "materials",
    "open",
    "passed",
    "path",
    "signed_by",
    "sql",
    "status",
    "who",
]

_HOMES = {
    "database": ("Index", "open"),
    "queries.asked": ("sql",),
    "queries.channels": ("at", "history"),
    "queries.gaps": ("gaps",),
    "queries.inside": ("contains",),
    "queries.origin": ("made_from", "materials"),
    "queries.path": ("path",),
    "queries.status": ("status",),
    "queries.tried": ("devices", "passed"),
    "queries.words": ("signed_by", "who"),
    "types": (
        *("Answer", "Cells", "Counted", "Gap", "Holder", "Made", "Move", "Passed", "Seen"),
        *("Signed", "Source", "Status", "Step", "Word"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
