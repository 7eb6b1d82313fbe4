"""What a statement says, as rows of the index. Pure; whether it is true is for `judge` to say."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.audit import schema, versions
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, promotion, provenance, shapes, smoke
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from buildkit.evidence.kinds import Kind
    from buildkit.evidence.statement import Statement

Row = dict[str, Any]

PROMOTION = "promotion"

# PostgreSQL finds no index for longer keys; nothing honest is as long.
_LONGEST = 1000
_SHORTER = 400
_LARGEST = (1 << 63) - 1
# Types of which the namespace says where a package is distributed, and not what it is called.
_BY_DISTRIBUTION = frozenset({"deb", "rpm", "apk", "alpm", "oci", "generic"})
_UNKNOWN = frozenset({"", "NOASSERTION", "NONE"})


@dataclass(kw_only=True, slots=True)
class Facts:
    """Rows that one statement gives, without its own number.

    Attributes:
        time: of which it speaks, in seconds since 1970.
        packages: of an SBOM.
        build: of a provenance; `materials` with it, each with its uses.
        materials: number → (row, uses).
        run: of a test result, without its device.
        verdict: of a verdict; `judged` and `weighed` with it.
        judged: rows.
        weighed: digests of signed test results.
        promotion: of a record of a channel.
        artifacts: digests of the artifacts that these rows name.
    """

    time: int | None = None
    packages: list[Row] = field(default_factory=list)
    build: Row | None = None
    materials: dict[int, tuple[Row, str]] = field(default_factory=dict)
    run: Row | None = None
    verdict: Row | None = None
    judged: list[Row] = field(default_factory=list)
    weighed: list[str] = field(default_factory=list)
    promotion: Row | None = None
    artifacts: tuple[str, ...] = ()


def clip(text: str, longest: int = _LONGEST) -> str:
    """A text that every database can hold and find: without zeros, cut when it is very long.

    Two long texts that differ stay different.
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if len(text) * 4 <= longest or len(data := text.encode("utf-8", "replace")) <= longest:
        return text
    kept = data[: longest - 24].decode("utf-8", "ignore")
    return f"{kept}…{hashlib.sha256(data).hexdigest()[:16]}"


def artifact(digest: str) -> int:
    """The number of an artifact."""
    return schema.number("artifact", digest)


def of_statement(said: Statement, kind: Kind | None, what: str) -> Facts:
    """Read what a statement says, strictly.

    Args:
        said: the statement; its signature was checked.
        kind: of it; nothing for a record of a channel, or what nobody here knows.
        what: for the message.

    Raises:
        EvidenceError: it is not as its kind asks for.
    """
    read = _READERS.get(said.predicate_type if kind is None else kind.predicate_type)
    return Facts() if read is None else read(said, what)


def payload_digest(payload: bytes) -> str:
    """By which the index names signed bytes."""
    return digests.of_bytes(payload)


def _started(said: Statement, what: str) -> Facts:
    del what
    return Facts(time=_told(said.predicate.get("started")))


def _rebuild(said: Statement, what: str) -> Facts:
    if said.predicate.get("identical") is not True:
        msg = f"{what}: it was built again, and it was different"
        raise EvidenceError(Reason.PREDICATE, msg)
    return Facts(time=_told(said.predicate.get("finished")))


# SBOMs ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1 << 14)
def package(purl: str, licence: str, sha256: str) -> Row:
    """A package; type, name and version are what its package URL says.

    The row is everybody's: nobody changes it.
    """
    purl, licence = clip(purl), clip(licence, _SHORTER)
    kind, name, version = _called(purl)
    return {
        "id": schema.number("package", purl, licence, sha256),
        "purl": purl,
        "type": kind,
        "name": name,
        "version": version,
        "licence": licence,
        "sha256": sha256,
    }


def _called(purl: str) -> tuple[str, str, str]:
    """Type, name and version of a package URL; what is none is a name."""
    found = versions.parse_url(purl)
    if not found.type or not found.name:
        return "", purl, ""
    whole = f"{found.namespace}/{found.name}" if found.namespace else found.name
    name = found.name if found.type in _BY_DISTRIBUTION else whole
    return found.type, name.replace("\0", "\ufffd"), found.version.replace("\0", "\ufffd")


