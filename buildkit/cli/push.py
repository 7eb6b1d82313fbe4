"""``push``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.cli import registries, stores

if TYPE_CHECKING:
    import argparse

_NOTES = f"""\
An image brings its models, and everything that hangs on any of them: SBOMs, provenance, the
record of the build, golden data, test results, verdicts. All keep their digests. The tag is
written last. Models get the same tag with `-model` at its end.

{registries.CREDENTIALS}
examples:
  python -m buildkit push digits:1.0.0 registry.example/team/digits
  python -m buildkit push digits:1.0.0 registry.example:5000/team/digits:1.0.0 --ca authority.pem
  python -m buildkit push digits:1.0.0 localhost:5000/digits --plain-http
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model in the store, by name or digest")
    parser.add_argument(
        "target", metavar="HOST/REPOSITORY[:TAG]", help="where to (default tag: that of the name)"
    )
    registries.arguments(parser)
    stores.argument(parser)


def run(options: argparse.Namespace) -> int:
    """Push, and say what it took."""
    from buildkit.pipeline import registries as pipeline  # noqa: PLC0415 - `--help` must not wait

    done = pipeline.push(
        options.ref,
        options.target,
        store=stores.chosen(options),
        access=registries.access(options),
        classic=options.classic,
        watch=registries.watcher(options),
    )
    return registries.show(done, options)
