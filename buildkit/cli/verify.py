"""``verify``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import amounts
from buildkit.cli import render, stores

if TYPE_CHECKING:
    import argparse

    from buildkit.evidence.verify import Report

_NOTES = """\
Hashes every byte from the index to the layers and to the model, checks every signature, and holds
SBOMs, provenance, lock and policy against each other. Needs no network. Without --policy the
built-in one counts: keys of one's own key ring, and all kinds of evidence for every platform and
model (docs/policy.md).

examples:
  python -m buildkit verify digits:1.0.0
  python -m buildkit verify digits:1.0.0 --policy policy.toml --json

exit status: 0 it holds; 1 it does not, each reason is named (docs/verify.md); 2 it could not be
decided (no such artifact, no such policy, a store that cannot be read)
"""

# What to do about a reason, where there is more to do than not to run it.
_REMEDIES = {
    "blob-missing": "copy the artifact again, with all that hangs on it",
    "blob-digest": "copy the artifact again from where it is whole, or build it again",
    "signer-unknown": "if you know whose it is: `python -m buildkit keys import`, with --device "
    "for a board's; or a policy",
    "signer-retired": "let a key in use sign again: `python -m buildkit sign`",
    "trust-expired": "get the trust root again from its owner, and write the day into the policy",
    "evidence-missing": "sign it: `python -m buildkit sign`, or build it again",
    "smoke": "let it run on such a device: `python -m buildkit smoke`",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model: name, digest, or its first hex digits")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="a policy.toml")
    parser.add_argument(
        "--keys", type=Path, metavar="DIR", help="key ring; default: that of the user"
    )
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Verify, and show what was checked and found."""
    from buildkit.evidence import keys, verify  # noqa: PLC0415 - `--help` must not wait for it

    ring = keys.KeyRing.load(options.keys if options.keys is not None else keys.location())
    report = verify.verify_ref(
        stores.chosen(options),
        options.ref,
        ring=ring,
        now=datetime.now(UTC),
        policy_file=options.policy,
    )
    if options.json:
        render.document({**report.to_json(), "ref": options.ref})
    else:
        _show(report)
    return 0 if report.holds else 1


def _show(report: Report) -> None:
    rows = [("what", "digest", "evidence")]
    rows += [
        (
            f"{each.role} {each.name}".strip(),
            each.digest,
            ", ".join(each.evidence) or "none that counts",
        )
        for each in report.artifacts
    ]
    if report.artifacts:
        print(render.table(rows))
        print()
    count, total = report.blobs
    print(
        f"{count} blobs hashed ({amounts.size(total)}), {report.signatures} signatures, "
        f"{report.packages} packages in SBOMs, {report.materials} materials; "
        f"policy {render.plain(report.policy)}"
    )
    _show_tests(report)
    signers = sorted(
        {who for each in report.artifacts for all_ in each.evidence.values() for who in all_}
    )
    for signer in signers:
        print(f"signed by {render.plain(signer)}")
    for each in report.ignored:
        print(render.plain(f"ignored: {each.reason}: {each.message}"))
    show_findings(report)
    if report.holds:
        print(render.plain(f"{report.name} holds"))
    else:
        count = len(report.findings)
        print(f"refused: {count} finding{'s' if count != 1 else ''}")


def show_findings(report: Report) -> None:
    """Every reason to refuse, and what can be done about it."""
    for each in report.findings:
        print(render.plain(f"{each.reason}: {each.digest}: {each.message}"))
    for reason in dict.fromkeys(each.reason for each in report.findings):
        if remedy := _REMEDIES.get(reason):
            print(f"  → {reason}: {remedy}")


def _show_tests(report: Report) -> None:
    """Test results and verdicts, the newest last, and the devices that count."""
    if report.tests:
        rows = [("test", "target", "result", "time", "signed by")]
        rows += [
            (
                each.kind,
                f"{each.target} ({each.mark})" if each.mark else each.target,
                each.result,
                each.time,
                ", ".join(each.signers),
            )
            for each in report.tests
        ]
        print()
        print(render.table(rows))
        print()
    for target, keys in report.devices.items():
        count = f"{len(keys)} device{'s' if len(keys) != 1 else ''}"
        print(render.plain(f"passed on {count} of target {target} {' '.join(keys)}".rstrip()))
