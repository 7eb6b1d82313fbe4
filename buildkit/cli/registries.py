"""What `push`, `pull` and `copy` have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import amounts
from buildkit.cli import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildkit.pipeline.registries import Transferred
    from buildkit.registry import Access, Event

CREDENTIALS = """\
Credentials come from the Docker configuration (`docker login`, credential helpers), else from
EDGE_BUILDKIT_REGISTRY_USER and EDGE_BUILDKIT_REGISTRY_PASSWORD. What is there already is not sent
again, so after a cut run the same command again.
"""


def line(parser: argparse.ArgumentParser) -> None:
    """Declare what any command says about the line to a registry."""
    parser.add_argument(
        "--plain-http", action="store_true", help="speak HTTP without TLS, to a registry you trust"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificates in PEM to trust as well"
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what they all know."""
    line(parser)
    parser.add_argument(
        "--classic",
        action="store_true",
        help="also the tags that cosign had before bundles (see `sign --classic`)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def access(
    options: argparse.Namespace, *, plain_http: bool = False, use_environment: bool = True
) -> Access:
    """The way to a registry."""
    from buildkit.registry import Access  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.run import run  # noqa: PLC0415 - as above

    return Access(
        runner=run,
        plain_http=options.plain_http or plain_http,
        ca=options.ca,
        use_environment=use_environment,
    )


def watcher(options: argparse.Namespace) -> Callable[[Event], None] | None:
    """Shows every blob."""
    lines = render.progress(options)
    if lines is None:
        return None

    def show(event: Event) -> None:
        what = f"{event.digest[:19]} {amounts.size(event.size)} {event.how}"
        lines.step(event.done, event.total, what)

    return show


def show(done: Transferred, options: argparse.Namespace, *, verb: str = "sent") -> int:
    """What came of it."""
    if options.json:
        render.document(dataclasses.asdict(done))
        return 0
    took = done.counted
    sent = f"{amounts.size(took.bytes_sent)} in {took.blobs_sent} of {took.blobs} blobs"
    rows = [
        ("digest", done.digest),
        ("in", done.where),
        ("names", ", ".join(done.names) or "none"),
        ("hangs on it", f"{done.referrers} (of {took.manifests} manifests)"),
        (verb, f"{sent}; {amounts.size(took.bytes_skipped)} were there"),
    ]
    if took.listed_by == "tag":
        rows.append(("listed by", "fallback tags: this registry has no referrers API"))
    rows += [("replaced", f"{name} was {digest}") for name, digest in done.replaced.items()]
    rows += [("missing", digest) for digest in done.missing]
    print(render.table(rows))
    return 0
