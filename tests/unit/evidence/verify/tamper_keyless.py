"""Certificates, logs and trust roots; a stand-in for Sigstore (tests/integration) makes them."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamper import Group

from buildkit import canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

GONE = "evidence-missing"

keyless = Group("Certificates, logs and trust roots")
good = Group("Controls")
undecided = Group("Cannot be decided")


@cache
def _standin(name: str) -> Any:
    sys.path.append(str(Path(__file__).parents[3] / "integration"))
    from sigstore_standin import Standin

    assert name
    return Standin()


def _policy(
    world: World,
    *,
    days: int = 1,
    root: str = "good",
    subject: str = "https://github.example.test/shop/*",
    issuer: str = "https://issuer.example.test",
    more: str = "",
    change: Callable[[Any], Any] = lambda _: None,
) -> None:
    document = _standin(root).trusted_root()
    change(document)
    (world.root / "root.json").write_bytes(canonical.dump(document))
    day = (datetime.now(UTC) - timedelta(days=days)).date()
    world.use_policy(
        f'[trust]\nown_keys = true\nroot = "root.json"\nroot_obtained = {day}\n{more}\n'
        f'[[trust.identities]]\nissuer = "{issuer}"\nsubject = "{subject}"\n'
    )


def _sign(world: World, change: Callable[[Any], Any] = lambda _: None, *, by: str = "good") -> None:
    """The provenance, signed by certificate; `change` changes the bundle."""

    def remade(document: Any) -> Any:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"])
        found = _standin(by).bundle(payload)
        return change(found) or found

    world.rebundle(world.made.image, "provenance", remade)


def _entry(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(document: Any) -> None:
        change(document["verificationMaterial"]["tlogEntries"][0])

    return run


def _bit(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return base64.b64encode(data).decode()


def _flipped(*path: str | int) -> Callable[[Any], Any]:
    def run(document: Any) -> None:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = _bit(inner[path[-1]])

    return run


def _other_certificate(document: Any) -> None:
    other = _standin("good").bundle(base64.b64decode(document["dsseEnvelope"]["payload"]))
    document["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


def _other_entry(document: Any) -> None:
    other = _standin("good").bundle(base64.b64decode(document["dsseEnvelope"]["payload"]))
    document["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]


def _other_payload(document: Any) -> None:
    document["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()


ENTRY = ("verificationMaterial", "tlogEntries", 0)
BUNDLES: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "payload": ("another payload", "signature", _other_payload),
    "signature": (
        "one bit of the signature changed",
        "signature",
        _flipped("dsseEnvelope", "signatures", 0, "sig"),
    ),
    "certificate": (
        "the certificate of another signature by the same identity",
        "signature",
        _other_certificate,
    ),
    "certificate-bit": (
        "one bit of the certificate's own signature changed",
        "trust-log",
        _flipped("verificationMaterial", "certificate", "rawBytes"),
    ),
    "certificate-text": (
        "a certificate that is none",
        "bundle",
        lambda found: found["verificationMaterial"].update(certificate={"rawBytes": "AAAA"}),
    ),
    "entry": ("the log entry of another signature", "trust-log", _other_entry),
    "entry-none": (
        "no log entry",
        "bundle",
        lambda found: found["verificationMaterial"].update(tlogEntries=[]),
    ),
    "entry-promise": (
        "one bit of the log's promise changed",
        "trust-log",
        _flipped(*ENTRY, "inclusionPromise", "signedEntryTimestamp"),
    ),
    "entry-time": (
        "another time in the log entry",
        "trust-log",
        _entry(lambda entry: entry.update(integratedTime=str(int(entry["integratedTime"]) + 1))),
    ),
    "entry-root": (
        "one bit of the log's root hash changed",
        "trust-log",
        _flipped(*ENTRY, "inclusionProof", "rootHash"),
    ),
    "entry-body": (
        "a log entry over nothing",
        "trust-log",
        _entry(lambda entry: entry.update(canonicalizedBody=base64.b64encode(b"{}").decode())),
    ),
    "entry-log": (
        "the entry of another log",
        "trust-log",
        _entry(lambda entry: entry["logId"].update(keyId=base64.b64encode(bytes(32)).decode())),
    ),
}


def _attack(change: Callable[[Any], Any]) -> Callable[[World], None]:
    def run(world: World) -> None:
        _policy(world)
        _sign(world, change)

    return run


for _name, (_what, _reason, _change) in BUNDLES.items():
    keyless.add(
        f"keyless-{_name}",
        f"signed by certificate: {_what}",
        f"{_reason} {GONE}",
        _attack(_change),
    )


def _believed(**how: Any) -> Callable[[World], None]:
    def run(world: World) -> None:
        _policy(world, **how)
        _sign(world)

    return run


def _ended(document: Any) -> None:
    for each in document["tlogs"]:
        valid = {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}
        each["publicKey"]["validFor"] = valid


BELIEVED: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "root-old": ("a trust root that is too old", "trust-expired", _believed(days=91)),
    "root-older": (
        "a trust root that is older than the policy's own limit",
        "trust-expired",
        _believed(days=3, more="root_max_age = 2"),
    ),
    "root-future": ("a trust root from the future", "trust-expired", _believed(days=-9)),
    "root-other": (
        "another trust root, with the same names in it",
        "trust-log",
        _believed(root="other"),
    ),
    "root-digest": (
        "a trust root that is not the one whose digest the policy names",
        "blob-digest",
        _believed(more=f'root_digest = "sha256:{"0" * 64}"'),
    ),
    "root-ended": (
        "a log that was out of use when it was signed",
        "trust-log",
        _believed(change=_ended),
    ),
    "subject": (
        "an identity that the policy does not name",
        "signer-unknown",
        _believed(subject="https://github.example.test/other/*"),
    ),
    "subject-prefix": (
        "an identity that only begins like the one that the policy names",
        "signer-unknown",
        _believed(subject="https://github.example.test/shop"),
    ),
    "issuer": (
        "the right identity by another issuer",
        "signer-unknown",
        _believed(issuer="https://issuer.example.org"),
    ),
    "issuer-star": (
        "an issuer is named exactly: `*` in it stands for itself",
        "signer-unknown",
        _believed(issuer="https://*"),
    ),
}

for _name, (_what, _reason, _run) in BELIEVED.items():
    keyless.add(f"keyless-{_name}", f"signed by certificate: {_what}", f"{_reason} {GONE}", _run)


@keyless("signed by the certificate of a stand-in of the attacker's own", f"trust-log {GONE}")
def keyless_own_authority(world: World) -> None:
    _policy(world)
    _sign(world, by="attacker")


@keyless("signed by key, where the policy names identities alone", f"signer-unknown {GONE}")
def keyless_key(world: World) -> None:
    _policy(world, more="")
    text = (world.root / "policy.toml").read_text().replace("own_keys = true\n", "")
    (world.root / "policy.toml").write_text(text)


@good("signed by certificate, by whom the policy names", "=")
def keyless_good(world: World) -> None:
    _policy(world)
    _sign(world)


@good("signed by certificate, with a timestamp in the place of the log's time", "=")
def keyless_stamped(world: World) -> None:
    _policy(world)

    def remade(document: Any) -> Any:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"])
        return _standin("good").stamped(payload)

    world.rebundle(world.made.image, "provenance", remade)


@undecided("a policy that names a trust root which is nowhere", "?")
def root_gone(world: World) -> None:
    _policy(world)
    (world.root / "root.json").unlink()


@undecided("a trust root that is none", "?")
def root_text(world: World) -> None:
    _policy(world)
    (world.root / "root.json").write_text(json.dumps([]))


undecided.add(
    "root-no-log",
    "a trust root without a log",
    "?",
    _believed(change=lambda document: document.update(tlogs=[])),
)
