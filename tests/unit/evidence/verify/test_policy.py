from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical
from buildkit.errors import InputError, PolicyError
from buildkit.evidence import policy
from buildkit.evidence.policykeys import TABLES
from buildkit.evidence.policytypes import Identity, Policy

DOCS = Path(__file__).parents[4] / "docs"
VALIDATOR = jsonschema.Draft202012Validator(policy.schema())
IDENTITY = '[[trust.identities]]\nissuer = "https://a.example.org"\nsubject = "x@example.org"\n'
ROOT = '[trust]\nroot = "root.json"\nroot_obtained = 2026-11-01\n'

# What is wrong, the path it is told by, its line.
MISTAKES = {
    "": ("schema", 0),
    "schema = 2": ("schema", 1),
    "schema = 1\nx = 1": ("x", 2),
    "schema = 1\n[require]\nevidnce = []": ("require.evidnce", 3),
    "schema = 1\n[require]\nevidence = []": ("require.evidence", 3),
    'schema = 1\n[require]\nevidence = ["sbom"]': ("require.evidence[0]", 3),
    'schema = 1\n[require]\nplatforms = ["linux/riscv64"]': ("require.platforms[0]", 3),
    "schema = 1\n[require]\nsignatures = 0": ("require.signatures", 3),
    "schema = 1\n[require]\nsignatures = true": ("require.signatures", 3),
    'schema = 1\n[require]\nmodel = "yes"': ("require.model", 3),
    'schema = 1\n[trust]\nkeys = ["/etc/key.pub"]': ("trust.keys[0]", 3),
    'schema = 1\n[trust]\nkeys = ["a.pub", "a.pub"]': ("trust.keys[1]", 3),
    "schema = 1\n[trust]\nown_keys = false": ("trust.own_keys", 3),
    "schema = 1\n[trust]\nroot_obtained = 2026-11-01T00:00:00Z": ("trust.root_obtained", 3),
    'schema = 1\n[trust]\nroot_obtained = "2026-11-01"': ("trust.root_obtained", 3),
    'schema = 1\n[trust]\nroot = "root.json"\nroot_obtained = 2026-11-01': ("trust.root", 3),
    f'schema = 1\n[trust]\nroot = "root.json"\n{IDENTITY}': ("trust.root", 3),
    f"schema = 1\n{IDENTITY}": ("trust.identities", 2),
    'schema = 1\n[trust]\nidentities = "me"': ("trust.identities", 3),
    'schema = 1\n[trust]\nidentities = ["me"]': ("trust.identities[0]", 3),
    f"schema = 1\n{ROOT}{IDENTITY}x = 1": ("trust.identities[0].x", 8),
    f"schema = 1\n{ROOT}[[trust.identities]]\nissuer = 'https://a.b'\nsubject = '**'": (
        "trust.identities[0].subject",
        7,
    ),
    f"schema = 1\n{ROOT}[[trust.identities]]\nissuer = 'https://a.b'": (
        "trust.identities[0].subject",
        5,
    ),
    'schema = 1\n[rebuilders]\nkeys = ["a.pub"]': ("rebuilders", 2),
    'schema = 1\n[builder]\nids = ["x"]\n[require]\nevidence = ["spdx"]': ("builder.ids", 3),
    'schema = 1\n[materials]\nforbid = ["numpy"]': ("materials.forbid[0]", 3),
    "schema = 1\n[smoke]\ndevices = 1": ("smoke.devices", 3),
    "schema = 1\n[smoke]\ntargets = []\ndevices = 1": ("smoke.devices", 4),
    'schema = 1\n[smoke]\ntargets = ["pi5"]': ("smoke", 2),
    'schema = 1\n[smoke]\ntargets = ["pi9"]\ndevices = 1': ("smoke.targets[0]", 3),
    'schema = 1\n[smoke]\ntarget = "pi5"': ("smoke.target", 3),
    'schema = 1\n[smoke]\ntargets = ["pi5"]\ndevices = -1': ("smoke.devices", 4),
    'schema = 1\n[smoke]\ntargets = ["pi5"]\ndevices = 1\ndays = 0': ("smoke.days", 5),
    'schema = 1\n[accept]\nothers = "allow"': ("accept.others", 3),
    "schema = 1\n[accept]\nstatements = []": ("accept.statements", 3),
    "schema = 1\ntrust = 1": ("trust", 2),
}
# Rules between keys, which JSON Schema is not asked to know.
BEYOND = ("trust.own_keys", "trust.root", "trust.identities", "rebuilders", "builder.ids", "smoke")


