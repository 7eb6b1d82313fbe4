"""``promote``."""

from __future__ import annotations

import argparse
import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.cli import registries, render, signer, stores, verify
from buildkit.errors import InputError

if TYPE_CHECKING:
    from buildkit.pipeline.channels import Home
    from buildkit.pipeline.promote import Answer, Asked
    from buildkit.store import Store

_NOTES = f"""\
A channel (`canary`, `stable`) is a name that leads to one proven image, and with it to its model.
It moves only by this command, which first holds the artifact against the policy: every digest and
signature, and verdicts of devices, of which the policy must ask for at least one ([smoke]). With
--in, the artifact and all that is said about it is pushed, and the tag `CHANNEL` in the registry
moves; without, a name in the store. Each move is a signed record in the channel's journal
(`CHANNEL.channel`), with the digest of the policy; the record before it is named, so none can be
left out (docs/channels.md).

Nobody else can move it meanwhile: who comes second is told. --rollback goes back to what it led to
before, as often as there is something before; the policy counts, but not the age of test results.

{registries.CREDENTIALS}
examples:
  python -m buildkit promote digits:1.0.0 --to canary --policy policy.toml
  python -m buildkit promote digits:1.0.0 --to stable --policy policy.toml \\
      --in registry.example/team/digits
  python -m buildkit promote --rollback --to stable --policy policy.toml \\
      --in registry.example/team/digits

exit status: 0 the channel leads there; 1 it does not: refused by the policy, or somebody else has
moved it; 2 it could not be decided
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument(
        "ref", nargs="?", help="an image in the store, by name or digest; with --rollback its name"
    )
    parser.add_argument("--to", required=True, metavar="CHANNEL", help="for example `canary`")
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="a policy.toml")
    parser.add_argument(
        "--in",
        dest="place",
        metavar="HOST/REPOSITORY",
        help="the repository whose channel it is (default: the store's own)",
    )
    parser.add_argument("--rollback", action="store_true", help="go to what it led to before")
    parser.add_argument(
        "--expect",
        type=_expected,
        metavar="DIGEST",
        help="only if it leads there now; `none`: only if it led nowhere",
    )
    registries.line(parser)
    signer.argument(parser)
    stores.argument(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Verify, move, and show where the channel leads."""
    from buildkit.evidence.keys import KeyRing, location  # noqa: PLC0415 - `--help` must not wait
    from buildkit.pipeline import promote as pipeline  # noqa: PLC0415 - as above
    from buildkit.store import Store  # noqa: PLC0415 - as above

    if options.ref is None and not (options.rollback and options.place):
        msg = "what is to be promoted is not said"
        raise InputError(msg, "name it: python -m buildkit promote digits:1.0.0 --to canary …")
    lines = render.progress(options)
    # A machine that only rolls back may have nothing yet.
    new = options.rollback and options.place
    store = Store.create(stores.folder(options)) if new else stores.chosen(options)
    asked = pipeline.Asked(
        channel=options.to,
        store=store,
        home=_home(options, store, lines),
        policy_file=options.policy,
        ring=KeyRing.load(location()),
        signer=signer.chosen(options, lines),
        now=datetime.now(UTC),
        expect=options.expect or "",
    )
    say = lines.note if lines is not None else _nobody
    if options.rollback:
        answer = pipeline.roll_back(asked, say)
    else:
        answer = pipeline.promote(options.ref, asked, say)
    return _show(answer, asked, options)


def _home(options: argparse.Namespace, store: Store, lines: render.Lines | None) -> Home:
    from buildkit.pipeline import channels, promote  # noqa: PLC0415 - `--help` must not wait
    from buildkit.registry import parse  # noqa: PLC0415 - as above

    if options.place is None:
        name = options.ref if options.rollback else promote.name_in_store(store, options.ref)
        return channels.InStore(store, name)
    reference = parse(options.place)
    if reference.pointer:
        msg = f"{reference}: a tag or a digest is not the place of a channel"
        raise InputError(msg, "write HOST/REPOSITORY, and the channel with --to")
    say = lines.note if lines is not None else _nobody
    return channels.InRegistry(reference, registries.access(options), store, say=say)


def _show(answer: Answer, asked: Asked, options: argparse.Namespace) -> int:
    done, report = answer.promoted, answer.report
    if options.json:
        render.document(
            {
                "promoted": dataclasses.asdict(done) if done is not None else None,
                "policy": {"name": report.policy, "digest": report.policy_digest},
                "devices": {target: list(keys) for target, keys in report.devices.items()},
                "findings": [dataclasses.asdict(each) for each in report.findings],
            }
        )
        return 0 if done is not None else 1
    channel = f"{asked.home.place}:{asked.channel}"
    if done is None:
        verify.show_findings(report)
        print(render.plain(f"refused: {channel} stays where it is"))
        return 1
    rows = [
        ("channel", channel),
        ("leads to", f"{done.name} {done.digest}"),
        ("before", done.previous or "nothing"),
        ("model", done.models),
        ("devices", "; ".join(f"{t}: {' '.join(keys)}" for t, keys in report.devices.items())),
        ("policy", f"{report.policy} {report.policy_digest}"),
        ("record", f"{done.number}, {done.record}, signed by {done.signer}"),
    ]
    if done.restores:
        rows.append(("goes back to", f"record {done.restores}"))
    print(render.table(rows))
    if not done.moved:
        print(render.plain(f"{channel} leads there already: nothing was moved"))
    return 0


def _expected(text: str) -> str:
    if text != "none" and not digests.is_digest(text):
        msg = f"{text!r} is neither a digest (sha256:…) nor `none`"
        raise argparse.ArgumentTypeError(msg)
    return text


def _nobody(text: str) -> None:
    """Tell nobody."""
