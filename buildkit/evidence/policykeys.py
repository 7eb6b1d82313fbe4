"""Every key of ``policy.toml``, once: reader, JSON Schema and documentation all go by this table.

Defaults stand in the records of `buildkit.evidence.policy`, whose fields have the names of the
keys.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit.evidence import kinds
from buildkit.evidence.policytypes import (
    SCHEMA_VERSION,
    Accept,
    Builder,
    Identity,
    Made,
    Materials,
    Rebuilders,
    Require,
    Smoke,
    Trust,
)
from buildkit.recipe import TARGETS, forms
from buildkit.recipe.forms import Form
from buildkit.recipe.kinds import Choice, Flag, Many, Number, RelativePath, Text
from buildkit.recipe.notes import shown
from buildkit.recipe.table import Table
from buildkit.records import PLATFORMS

if TYPE_CHECKING:
    from buildkit.recipe.locate import KeyPath
    from buildkit.recipe.notes import Notes

_TEXT = Form(
    r"[^\u0000-\u001f\u007f]{1,400}",
    "one line of text, in which `*` stands for any characters",
    "shorten it, and leave out control characters",
)
_PURL = Form(
    r"pkg:[a-z][^\s\u0000-\u001f\u007f]{1,400}",
    "a package URL without qualifiers, in which `*` stands for any characters",
    'write one such as "pkg:pypi/numpy@*" or "pkg:deb/debian/*"',
)
_URI = Form(
    r"[a-z][a-z0-9+.-]*:[^\s\u0000-\u001f\u007f]{1,400}",
    "a URI",
    'write one such as "https://example.org/review/v1"',
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Identities:
    """An array of tables, each an `Identity`."""

    about: str

    @property
    def example(self) -> list[dict[str, str]]:
        return [
            {"issuer": "https://accounts.example.org", "subject": "https://example.org/acme/*"},
        ]

    def read(self, value: Any, path: KeyPath, notes: Notes) -> tuple[Identity, ...] | None:
        if not isinstance(value, list):
            notes.add(path, f"must be an array, is {shown(value)}", "write [[trust.identities]]")
            return None
        found = []
        for at, each in enumerate(value):
            here = (*path, at)
            if not isinstance(each, dict):
                remedy = 'write { issuer = "…", subject = "…" }'
                notes.add(here, f"must be a table, is {shown(each)}", remedy)
                continue
            for name in each.keys() - _IDENTITY.keys():
                notes.add((*here, name), "is not a known key", "known here: issuer, subject")
            said = {}
            for name, kind in _IDENTITY.items():
                if name in each:
                    said[name] = kind.read(each[name], (*here, name), notes)
                else:
                    remedy = f"write {name} = {shown(kind.example)}"
                    notes.add((*here, name), f"is missing: {kind.about}", remedy, missing=True)
            issuer, subject = said.get("issuer"), said.get("subject")
            if issuer and subject and not subject.strip("*"):
                notes.add((*here, "subject"), "names everybody", "name who signs")
            elif issuer and subject:
                found.append(Identity(issuer=issuer, subject=subject))
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    name: {"description": kind.about} | kind.schema()
                    for name, kind in _IDENTITY.items()
                },
                "required": list(_IDENTITY),
                "additionalProperties": False,
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Day:
    """A date of TOML."""

    about: str
    example: str

    def read(self, value: Any, path: KeyPath, notes: Notes) -> dt.date | None:
        # A date with a time of day is a date to Python.
        if type(value) is dt.date:
            return value
        notes.add(path, f"must be a date, is {shown(value)}", f"write {self.example}, unquoted")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date"}


_IDENTITY = {
    "issuer": Text(
        about="who vouches for the identity (the OpenID Connect issuer), exactly",
        form=_URI,
        example="https://accounts.example.org",
    ),
    "subject": Text(
        about="mail address or workflow; `*` stands for any characters",
        form=_TEXT,
        example="https://example.org/acme/shelf/.workflows/release.yml@refs/tags/*",
    ),
}


def _keys(about: str) -> Many:
    file = RelativePath(about="a PEM file", example="keys/release.pub", outside=True)
    return Many(about=about, item=file)


TABLES = {
    "trust": Table(
        about="whose signatures count",
        record=Trust,
        absent="defaults",
        keys={
            "own_keys": Flag(
                about="count the keys of one's own key ring; by default only if nobody is named",
                example=True,
            ),
            "keys": _keys("files of public keys (PEM), relative to the policy"),
            "identities": _Identities(about="who signs with a certificate in place of a key"),
            "root": RelativePath(
                about="the trust root that certificates are held against, relative to the policy",
                example="trusted_root.json",
                outside=True,
            ),
            "root_digest": Text(
                about="digest of that file", form=forms.DIGEST, example="sha256:" + "0" * 64
            ),
            "root_obtained": _Day(
                about="the day on which it was got from its owner",
                example="2026-11-01",
            ),
            "root_max_age": Number(
                about="days that the trust root may be old",
                low=1,
                high=3650,
                example=90,
                whole=True,
            ),
        },
    ),
    "require": Table(
        about="what must be there",
        record=Require,
        absent="defaults",
        keys={
            "evidence": Many(
                about="kinds of evidence for every platform and every model",
                item=Choice(about="a kind", options=tuple(kinds.BY_NAME), example="provenance"),
                least=1,
            ),
            "platforms": Many(
                about="platforms that the image must have",
                item=Choice(about="a platform", options=PLATFORMS, example="linux/arm64"),
            ),
            "signatures": Number(
                about="distinct signers of each piece of evidence",
                low=1,
                high=16,
                example=1,
                whole=True,
            ),
            "model": Flag(
                about="an image must name its model, and the model be there", example=True
            ),
        },
    ),
    "rebuilders": Table(
        about="who must have built the same bytes again",
        record=Rebuilders,
        absent="defaults",
        keys={
            "needed": Number(
                about="how many of them, none of whom signed the provenance",
                low=0,
                high=64,
                example=1,
                whole=True,
            ),
            "keys": _keys("files of public keys (PEM); by default those of [trust]"),
            "identities": _Identities(about="who signs with a certificate in place of a key"),
        },
    ),
    "materials": Table(
        about="what may go in",
        record=Materials,
        absent="defaults",
        keys={
            "allow": Many(
                about="package URLs; when there are any, all that goes in must be among them",
                item=Text(about="a package", form=_PURL, example="pkg:deb/debian/*"),
            ),
            "forbid": Many(
                about="package URLs that must not go in",
                item=Text(about="a package", form=_PURL, example="pkg:pypi/pillow@9.*"),
            ),
            "suites": Many(
                about="Debian suites that packages may come from",
                item=Text(about="a suite", form=forms.NAME, example="bookworm-security"),
            ),
        },
    ),
    "builder": Table(
        about="who may have built it",
        record=Builder,
        absent="defaults",
        keys={
            "ids": Many(
                about="builder ids as provenance names them; `*` stands for any characters",
                item=Text(about="an id", form=_TEXT, example="urn:edge-buildkit:builder:pinned:v1"),
            )
        },
    ),
    "recipe": Table(
        about="what it may be made of",
        record=Made,
        absent="defaults",
        keys={
            "names": Many(
                about="names of recipes",
                item=Text(about="a name", form=forms.NAME, example="digits"),
            )
        },
    ),
    "smoke": Table(
        about="on what it must have run",
        record=Smoke,
        absent="defaults",
        keys={
            "targets": Many(
                about="kinds of device, on each of which it must have passed",
                item=Choice(about="a target", options=tuple(TARGETS), example="pi5"),
            ),
            "devices": Number(
                about="how many devices of each target; 0 asks for none",
                low=0,
                high=1000,
                example=1,
                whole=True,
            ),
            "days": Number(
                about="days that a verdict may be old", low=1, high=3650, example=30, whole=True
            ),
            "keys": _keys("files of devices' public keys (PEM); by default those of the key ring"),
            "standins": Flag(about="count runs on stand-ins", example=False),
            "countersigned": Flag(
                about="a trusted signer must have signed the same test result", example=True
            ),
            "fail_blocks": Flag(
                about="a verdict FAIL takes away what passed before it", example=True
            ),
        },
    ),
    "accept": Table(
        about="what is let pass although it is not ours",
        record=Accept,
        absent="defaults",
        keys={
            "others": Choice(
                about="evidence that strangers rightly signed, or of a kind nobody knows",
                options=("refuse", "ignore"),
                example="ignore",
            ),
            "statements": Many(
                about="versions of in-toto statements; cosign writes v0.1",
                item=Choice(about="a version", options=("v1", "v0.1"), example="v1"),
                least=1,
            ),
            "predicate_types": Many(
                about="further kinds of evidence that trusted signers may add",
                item=Text(about="a URI", form=_URI, example="https://example.org/review/v1"),
            ),
        },
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Root:
    """The document, for the defaults of `Table`."""

    schema: int


POLICY = Table(
    about="Whose word counts, and what must be said before an artifact may run.",
    record=_Root,
    keys={
        "schema": Choice(about="form of this file", options=(SCHEMA_VERSION,), example=1),
        **TABLES,
    },
)
