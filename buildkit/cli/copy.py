"""``copy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.cli import registries

if TYPE_CHECKING:
    import argparse

_NOTES = f"""\
From registry to registry, nothing is kept here. Within one registry blobs are not sent at all
where it can mount them.

{registries.CREDENTIALS}
User and password of the environment are for the second registry, when the two are not the same.

examples:
  python -m buildkit copy registry.example/test/digits:1.0.0 registry.example/team/digits
  python -m buildkit copy localhost:5000/digits:1.0.0 registry.example/digits --from-plain-http
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("origin", metavar="HOST/REPOSITORY:TAG", help="or HOST/REPOSITORY@DIGEST")
    parser.add_argument(
        "target", metavar="HOST/REPOSITORY[:TAG]", help="where to (default tag: the same)"
    )
    parser.add_argument("--from-plain-http", action="store_true", help="only for the first")
    parser.add_argument("--to-plain-http", action="store_true", help="only for the second")
    registries.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Copy, and say what it took."""
    from buildkit.pipeline import registries as pipeline  # noqa: PLC0415 - `--help` must not wait
    from buildkit.registry import parse  # noqa: PLC0415 - as above

    same = parse(options.origin).host == parse(options.target).host
    done = pipeline.copy(
        options.origin,
        options.target,
        from_access=registries.access(
            options, plain_http=options.from_plain_http, use_environment=same
        ),
        to_access=registries.access(options, plain_http=options.to_plain_http),
        classic=options.classic,
        watch=registries.watcher(options),
    )
    return registries.show(done, options)
