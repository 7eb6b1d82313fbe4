"""Names of Python distributions."""

from __future__ import annotations

import re


def normal(name: str) -> str:
    """The form in which names are compared (PyPA, "Names and normalization"; PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
