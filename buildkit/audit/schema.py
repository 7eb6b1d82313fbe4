"""The tables of the index: SQLite and PostgreSQL alike. Data.

A row's number comes from what it names, so that the same facts give the same rows on every machine,
whoever writes first, and a writer need not ask for numbers (`number`). ``docs/audit-schema.md``
explains each column to people who write SQL of their own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Value = TypeVar("Value", bound=Any)

VERSION = 3

# SQLite takes 32,766 values in one statement.
_AT_ONCE = 10_000

METADATA = MetaData()

# In SQLite only `INTEGER PRIMARY KEY` is the row's own number; any other key is looked up twice.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")
# By bytes, as SQLite compares: the same order of answers, and beginnings of digests find an index.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
# A table without rows' numbers (`sqlite_with_rowid`) stands in the tree of its key.


def number(*parts: str) -> int:
    """The number of the row that these texts name: the first 63 bits of their SHA-256.

    Every table holds the texts too; whoever writes makes sure that a number does not stand for
    others already, because two texts can be made to share one.
    """
    state = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(state.digest()[:8], "big") >> 1


def chunks(values: Iterable[Value]) -> Iterator[list[Value]]:
    """What rows are looked for by, each once, in order, and as many as one question takes."""
    rest = sorted(set(values))
    for at in range(0, len(rest), _AT_ONCE):
        yield rest[at : at + _AT_ONCE]


def _id() -> Column[int]:
    return Column("id", _NUMBER, primary_key=True, autoincrement=False)


def _to(name: str, table: str, *, null: bool = False) -> Column[int]:
    return Column(name, _NUMBER, ForeignKey(f"{table}.id"), nullable=null)


def _of_statement() -> Column[int]:
    to = ForeignKey("statement.id")
    return Column("statement", _NUMBER, to, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False)


def _count(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, _NUMBER, nullable=null)


# What the index is of: ``schema``, ``policy`` (digest of the policy whose signers count), …
META = Table("meta", METADATA, Column("key", _TEXT, primary_key=True), _text("value"))

# Stores and repositories, and how far each was read.
SOURCE = Table(
    "source", METADATA, _id(), Column("name", _TEXT, unique=True, nullable=False), _text("state")
)

# Manifests and indexes: role is image, platform, models, model.
ARTIFACT = Table(
    "artifact",
    METADATA,
    _id(),
    Column("digest", _TEXT, unique=True, nullable=False),
    _text("role"),
    _text("name"),
    _text("version"),
    # Platform of a platform, target of a model; else empty.
    _text("variant"),
    # Digest of the lock that it was made from.
    _text("lock"),
    _count("size"),
    Index("artifact_name", "name", "version"),
    Index("artifact_lock", "lock"),
)

# An image has platforms (role platform) and an index of models (models), which has variants (role
# model).
PART = Table(
    "part",
    METADATA,
    _to("parent", "artifact"),
    _to("child", "artifact"),
    _text("role"),
    PrimaryKeyConstraint("parent", "child"),
    Index("part_child", "child"),
    sqlite_with_rowid=False,
)

# Where it is, under which names (empty when it has none of its own there).
PRESENCE = Table(
    "presence",
    METADATA,
    _to("source", "source"),
    _to("artifact", "artifact"),
    _text("name"),
    PrimaryKeyConstraint("source", "artifact", "name"),
    Index("presence_artifact", "artifact"),
    Index("presence_name", "name"),
    sqlite_with_rowid=False,
)

# Keys, identities and devices that signed something: kind is key, identity or device; state is
# active, old, retired, device, named (by the policy) or unknown.
SIGNER = Table(
    "signer",
    METADATA,
    _id(),
    Column("name", _TEXT, unique=True, nullable=False),
    _text("kind"),
    # Id of the key; subject of an identity.
    _text("subject"),
    # Of an identity.
    _text("issuer"),
    # What people call it.
    _text("label"),
    _text("state"),
)

# One bundle: a statement and who signed it. `reason` is empty exactly when it is true: signed
# rightly, by somebody who counts, well-formed, and about what it hangs on.
STATEMENT = Table(
    "statement",
    METADATA,
    _id(),
    Column("bundle", _TEXT, unique=True, nullable=False),
    # Digest of the signed bytes: several who say the same share it. Empty when it cannot be read.
    _text("payload"),
    # Word of `evidence.kinds`, or `promotion`; else the predicate type, or empty.
    _text("kind"),
    _to("signer", "signer", null=True),
    # As it says itself: seconds since 1970.
    _count("time", null=True),
    # A word of `evidence.reasons`, and a sentence.
    _text("reason"),
    _text("message"),
    Index("statement_payload", "payload"),
    Index("statement_kind", "kind", "reason", "time"),
    Index("statement_signer", "signer", "kind", "time"),
    Index("statement_reason", "reason"),
)

# What a statement is about. One that is refused: what it hangs on.
ABOUT = Table(
    "about",
    METADATA,
    _to("statement", "statement"),
    _to("artifact", "artifact"),
    PrimaryKeyConstraint("statement", "artifact"),
    Index("about_artifact", "artifact"),
    sqlite_with_rowid=False,
)

# Where the bundle is, the manifest that carries it there, and what that hangs on (nothing for a
# journal).
CARRIED = Table(
    "carried",
    METADATA,
    _to("source", "source"),
    _to("statement", "statement"),
    _text("manifest"),
    _to("subject", "artifact", null=True),
    PrimaryKeyConstraint("source", "statement", "manifest"),
    Index("carried_statement", "statement"),
    Index("carried_subject", "subject"),
    sqlite_with_rowid=False,
)

# What a bundle was held against, so that it is judged again when that comes or goes: of a statement
# that is true what was looked for in vain, of one that is refused all. `kind` is manifest or blob.
SOUGHT = Table(
    "sought",
    METADATA,
    _to("source", "source"),
    _text("manifest"),
    _text("digest"),
    _text("kind"),
    Column("found", Integer, nullable=False),
    PrimaryKeyConstraint("source", "manifest", "digest", "kind", "found"),
    sqlite_with_rowid=False,
)

# A package in one form, as SBOMs name it.
PACKAGE = Table(
    "package",
    METADATA,
    _id(),
    _text("purl"),
    # deb, pypi, generic, …
    _text("type"),
    _text("name"),
    _text("version"),
    # SPDX expression; empty when nobody knows.
    _text("licence"),
    # Of its file; empty when the SBOM names none.
    _text("sha256"),
    UniqueConstraint("purl", "licence", "sha256"),
    Index("package_name", "name", "type"),
    Index("package_sha256", "sha256"),
    Index("package_licence", "licence"),
)

# What is inside: a platform's manifest or a model, a package, and the SBOM that says so.
HOLDS = Table(
    "holds",
    METADATA,
    _to("package", "package"),
    _to("artifact", "artifact"),
    _to("statement", "statement"),
    PrimaryKeyConstraint("package", "artifact", "statement"),
    Index("holds_artifact", "artifact"),
    Index("holds_statement", "statement"),
    sqlite_with_rowid=False,
)

# Something that went into a build: provenance's resolved and builder dependencies.
MATERIAL = Table(
    "material",
    METADATA,
    _id(),
    _text("name"),
    _text("uri"),
    # ``sha256:…``, ``nix:…``; empty for a commit.
    _text("digest"),
    # Of a git repository.
    _text("commit"),
    UniqueConstraint("name", "uri", "digest", "commit"),
    Index("material_name", "name"),
    Index("material_digest", "digest"),
    Index("material_uri", "uri"),
    Index("material_commit", "commit"),
)

# One provenance statement; what it made is in `about`.
BUILD = Table(
    "build",
    METADATA,
    _of_statement(),
    _text("recipe"),
    _text("version"),
    _text("recipe_digest"),
    _text("lock"),
    _text("builder"),
    _text("revision"),
    Index("build_lock", "lock"),
)

MADE_FROM = Table(
    "made_from",
    METADATA,
    _to("material", "material"),
    _to("build", "statement"),
    # ``platform linux/arm64 debian``, …: several joined with `, `.
    _text("uses"),
    PrimaryKeyConstraint("material", "build"),
    Index("made_from_build", "build"),
    sqlite_with_rowid=False,
)

# One test result as one device saw it; who signed it is in `statement`, once for each signer.
RUN = Table(
    "run",
    METADATA,
    _of_statement(),
    # Signer of kind device among all who signed these bytes; nothing for a run on no device.
    _to("device", "signer", null=True),
    _text("target"),
    _to("image", "artifact"),
    _to("model", "artifact"),
    # PASSED, WARNED, FAILED.
    _text("result"),
    # ``local``, ``stand-in``, or empty for a board.
    _text("mark"),
    _count("began"),
    _count("ended"),
    _text("board"),
    _text("kernel"),
    _text("firmware"),
    _count("p50_ns", null=True),
    _count("p95_ns", null=True),
    _text("profile"),
    Index("run_image", "image", "ended"),
    Index("run_model", "model", "ended"),
    Index("run_device", "device", "ended"),
    Index("run_target", "target", "ended"),
)

# What a gate decided.
VERDICT = Table(
    "verdict",
    METADATA,
    _of_statement(),
    _text("outcome"),
    _count("at"),
    _to("image", "artifact"),
    _to("model", "artifact"),
    Index("verdict_at", "outcome", "at"),
    Index("verdict_image", "image", "at"),
    Index("verdict_model", "model", "at"),
)

# About which devices a gate decided.
JUDGED = Table(
    "judged",
    METADATA,
    _to("verdict", "statement"),
    _text("target"),
    _text("device"),
    _text("key"),
    PrimaryKeyConstraint("verdict", "target", "key"),
    Index("judged_key", "key"),
    sqlite_with_rowid=False,
)

# And from which test results, by the digest of the signed bytes.
WEIGHED = Table(
    "weighed",
    METADATA,
    _to("verdict", "statement"),
    _text("payload"),
    PrimaryKeyConstraint("verdict", "payload"),
    Index("weighed_payload", "payload"),
    sqlite_with_rowid=False,
)

# One move of a channel, out of its journal.
PROMOTION = Table(
    "promotion",
    METADATA,
    _of_statement(),
    _text("channel"),
    _text("place"),
    Column("number", Integer, nullable=False),
    _to("image", "artifact"),
    _to("models", "artifact"),
    _count("at"),
    _text("policy"),
    Column("restores", Integer, nullable=False),
    # Digest of the signed bytes of the record before; empty for the first.
    _text("previous"),
    Index("promotion_channel", "channel", "place", "number", "at"),
    Index("promotion_image", "image", "at"),
)