def _bom(said: Statement, what: str) -> Facts:
    del what
    kind = kinds.BY_TYPE[said.predicate_type]
    is_cyclonedx = kind == kinds.CYCLONEDX
    # Whether all of it holds together, `across` asks, which reads it for the lock's sake anyway.
    rows = (_cyclonedx if is_cyclonedx else _spdx)(said.predicate)
    return Facts(packages=list({row["id"]: row for row in rows}.values()))


def _cyclonedx(document: Mapping[str, Any]) -> Iterator[Row]:
    for each in _objects(document.get("components", []), "components"):
        purl = each.get("purl", "")
        if not isinstance(purl, str):
            raise EvidenceError(Reason.PREDICATE, "a package URL of an SBOM is not a text")
        # What the whole is called is no package in it.
        if purl and not purl.startswith("pkg:oci/"):
            sums = _objects(each.get("hashes", []), "hashes")
            yield package(purl, _licence(each.get("licenses", [])), _sha256(sums, "alg", "content"))


def _licence(listed: Any) -> str:
    """One SPDX expression out of CycloneDX's list of licences."""
    words = []
    for each in _objects(listed, "licenses"):
        inner = each.get("license")
        inner = inner if isinstance(inner, dict) else {}
        found = each.get("expression") or inner.get("id") or inner.get("name")
        if isinstance(found, str) and found not in _UNKNOWN and found not in words:
            words.append(found)
    if len(words) == 1:
        return words[0]
    return " AND ".join(f"({each})" if " OR " in each else each for each in words)


def _spdx(document: Mapping[str, Any]) -> Iterator[Row]:
    for each in _objects(document.get("packages", []), "packages"):
        for reference in _objects(each.get("externalRefs", []), "externalRefs"):
            purl = reference.get("referenceLocator")
            if reference.get("referenceType") != "purl" or not isinstance(purl, str):
                continue
            if purl.startswith("pkg:oci/"):
                continue
            words = [each.get("licenseConcluded"), each.get("licenseDeclared")]
            told = [word for word in words if isinstance(word, str) and word not in _UNKNOWN]
            sums = _objects(each.get("checksums", []), "checksums")
            sha256 = _sha256(sums, "algorithm", "checksumValue")
            yield package(purl, told[0] if told else "", sha256)


def _sha256(sums: Iterable[Mapping[str, Any]], name: str, value: str) -> str:
    for each in sums:
        text = f"sha256:{each.get(value)}"
        if each.get(name) in ("SHA-256", "SHA256") and digests.is_digest(text):
            return text
    return ""


