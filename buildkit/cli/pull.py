"""``pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.cli import registries, stores

if TYPE_CHECKING:
    import argparse

_NOTES = f"""\
The opposite of `push`: image, models, and everything that hangs on them. Every byte is held to
its digest while it comes, and the store shows nothing of it before all of it is there. Whether to
trust it is another question: `verify` answers that.

{registries.CREDENTIALS}
examples:
  python -m buildkit pull registry.example/team/digits:1.0.0
  python -m buildkit pull registry.example/team/digits@sha256:… --as digits:candidate
  python -m buildkit verify digits:1.0.0 --policy policy.toml
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES.replace("%", "%%")
    parser.add_argument("origin", metavar="HOST/REPOSITORY:TAG", help="or HOST/REPOSITORY@DIGEST")
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        default="",
        help="its name in the store (default: last part of the repository, and the tag)",
    )
    registries.arguments(parser)
    stores.argument(parser)


def run(options: argparse.Namespace) -> int:
    """Pull, and say what it took."""
    from buildkit.pipeline import registries as pipeline  # noqa: PLC0415 - `--help` must not wait
    from buildkit.store import Store  # noqa: PLC0415 - as above

    done = pipeline.pull(
        options.origin,
        store=Store.create(stores.folder(options)),
        access=registries.access(options),
        name=options.name,
        classic=options.classic,
        watch=registries.watcher(options),
    )
    return registries.show(done, options, verb="received")
