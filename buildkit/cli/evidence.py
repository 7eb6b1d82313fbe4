"""``evidence``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.cli import render, stores
from buildkit.errors import BuildkitError, EvidenceError, InputError
from buildkit.evidence import bundle, kinds, referrers, statement

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from buildkit.records import Descriptor
    from buildkit.store import Store

_SHOWN = ("about", "digest", "kind", "signer", "bundle")
_NOTES = """\
Shown as it stands in the store: `python -m buildkit verify` says whether it is true.

examples:
  python -m buildkit evidence digits:1.0.0
  python -m buildkit evidence digits:1.0.0 --kind provenance
  python -m buildkit evidence digits:1.0.0 --kind cyclonedx --about linux/arm64 > sbom.json
  python -m buildkit evidence digits-model:1.0.0 --kind spdx
  python -m buildkit evidence digits:1.0.0 --kind test-result --about sha256:0123…
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model: name, digest, or its first hex digits")
    parser.add_argument(
        "--kind", metavar="KIND", help=f"print what is said: {', '.join(sorted(kinds.BY_NAME))}"
    )
    parser.add_argument(
        "--about",
        metavar="PART",
        help="only what is said about one platform or digest, or what one bundle says",
    )
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """List what is said, or print one predicate."""
    store = stores.chosen(options)
    top = store.resolve(options.ref)
    if options.kind is not None and options.kind not in kinds.BY_NAME:
        msg = f"{options.kind!r} is no kind of evidence"
        raise InputError(msg, f"one of: {', '.join(sorted(kinds.BY_NAME))}")
    rows = [row for row in _rows(store, top) if _wanted(row, options)]
    if options.kind is not None:
        return _print(rows, options)
    if options.json:
        listed = [{key: row[key] for key in _SHOWN} for row in rows]
        render.document({"digest": top.digest, "evidence": listed})
    elif rows:
        heads = ("about", "kind", "signed by", "bundle")
        cells = [(row["about"], row["kind"], row["signer"], row["bundle"]) for row in rows]
        print(render.table([heads, *cells]))
    else:
        print("nothing is said about it")
    return 0


def _wanted(row: dict[str, Any], options: argparse.Namespace) -> bool:
    about = (None, row["about"], row["digest"], row["bundle"])
    return options.about in about and options.kind in (None, row["kind"])


def _print(rows: list[dict[str, Any]], options: argparse.Namespace) -> int:
    # What several signed is said once.
    found = {row["said"]: row for row in rows if "said" in row}
    if len(found) != 1:
        msg = f"{len(found)} statements of kind {options.kind} about {options.ref}"
        raise InputError(msg, _which(list(found.values())))
    (row,) = found.values()
    render.document(row["predicate"])
    return 0


def _which(rows: list[dict[str, Any]]) -> str:
    """How to name one statement: by its part, and where a part has several, by their bundles."""
    parts = [row["about"] for row in rows]
    names = sorted({each if parts.count(each) == 1 else "" for each in parts} - {""})
    names += [f"{row['bundle']} ({row['about']})" for row in rows if parts.count(row["about"]) > 1]
    return f"say which: --about, and one of {', '.join(names)}" if names else ""


def _rows(store: Store, top: Descriptor) -> Iterator[dict[str, Any]]:
    for node in store.walk(top):
        if node.links is None:
            continue
        part = node.descriptor
        about = part.platform or node.role
        for found in referrers.find(store, part.digest):
            yield {"about": about, "digest": part.digest, **_row(found)}


def _row(found: referrers.Found | EvidenceError) -> dict[str, Any]:
    try:
        if isinstance(found, EvidenceError):
            raise found
        what = f"bundle {found.digest}"
        signed = bundle.parse(found.bundle, what)
        said = statement.parse(signed.envelope.payload, what, older=True)
    except BuildkitError as error:
        return {"kind": "unreadable", "signer": "", "bundle": error.message}
    kind = kinds.BY_TYPE.get(said.predicate_type)
    return {
        "kind": kind.name if kind else said.predicate_type,
        "signer": f"key {signed.key_hint}" if signed.key_hint else "a certificate",
        "bundle": found.digest,
        "predicate": said.predicate,
        "said": digests.of_bytes(signed.envelope.payload),
    }
