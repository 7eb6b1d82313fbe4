from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InputError
from buildkit.registry import Reference, parse

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST = st.one_of(
    st.just("localhost"),
    st.lists(LABEL, min_size=2, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda each: f"[{each}]"),
)
PORT = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
PART = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join).filter(lambda name: len(name) < 256)
END = st.one_of(
    st.just(""),
    st.from_regex(r":[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True),
    st.from_regex(r"@sha256:[0-9a-f]{64}", fullmatch=True),
)


@given(HOST, PORT, NAME, END)
def test_what_is_right_is_read_and_written_the_same(
    host: str, port: str, name: str, end: str
) -> None:
    found = parse(f"{host}{port}/{name}{end}")
    assert str(found) == f"{host}{port}/{name}{end}"
    assert (found.host, found.repository, found.pointer) == (host + port, name, end[1:])


@given(st.text(max_size=80))
def test_whatever_is_typed_is_a_name_or_an_input_error(text: str) -> None:
    try:
        found = parse(text)
    except InputError:
        return
    assert str(found) == text


@given(st.text(alphabet="a.:/@[]0-_A%?#\n ", max_size=40))
def test_near_misses(text: str) -> None:
    try:
        found = parse(text)
    except InputError:
        return
    assert str(found) == text
    assert not set(found.host) & set("/@%?# \n")
    assert not set(found.repository) & set("@:%?# \n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("digits:1.0.0", "no registry host"),
        ("team/digits:1.0.0", "no registry host"),
        ("https://h.example/digits", "scheme"),
        ("h.example:0/digits", "not a host"),
        ("h.example:65536/digits", "not a host"),
        ("user@h.example/digits", "not a host"),
        ("H.example/digits", "not a host"),
        ("h.example/Digits", "not a repository"),
        ("h.example/../digits", "not a repository"),
        ("h.example/a//b", "not a repository"),
        ("h.example/digits:", "not a tag"),
        ("h.example/digits:1.0\n", "not a tag"),
        ("h.example/digits@sha256:12", "not a SHA-256"),
        ("h.example/digits:1@sha256:" + "0" * 64, "both"),
        ("[fe80::1%eth0]/digits", "not a host"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(text)


def test_parts() -> None:
    assert parse("h.example:5000/team/digits:1.0.0") == Reference(
        host="h.example:5000", repository="team/digits", tag="1.0.0"
    )
