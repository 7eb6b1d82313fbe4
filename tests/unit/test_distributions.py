"""Names of Python distributions are compared as the index compares them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from buildkit import distributions


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True))
def test_as_the_library_of_pypa_does(name: str) -> None:
    assert distributions.normal(name) == canonicalize_name(name)


def test_every_run_of_marks_is_one_dash() -> None:
    assert distributions.normal("Typing__Extensions.x") == "typing-extensions-x"
