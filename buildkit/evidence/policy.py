"""``policy.toml``: whose word counts, and what must be said before an artifact may run. Strict.

Read with the tables of the recipe room: unknown keys are refused, all mistakes are told at once,
each with its line. ``docs/policy.md`` describes every key, ``docs/policy.schema.json`` is made from
the same table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.errors import PolicyError
from buildkit.evidence.policykeys import POLICY, TABLES
from buildkit.evidence.policytypes import SCHEMA_VERSION, Policy
from buildkit.recipe.editor import table_schema
from buildkit.recipe.file import opened, read
from buildkit.recipe.table import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.recipe.notes import Notes

_RECORDS: Mapping[str, type] = {name: table.record for name, table in TABLES.items()}


def load(file: Path) -> Policy:
    """Read a policy; the files that it names are not looked at.

    Raises:
        PolicyError: it has mistakes: all of them.
        InputError: there is no such file, or it is not text.
    """
    missing = "correct the path; without --policy the built-in one counts"
    data = read(file, "policy", missing=missing)
    return parse(data, str(file))


def parse(data: bytes, name: str) -> Policy:
    """Read a policy from bytes.

    Args:
        data: what the file holds; anything at all.
        name: of the file, for messages.

    Raises:
        PolicyError: it has mistakes: all of them.
        InputError: it is not text.
    """
    document, notes = opened(data, name, known=SCHEMA_VERSION, error=PolicyError)
    values = Reader(POLICY, notes).read(document)
    _check(values, notes)
    if problems := notes.problems():
        raise PolicyError(name, problems)
    tables = {key: record(**values[key]) for key, record in _RECORDS.items()}
    return Policy(name=name, digest=digests.of_bytes(data), **tables)


def schema() -> dict[str, Any]:
    """The schema of a policy (JSON Schema, draft 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "policy.toml of edge-buildkit",
    } | table_schema(POLICY)


def _check(values: Mapping[str, Any], notes: Notes) -> None:
    """The rules between keys; what is missing here was noted before."""
    trust, rebuilders = values.get("trust", {}), values.get("rebuilders", {})
    others = [*(trust.get("keys") or ()), *(trust.get("identities") or ())]
    if trust.get("own_keys") is False and not others:
        remedy = "name `keys` or `identities`, or let `own_keys` be true"
        notes.add(("trust", "own_keys"), "leaves nobody whose signature counts", remedy)
    for table, path in ((trust, "trust"), (rebuilders, "rebuilders")):
        if table.get("identities") and not notes.wrote("trust", "root"):
            remedy = 'write root = "trusted_root.json" in [trust]'
            notes.add((path, "identities"), "need a trust root to be held against", remedy)
    if trust.get("root") and not notes.wrote("trust", "root_obtained"):
        remedy = "write root_obtained = 2026-11-01, the day on which you got it from its owner"
        notes.add(("trust", "root"), "has no age without the day that it is from", remedy)
    named = any(notes.wrote(table, "identities") for table in ("trust", "rebuilders"))
    if trust.get("root") and not named:
        notes.add(("trust", "root"), "has no use without identities", "name some, or remove it")
    who = [*(rebuilders.get("keys") or ()), *(rebuilders.get("identities") or ())]
    if who and rebuilders.get("needed") == 0:
        notes.add(("rebuilders",), "names rebuilders and needs none", "write needed = 1")
    smoke = values.get("smoke", {})
    if smoke.get("devices") and not smoke.get("targets", True):
        notes.add(("smoke", "devices"), "of no target", 'write targets = ["pi5"]')
    if smoke.get("targets") and smoke.get("devices") == 0:
        notes.add(("smoke",), "names targets and asks for no devices", "write devices = 1")
    if values.get("builder", {}).get("ids") and "provenance" not in (
        values.get("require", {}).get("evidence") or ()
    ):
        remedy = 'add "provenance" to require.evidence'
        notes.add(("builder", "ids"), "are only known from provenance", remedy)
