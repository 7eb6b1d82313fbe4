"""Names like ours lead to what they name."""

from __future__ import annotations

import pytest

from buildkit.evidence.names import misleads


@pytest.mark.parametrize(
    ("ref", "is_model", "called"),
    [
        ("tiny:1.0.0", False, ""),
        ("HOST:5000/shelf/tiny:1.0.0", False, ""),
        ("tiny:1.1.0", False, "tiny:1.0.0"),
        ("HOST:5000/shelf/tiny:1.1.0", False, "tiny:1.0.0"),
        ("other:1.0.0", False, "tiny:1.0.0"),
        ("tiny-model:1.0.0", False, "tiny:1.0.0"),
        ("tiny:1.0.0-model", False, "tiny:1.0.0"),
        ("tiny-model:1.0.0", True, ""),
        ("HOST:5000/tiny:1.0.0-model", True, ""),
        ("HOST:5000/tiny:1.1.0-model", True, "tiny-model:1.0.0"),
        ("tiny:1.0.0", True, "tiny-model:1.0.0"),
        # Tags of one's own are no versions.
        ("tiny:stable", False, ""),
        ("other:2026", False, ""),
        ("1.2.3", False, ""),
    ],
)
def test_a_name_and_what_it_leads_to(ref: str, *, is_model: bool, called: str) -> None:
    assert misleads(ref, title="tiny", version="1.0.0", is_model=is_model) == called
