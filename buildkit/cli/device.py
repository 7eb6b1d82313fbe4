"""``device``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import amounts
from buildkit.cli import render
from buildkit.device import inventory
from buildkit.device.types import Device
from buildkit.errors import InputError

if TYPE_CHECKING:
    import argparse

    from buildkit.device.answers import Facts
    from buildkit.device.hostkeys import HostKey

_NOTES = """\
A board is enrolled once: its SSH host key is pinned, it makes a key of its own, and it learns whose
signatures it believes: those of your key ring. Then `smoke --device NAME` can use it. Your own SSH
configuration counts (docs/devices.md); docs/first-board.md begins with the box.

examples:
  python -m buildkit device enroll pi@raspberrypi.local --name shelf-1 --target pi5
  python -m buildkit device enroll standin:pi --name pi
  python -m buildkit device facts shelf-1
  python -m buildkit device list --json
  python -m buildkit device clean shelf-1 --blobs
  python -m buildkit device remove shelf-1
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    enroll = actions.add_parser("enroll", help="make a board one's own")
    enroll.add_argument("host", help="as for ssh (pi@HOST), or standin:NAME")
    enroll.add_argument("--name", help="what to call it (default: from the host)")
    enroll.add_argument("--target", default="pi5", help="kind of device (default: pi5)")
    enroll.add_argument("--port", type=int, default=0, help="of SSH (default: as for ssh)")
    enroll.add_argument("--identity", default="", metavar="FILE", help="private SSH key")
    enroll.add_argument(
        "--runtime",
        choices=("auto", "docker", "podman", "crun"),
        default="auto",
        help="what runs containers there (default: the first that can)",
    )
    enroll.add_argument(
        "--host-key", default="", metavar="KEY", help="its SSH host key, or SHA256:… of it"
    )
    enroll.add_argument(
        "--trust",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a further public key (PEM) whose signatures it is to believe",
    )
    enroll.add_argument("--replace", action="store_true", help="in the place of one of that name")
    listed = actions.add_parser("list", help="show every device that is enrolled")
    facts = actions.add_parser("facts", help="ask a device what it is and has")
    clean = actions.add_parser("clean", help="put right what killed runs left on a device")
    clean.add_argument("--blobs", action="store_true", help="and remove images and models")
    remove = actions.add_parser("remove", help="forget a device; what it saw still counts")
    remove.add_argument("--wipe", action="store_true", help="first remove what is ours on it")
    for action in (facts, clean, remove):
        action.add_argument("device", help="its name")
    for action in (enroll, listed, facts, clean, remove):
        action.add_argument(
            "--devices", type=Path, metavar="FILE", help="default: the user's devices.toml"
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Do one action."""
    from buildkit.pipeline import devices  # noqa: PLC0415 - `--help` must not wait for it

    file = options.devices or inventory.location()
    if options.action == "list":
        return _list(list(devices.enrolled(file).values()), as_json=options.json)
    if options.action == "enroll":
        return _enroll(options, file)
    (device,) = devices.chosen(file, [options.device])
    if options.action == "facts":
        return _facts(device, devices.facts(device), as_json=options.json)
    if options.action == "clean":
        removed = devices.clean(device, blobs=options.blobs)
        if options.json:
            render.document({"device": device.name, "removed": removed})
        else:
            print(render.plain(f"{device.name}: {_said(removed)}"))
        return 0
    if options.wipe:
        devices.wipe(device)
    devices.forget(file, device.name)
    if options.json:
        render.document({"device": device.name})
    else:
        print(render.plain(f"{device.name}: forgotten; `keys retire {device.key}` disowns it"))
    return 0


def _enroll(options: argparse.Namespace, file: Path) -> int:
    from buildkit.evidence import keys  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline import devices  # noqa: PLC0415 - as above

    name = options.name or options.host.rpartition(":")[2].rpartition("@")[2].partition(".")[0]
    done = devices.enroll(
        Device(
            name=name,
            host=options.host,
            target=options.target,
            host_key="",
            key="",
            port=options.port,
            identity=options.identity,
            runtime=options.runtime,
        ),
        file=file,
        ring=keys.location(),
        trust=[_read(each) for each in options.trust],
        host_key=options.host_key,
        replace=options.replace,
        confirm=None if options.json or not sys.stdin.isatty() else _confirm,
    )
    if options.json:
        render.document(
            {"device": dataclasses.asdict(done.device), "facts": dataclasses.asdict(done.facts)}
        )
        return 0
    _facts(done.device, done.facts, as_json=False)
    print()
    print(render.plain(f"enrolled: python -m buildkit smoke NAME:VERSION --device {name}"))
    return 0


def _confirm(key: HostKey) -> bool:
    print(f"its SSH host key is {render.plain(key.fingerprint)}", file=sys.stderr)
    print("on the board: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", file=sys.stderr)
    print("is that the same? (yes/no) ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise InputError(msg, "`python -m buildkit keys export` writes a public key") from error


def _list(found: list[Device], *, as_json: bool) -> int:
    if as_json:
        render.document({"devices": [dataclasses.asdict(each) for each in found]})
    elif found:
        rows = [("device", "target", "host", "key", "runtime")]
        rows += [
            (
                each.name,
                each.target,
                f"{each.host}{f' port {each.port}' if each.port else ''}",
                each.key,
                each.runtime,
            )
            for each in found
        ]
        print(render.table(rows))
    else:
        print("no device is enrolled: python -m buildkit device enroll pi@HOST")
    return 0


def _facts(device: Device, facts: Facts, *, as_json: bool) -> int:
    if as_json:
        render.document({"device": device.name, "facts": dataclasses.asdict(facts)})
        return 0
    runtimes = [
        f"{each.name} {each.version}" if each.usable else f"{each.name}: {each.why}"
        for each in facts.runtimes
    ]
    rows = [
        ("device", device.name),
        ("board", facts.board or "unknown"),
        ("stand-in", facts.standin or "no"),
        ("target", device.target),
        ("system", f"{facts.os}, {facts.machine}, Python {facts.python}"),
        ("memory", amounts.size(facts.memory_bytes) if facts.memory_bytes else "unknown"),
        ("free disk", amounts.size(facts.free_bytes) if facts.free_bytes else "unknown"),
        ("page", f"{facts.page_bytes} bytes" if facts.page_bytes else "unknown"),
        ("runtimes", "; ".join(runtimes) or "none"),
        ("key", facts.key.id if facts.key else "none: not enrolled"),
        ("trusts", ", ".join(facts.trusted) or "nobody"),
        *(("left over", each) for each in facts.leftovers),
    ]
    print(render.table([(what, render.plain(value)) for what, value in rows]))
    return 0


def _said(removed: object) -> str:
    if isinstance(removed, dict):
        gone = [f"{count} {what}" for what, count in removed.items() if count]
        return f"removed {', '.join(gone)}" if gone else "nothing was left"
    return str(removed)