def _objects(value: Any, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise EvidenceError(Reason.PREDICATE, f"`{where}` of an SBOM is not a list of objects")
    return value


# Builds -----------------------------------------------------------------------------------------


def _provenance(said: Statement, what: str) -> Facts:
    read = provenance.read(said.predicate, what)
    external = said.predicate["buildDefinition"]["externalParameters"]
    revision = external.get("revision", "")
    found = Facts(
        build={
            "recipe": clip(read.recipe["name"]),
            "version": clip(read.recipe["version"]),
            "recipe_digest": clip(read.recipe["digest"]),
            "lock": clip(read.lock_digest),
            "builder": clip(read.builder),
            "revision": clip(revision) if isinstance(revision, str) else "",
        }
    )
    uses: dict[int, set[str]] = {}
    rows: dict[int, Row] = {}
    tools = said.predicate["runDetails"]["builder"].get("builderDependencies", [])
    for name, uri, digest, commit, used in (
        *((each.name, each.uri, each.digest, each.commit, each.uses) for each in read.materials),
        *_tools(tools),
    ):
        row = _material(name, uri, digest, commit)
        rows[row["id"]] = row
        uses.setdefault(row["id"], set()).update(used)
    found.materials = {
        number: (row, clip(", ".join(sorted(uses[number])))) for number, row in rows.items()
    }
    return found


@functools.lru_cache(maxsize=1 << 14)
def _material(name: str, uri: str, digest: str, commit: str) -> Row:
    texts = (clip(name, _SHORTER), clip(uri), clip(digest, _SHORTER), clip(commit, _SHORTER))
    keys = ("name", "uri", "digest", "commit")
    return {"id": schema.number("material", *texts), **dict(zip(keys, texts, strict=True))}


def _tools(listed: Any) -> Iterator[tuple[str, str, str, str, tuple[str, ...]]]:
    """The builder's own dependencies, as far as they are what `provenance` writes."""
    for each in listed if isinstance(listed, list) else []:
        row = each if isinstance(each, dict) else {}
        name, uri, digest = row.get("name"), row.get("uri", ""), row.get("digest", {})
        nix = digest.get("nixStorePath") if isinstance(digest, dict) else None
        if isinstance(name, str) and isinstance(uri, str):
            yield name, uri, f"nix:{nix}" if isinstance(nix, str) else "", "", ("builder",)


# Tests ------------------------------------------------------------------------------------------


def _run(said: Statement, what: str) -> Facts:
    saw = smoke.read_result(said, what)
    run = said.predicate["run"]
    report = run["report"] or {}
    ended = _seconds(saw.ended)
    return Facts(
        time=ended,
        run={
            "target": clip(saw.target),
            "image": artifact(saw.image),
            "model": artifact(saw.model),
            "result": saw.result,
            "mark": "local" if saw.local else "stand-in" if saw.standin else "",
            "began": _seconds(shapes.time(run["began"], what)),
            "ended": ended,
            "board": _inside(report, "board", "model"),
            "kernel": _inside(report, "board", "kernel", "release"),
            "firmware": _inside(report, "board", "firmware", "version"),
            "p50_ns": _number(report, "latency", "p50_ns"),
            "p95_ns": _number(report, "latency", "p95_ns"),
            "profile": _inside(run, "settings", "profile"),
        },
        artifacts=(saw.image, saw.model),
    )


def _verdict(said: Statement, what: str) -> Facts:
    read = smoke.read_verdict(said, what)
    # In the order in which every gate writes them: nothing else tells one from the other.
    image, model = (each.digest for each in said.subjects)
    judged: dict[tuple[str, str], Row] = {}
    for each in sorted(read.devices, key=lambda each: (each.target, each.key, each.name)):
        judged.setdefault(
            (each.target, each.key),
            {"target": clip(each.target), "device": clip(each.name), "key": each.key},
        )
    at = _seconds(read.at)
    return Facts(
        time=at,
        verdict={
            "outcome": read.outcome,
            "at": at,
            "image": artifact(image),
            "model": artifact(model),
        },
        judged=list(judged.values()),
        weighed=[f"sha256:{each}" for each in sorted(read.inputs)],
        artifacts=(image, model),
    )


def _promotion(said: Statement, what: str) -> Facts:
    read = promotion.read(said, what)
    at = _seconds(read.at)
    return Facts(
        time=at,
        promotion={
            "channel": read.channel,
            "place": clip(read.place),
            "number": read.number,
            "image": artifact(read.image),
            "models": artifact(read.models),
            "at": at,
            "policy": read.policy,
            "restores": read.restores,
            "previous": f"sha256:{read.previous}" if read.previous else "",
        },
        artifacts=(read.image, read.models),
    )


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def _told(value: Any) -> int | None:
    """A time that nobody relies on."""
    try:
        return _seconds(shapes.time(value, ""))
    except EvidenceError:
        return None


def _walk(document: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _inside(document: Any, *keys: str) -> str:
    """A text in a report; reports say ``{"unknown": why}`` where they do not know."""
    found = _walk(document, keys)
    return clip(found) if isinstance(found, str) else ""


def _number(document: Any, *keys: str) -> int | None:
    found = _walk(document, keys)
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return found if is_number and 0 <= found <= _LARGEST else None


_READERS = {
    kinds.CYCLONEDX.predicate_type: _bom,
    kinds.SPDX.predicate_type: _bom,
    kinds.PROVENANCE.predicate_type: _provenance,
    kinds.RUN.predicate_type: _started,
    kinds.REBUILD.predicate_type: _rebuild,
    kinds.TEST_RESULT.predicate_type: _run,
    kinds.VERDICT.predicate_type: _verdict,
    promotion.PREDICATE_TYPE: _promotion,
}