def _parse(text: str) -> Policy:
    return policy.parse(text.encode(), "policy.toml")


def _refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        _parse(text)
    return caught.value


def test_one_line_is_the_built_in_policy() -> None:
    found, built_in = _parse("schema = 1"), Policy()
    for name in TABLES:
        assert getattr(found, name) == getattr(built_in, name)
    assert found.trust.counts_own
    assert built_in.name == "built in"


def test_who_is_named_replaces_ones_own_keys() -> None:
    assert not _parse('schema = 1\n[trust]\nkeys = ["a.pub"]').trust.counts_own
    assert not _parse(f"schema = 1\n{ROOT}{IDENTITY}").trust.counts_own
    both = _parse('schema = 1\n[trust]\nkeys = ["a.pub"]\nown_keys = true')
    assert both.trust.counts_own


def test_identities_and_the_age_of_their_root() -> None:
    found = _parse(f"schema = 1\n{ROOT}{IDENTITY}").trust
    assert found.identities == (Identity(issuer="https://a.example.org", subject="x@example.org"),)
    assert found.root_obtained == date(2026, 11, 1)


@pytest.mark.parametrize(("text", "where"), MISTAKES.items())
def test_mistakes_are_told_with_path_and_line(text: str, where: tuple[str, int]) -> None:
    (problem,) = _refused(text).problems
    assert (problem.path, problem.line) == where
    assert problem.remedy


def test_all_mistakes_at_once() -> None:
    text = "schema = 1\nx = 1\n[require]\nsignatures = 99\nmodel = 1\n[accept]\nothers = 3"
    found = _refused(text)
    assert [each.line for each in found.problems] == [2, 4, 5, 7]
    assert found.exit_code == 2


@pytest.mark.parametrize(("text", "where"), MISTAKES.items())
def test_the_schema_refuses_what_the_reader_refuses(text: str, where: tuple[str, int]) -> None:
    if where[0] in BEYOND or text.endswith("\ndevices = 1") or where[0].endswith(".subject"):
        return
    document = json.loads(json.dumps(tomli.loads(text), default=str))
    if where[0] == "trust.root_obtained":
        return  # a date is no kind of its own in JSON
    assert not VALIDATOR.is_valid(document)


def test_the_documented_policy_is_one_and_names_every_key() -> None:
    text = (DOCS / "policy.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    _parse(example)
    document: Any = json.loads(json.dumps(tomli.loads(example), default=str))
    VALIDATOR.validate(document)
    for name, table in TABLES.items():
        assert document[name].keys() == table.keys.keys()
        for key in table.keys:
            assert f"| `{name}.{key}` |" in text


def test_the_published_schema_is_the_one_that_is_meant() -> None:
    written = canonical.dump_pretty(policy.schema())
    assert (DOCS / "policy.schema.json").read_bytes() == written, (
        "write canonical.dump_pretty(policy.schema()) to docs/policy.schema.json"
    )


@pytest.mark.parametrize("make", ["nothing", "folder", "huge", "latin"])
def test_a_file_that_cannot_be_a_policy(make: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    if make == "folder":
        file.mkdir()
    elif make == "huge":
        file.write_bytes(b"#" * (1 << 20))
    elif make == "latin":
        file.write_bytes(b"# \xff")
    with pytest.raises(InputError) as caught:
        policy.load(file)
    assert caught.value.remedy
    with pytest.raises(InputError):
        policy.load(Path("a\0b"))


@given(st.text(max_size=200) | st.sampled_from(sorted(MISTAKES)).map(lambda text: text[:-1]))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    try:
        policy.parse(text.encode("utf-8", "replace"), "policy.toml")
    except InputError:
        return
