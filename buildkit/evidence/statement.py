"""in-toto Statement v1: what is said (a predicate) about which bytes (subjects).

Source: in-toto Attestation Framework, spec/v1/statement.md and resource_descriptor.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import EvidenceError
from buildkit.evidence import strict
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE = "https://in-toto.io/Statement/v1"
# cosign 2 writes this one; accepted only where a policy says so.
OLDER_TYPE = "https://in-toto.io/Statement/v0.1"
PAYLOAD_TYPE = media.STATEMENT

_KEYS = {"_type", "subject", "predicateType", "predicate"}
_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_SUBJECTS = 1024


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Subject:
    """One thing that a statement is about.

    Attributes:
        name: for people; the digest alone decides.
        digest: ``sha256:<hex>``.
    """

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A statement that holds together.

    Attributes:
        subjects: at least one, each digest once.
        predicate_type: what kind of thing is said.
        predicate: what is said, as JSON.
        type: `TYPE` or `OLDER_TYPE`.
    """

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]
    type: str = TYPE

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical.dump(
            {
                "_type": self.type,
                "subject": [
                    {"name": each.name, "digest": {"sha256": each.digest.removeprefix("sha256:")}}
                    for each in self.subjects
                ],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    def is_about(self, digest: str) -> bool:
        """Whether `digest` is one of the subjects."""
        return any(each.digest == digest for each in self.subjects)


def parse(payload: bytes, what: str, *, older: bool = False) -> Statement:
    """Read a statement that somebody signed.

    Args:
        payload: the bytes under the signature.
        what: for the message.
        older: accept Statement v0.1 too.

    Raises:
        EvidenceError: too large, not JSON, of another version, or it does not hold together:
            no subject, a subject without SHA-256, a digest twice, a key that is not the
            specification's.
    """
    document = strict.load(payload, what)
    if not isinstance(document, dict):
        raise _refused(what, "not an object")
    kind = document.get("_type")
    if kind != TYPE and not (older and kind == OLDER_TYPE):
        raise _refused(what, f"statement of type {kind!r}, not {TYPE}")
    if unknown := sorted(document.keys() - _KEYS):
        raise _refused(what, f"unknown key {unknown[0]!r}")
    predicate_type, predicate = document.get("predicateType"), document.get("predicate")
    if not isinstance(predicate_type, str) or ":" not in predicate_type:
        raise _refused(what, "`predicateType` is not a URI")
    if not isinstance(predicate, dict):
        raise _refused(what, "`predicate` is not an object")
    listed = document.get("subject")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_SUBJECTS:
        raise _refused(what, f"`subject` is not a list of 1 to {_MOST_SUBJECTS} subjects")
    subjects = tuple(_subject(each, f"{what}: subject[{at}]") for at, each in enumerate(listed))
    if len({each.digest for each in subjects}) != len(subjects):
        raise _refused(what, "one digest stands twice among the subjects")
    return Statement(
        subjects=subjects, predicate_type=predicate_type, predicate=predicate, type=kind
    )


def _subject(value: Any, where: str) -> Subject:
    if not isinstance(value, dict):
        raise _refused(where, "not an object")
    name, digest = value.get("name", ""), value.get("digest")
    if not isinstance(name, str):
        raise _refused(where, "`name` is not a text")
    sha256 = digest.get("sha256") if isinstance(digest, dict) else None
    if not isinstance(sha256, str) or _HEX.fullmatch(sha256) is None:
        raise _refused(where, "no SHA-256 digest")
    return Subject(name=name, digest=f"sha256:{sha256}")


def _refused(where: str, why: str) -> EvidenceError:
    return EvidenceError(Reason.STATEMENT, f"{where}: {why}")
