"""``show``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from buildkit import amounts
from buildkit.cli import render, stores
from buildkit.evidence import kinds, referrers
from buildkit.store import REF_NAME

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from buildkit.records import Descriptor
    from buildkit.store import Finding, Store
    from buildkit.store.documents import Links, Role

_NOTES = """\
examples:
  python -m buildkit show                      every entry of the store
  python -m buildkit show digits:1.0.0         one artifact, what it consists of, what is said of it
  python -m buildkit show --verify             hash every blob again; exit 1 when one is wrong
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", nargs="?", help="name, digest, or the first 7 hex digits of one")
    stores.argument(parser)
    parser.add_argument("--verify", action="store_true", help="hash every blob again")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """List, show or verify."""
    store = stores.chosen(options)
    if options.verify:
        return _verify(store.check(), as_json=options.json)
    if options.ref is None:
        return _list(store, as_json=options.json)
    return _one(store, store.resolve(options.ref), as_json=options.json)


def _tree(
    role: Role,
    top: Descriptor,
    links: Mapping[str, Links | None],
    said: Mapping[str, tuple[Descriptor, ...]],
) -> Iterator[tuple[str, str, str]]:
    """Rows of an artifact and all that it consists of; what two parts share stands under both."""
    links = dict(links)
    stack = [(0, role, top)]
    while stack:
        depth, role, each = stack.pop()
        indent = "  " * depth
        yield f"{indent}{each.platform or role}", each.digest, amounts.size(each.size)
        for other in said.get(each.digest, ()):
            yield f"{indent}  ← {_said(other)}", other.digest, amounts.size(other.size)
        # Once each: indexes that name one another many times over must not multiply.
        below = links.pop(each.digest, None)
        if below is not None:
            stack += [(depth + 1, part, child) for part, child in reversed(below.children)]


def _said(other: Descriptor) -> str:
    """What a referrer says, in a word where there is one."""
    kind = kinds.BY_TYPE.get(other.annotations.get(referrers.PREDICATE_TYPE, ""))
    return f"signed {kind.name}" if kind else f"{other.artifact_type}"


def _verify(findings: tuple[Finding, ...], *, as_json: bool) -> int:
    if as_json:
        render.document({"findings": [dataclasses.asdict(item) for item in findings]})
    for item in findings if not as_json else ():
        print(render.lines(f"{item.kind}: {item.where}: {item.message}\n    → {item.remedy}"))
    if not findings and not as_json:
        print("every blob is what its digest says")
    # What a killed process left is swept by the next `gc` and harms nobody.
    return 1 if any(item.is_damage for item in findings) else 0


def _list(store: Store, *, as_json: bool) -> int:
    entries = store.entries()
    if as_json:
        render.document({"entries": [entry.to_json() for entry in entries]})
    elif entries:
        # What is said about something is listed with it.
        own = [entry for entry in entries if store.links(entry).subject is None]
        rows = [("name", "what", "digest")]
        rows += [
            (entry.annotations.get(REF_NAME, "-"), _kind(store, entry), entry.digest)
            for entry in own
        ]
        print(render.table(rows))
        if len(own) < len(entries):
            print(f"and {len(entries) - len(own)} things said about these: name one to see them")
    else:
        print("the store is empty")
    return 0


def _kind(store: Store, entry: Descriptor) -> str:
    kind = store.links(entry).artifact_type or entry.media_type
    return kind.removeprefix("application/vnd.").removesuffix("+json")


def _one(store: Store, top: Descriptor, *, as_json: bool) -> int:
    nodes = tuple(store.walk(top))
    manifests = [node for node in nodes if node.links is not None]
    said = {node.descriptor.digest: store.referrers(node.descriptor.digest) for node in manifests}
    if as_json:
        render.document(
            {
                "digest": top.digest,
                "annotations": dict(store.links(top).annotations),
                "parts": [
                    {**node.descriptor.to_json(), "role": node.role, "parent": node.parent}
                    for node in nodes
                ],
                "referrers": {
                    digest: [each.to_json() for each in found] for digest, found in said.items()
                },
            }
        )
        return 0
    links = {node.descriptor.digest: node.links for node in manifests}
    print(render.table(_tree(nodes[0].role, top, links, said)))
    notes: dict[str, Any] = dict(store.links(top).annotations)
    if notes:
        print()
        print(render.table(sorted(notes.items())))
    return 0
