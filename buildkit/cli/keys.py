"""``keys``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit.canonical import timestamp
from buildkit.cli import render
from buildkit.errors import InputError
from buildkit.evidence.keys import ALGORITHMS, DEFAULT_ALGORITHM, DEFAULT_NAME, KeyRing, location

if TYPE_CHECKING:
    from buildkit.evidence.keys import PublicKey

_NOTES = """\
The keys that builds sign with, those of others that `verify` trusts, and those of devices, which
vouch for test results and nothing else. The first build makes one. The folder is
$EDGE_BUILDKIT_KEYS, else edge-buildkit/keys below $XDG_CONFIG_HOME or ~/.config; back it up. New
keys are encrypted when $EDGE_BUILDKIT_KEY_PASSPHRASE is set, or with --passphrase.

examples:
  python -m buildkit keys
  python -m buildkit keys make --name release --algorithm ed25519 --passphrase
  python -m buildkit keys export > cosign.pub
  python -m buildkit keys rotate
  python -m buildkit keys retire 3f2a9c41
  python -m buildkit keys import team.pub
  python -m buildkit keys import --device shelf-1.pub
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.set_defaults(action="list")
    as_json: dict[str, Any] = {
        "action": "store_true",
        "help": "print one JSON object, nothing else",
    }
    parser.add_argument("--json", **as_json)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    make = actions.add_parser("make", help="make a key")
    make.add_argument("--name", default=DEFAULT_NAME, help=f"default: {DEFAULT_NAME}")
    rotate = actions.add_parser("rotate", help="sign with a new key; the old one still verifies")
    rotate.add_argument("name", nargs="?", default=DEFAULT_NAME, help=f"default: {DEFAULT_NAME}")
    for action, default in ((make, DEFAULT_ALGORITHM), (rotate, None)):
        action.add_argument(
            "--algorithm",
            choices=ALGORITHMS,
            default=default,
            help=f"default: {default or 'as before'}",
        )
        action.add_argument("--passphrase", action="store_true", help="ask for a passphrase")
    retire = actions.add_parser("retire", help="let what a key has signed count no longer")
    export = actions.add_parser("export", help="print a public key in PEM")
    bring = actions.add_parser("import", help="trust somebody else's public key")
    bring.add_argument("file", type=Path, help="public key in PEM")
    bring.add_argument("--name", help="default: the file's name without its ending")
    bring.add_argument(
        "--device", action="store_true", help="it is a board's: its word counts for test results"
    )
    remove = actions.add_parser("remove", help="forget a key of others, or one that is retired")
    for action in (retire, remove):
        action.add_argument("key", help="id, at least 4 of its first digits, or name")
    export.add_argument("key", nargs="?", default=DEFAULT_NAME, help=f"default: {DEFAULT_NAME}")
    for action in (make, rotate, retire, bring, remove):
        # Absent, not false: else it would undo the one before the action.
        action.add_argument("--json", **as_json, default=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    folder = location()
    action = options.action or "list"
    if action == "export":
        sys.stdout.write(KeyRing.load(folder).find(options.key).pem.decode())
        return 0
    if action == "list":
        return _list(KeyRing.load(folder), as_json=options.json)
    key = _changed(action, folder, options)
    if options.json:
        render.document({"folder": str(folder), "key": _row(key)})
        return 0
    done = {
        "make": "made",
        "rotate": "from now on signs",
        "retire": "retired",
        "import": "trusted from now on:",
        "remove": "forgotten:",
    }[action]
    if action == "import" and options.device:
        done = "trusted for test results from now on:"
    print(render.plain(f"{done} key {key.id} ({key.name}, {key.algorithm})"))
    return 0


def _changed(action: str, folder: Path, options: argparse.Namespace) -> PublicKey:
    from buildkit.cli import passphrases  # noqa: PLC0415 - a list needs none
    from buildkit.evidence.keys import change  # noqa: PLC0415 - a list changes nothing

    now = int(time.time())
    if action in {"make", "rotate"}:
        fresh = change.make if action == "make" else change.rotate
        return fresh(
            folder,
            epoch=now,
            name=options.name,
            algorithm=options.algorithm,
            passphrase=passphrases.choose(ask=options.passphrase),
        )
    if action == "import":
        add = change.add_device if options.device else change.add
        return add(folder, _file(options.file), options.name or options.file.stem, epoch=now)
    if action == "retire":
        return change.retire(folder, options.key, epoch=now)
    return change.remove(folder, options.key)


def _file(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(1 << 20)
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise InputError(msg, "name a file with a public key in PEM") from error


def _list(ring: KeyRing, *, as_json: bool) -> int:
    if as_json:
        render.document({"folder": str(ring.folder), "keys": [_row(key) for key in ring.keys]})
    elif ring.keys:
        header = ("key", "name", "state", "algorithm", "since", "retired")
        rows = [
            (
                key.id,
                key.name,
                key.state,
                key.algorithm,
                timestamp(key.created),
                timestamp(key.retired) if key.retired else "-",
            )
            for key in ring.keys
        ]
        print(render.table([header, *rows]))
    else:
        print(f"no keys in {render.plain(str(ring.folder))} yet; the first build makes one")
    return 0


def _row(key: PublicKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "hint": key.hint,
        "name": key.name,
        "state": key.state,
        "algorithm": key.algorithm,
        "created": timestamp(key.created),
        "retired": timestamp(key.retired) if key.retired else None,
        "pem": key.pem.decode(),
    }
