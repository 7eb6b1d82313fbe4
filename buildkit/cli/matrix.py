"""``matrix``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.errors import InputError
from buildkit.records import PLATFORMS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_NOTES = """\
Prints one line of JSON for `strategy.matrix` of GitHub Actions:

  {"include":[{"architecture":"arm64","name":"digits","platform":"linux/arm64",
  "recipe":"recipes/digits/recipe.toml","runner":"ubuntu-24.04-arm","version":"1.0.0"}, …]}

--by platform: a job for each recipe and each of its platforms, on a native runner of it.
--by runner:   a job for each recipe and each different runner of its platforms. Each makes the
               whole recipe natively, so that the digests of two machines can be compared.
Runners are ubuntu-24.04 for linux/amd64 and ubuntu-24.04-arm for linux/arm64.

--since takes recipes whose recipe.toml, recipe.lock, folder, or builder (`path:…`) differs between
the last common commit with REV and the files that lie here; uncommitted and new files count, what
git ignores, .buildkit and stores do not. What is outside of the repository always counts as
changed. An empty REV, or one of zeros (a new branch), means every recipe. It needs the history:
`fetch-depth: 0` for actions/checkout. Where nothing changed the answer is {"include":[]}, of which
GitHub makes no matrix: let the job that uses it depend on that.

examples:
  python -m buildkit matrix
  python -m buildkit matrix recipes --by runner --runner linux/arm64=self-hosted-pi
  python -m buildkit matrix --since origin/main
  python -m buildkit matrix --since "$BEFORE" --also buildkit --also nix

  jobs:
    plan:
      outputs: { matrix: "${{ steps.plan.outputs.matrix }}" }
      steps:
        - uses: actions/checkout
          with: { fetch-depth: 0 }
        - id: plan
          env: { BEFORE: "${{ github.event.before }}" }
          run: |
            matrix=$(python -m buildkit matrix --since "$BEFORE")
            echo "matrix=$matrix" >> "$GITHUB_OUTPUT"
    build:
      needs: plan
      if: needs.plan.outputs.matrix != '{"include":[]}'
      strategy: { matrix: "${{ fromJSON(needs.plan.outputs.matrix) }}" }
      runs-on: ${{ matrix.runner }}
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("recipes"),
        metavar="FOLDER",
        help="where the recipes are, or one recipe.toml (default: recipes)",
    )
    parser.add_argument(
        "--by", choices=("platform", "runner"), default="platform", help="default: platform"
    )
    parser.add_argument("--since", metavar="REV", help="only recipes that changed since then")
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="with --since: a change there changes every recipe; may be repeated",
    )
    parser.add_argument(
        "--runner",
        action="append",
        default=[],
        metavar="PLATFORM=LABEL",
        help="the runner of a platform; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="errors as JSON too")


def run(options: argparse.Namespace) -> int:
    """Print the matrix."""
    from buildkit.pipeline import matrix as pipeline  # noqa: PLC0415 - `--help` must not wait
    from buildkit.run import run as runner  # noqa: PLC0415 - as above

    made = pipeline.matrix(
        options.folder,
        runner=runner,
        by=options.by,
        since=options.since,
        also=options.also,
        runners={**pipeline.RUNNERS, **_runners(options.runner)},
    )
    print(pipeline.document(made))
    return 0


def _runners(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        platform, _, label = word.partition("=")
        if platform not in PLATFORMS or not label.strip():
            msg = f"--runner {word}: must be a platform, `=`, and the label of its runner"
            raise InputError(msg, f"platforms are {' and '.join(PLATFORMS)}")
        if platform in found:
            msg = f"--runner names a runner of {platform} twice"
            raise InputError(msg, "keep one of them")
        found[platform] = label.strip()
    return found
