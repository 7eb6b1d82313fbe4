"""From policy, key ring and trust root on disk to what a verification believes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from buildkit.errors import InputError, SignerError
from buildkit.evidence import keys as rings
from buildkit.evidence import trust
from buildkit.evidence.verify.signatures import Anchors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from buildkit.evidence.bundle import Bundle
    from buildkit.evidence.keys import KeyRing, PublicKey
    from buildkit.evidence.policytypes import Policy

_LARGEST = 64 * 1024


def load(policy: Policy, folder: Path, ring: KeyRing, now: datetime) -> Anchors:
    """Read the keys and the trust root that a policy names.

    Args:
        policy: names them.
        folder: what its paths are relative to.
        ring: the user's own keys. A key that was retired there does not count, whoever names it.
        now: with a time zone; the trust root's age is counted from there.

    Raises:
        InputError: a file cannot be read, or is not what it should be; a key is named as that of a
            device and as that of a signer.
        SignerError: a key of the ring is not what the ring says.
    """
    own = {key.hint: key for key in map(_checked, ring.keys)}
    retired = {hint for hint, key in own.items() if key.state == "retired"}
    boards = {hint: key for hint, key in own.items() if key.state == "device"}
    signing = {hint: key for hint, key in own.items() if hint not in boards}
    counted = signing if policy.trust.counts_own else {}
    named = {key.hint: key for key in _read(policy.trust.keys, folder)}
    rebuilders = {key.hint: key for key in _read(policy.rebuilders.keys, folder)}

    devices = {key.hint: key for key in _read(policy.smoke.keys, folder)}
    mine = {hint: key for hint, key in own.items() if key.state in ("active", "old")}

    def current(found: dict[str, PublicKey]) -> dict[str, PublicKey]:
        return {hint: key for hint, key in found.items() if hint not in retired}

    _refuse_both(named | rebuilders, boards | devices)
    _refuse_both(current(counted) | mine, devices)

    return Anchors(
        keys=current(counted | named),
        known=own,
        rebuilders=current(rebuilders),
        devices=current(devices if policy.smoke.keys else boards),
        certificate=_Certificates(policy, folder, now) if policy.trust.root else None,
    )


def _refuse_both(signers: dict[str, PublicKey], devices: dict[str, PublicKey]) -> None:
    """A board vouches for what it saw, never for what was built; nor does a signer for a board."""
    for hint in signers.keys() & devices.keys():
        signer, device = signers[hint], devices[hint]
        msg = f"key {signer.id} is a signer's ({signer.name}) and a device's ({device.name})"
        raise InputError(msg, "correct the policy: only one of them can be meant")


class _Certificates:
    """Checks bundles with certificates against the policy's trust root.

    Raises:
        InputError: there is no such file, or it is not a trust root.
    """

    def __init__(self, policy: Policy, folder: Path, now: datetime) -> None:
        self._file = folder / policy.trust.root
        self._policy = policy.trust
        self._now = now
        self._root = trust.load(self._file)

    @property
    def digest(self) -> str:
        """Another text whenever others may be vouched for, as far as the trust root goes."""
        policy = self._policy
        age = policy.root_obtained is not None and (
            self._now.date() - policy.root_obtained > timedelta(days=policy.root_max_age)
        )
        return f"{self._root.digest}{' too old' if age else ''}"

    def __call__(self, bundle: Bundle, what: str) -> trust.Identity:
        """Who signed.

        Raises:
            EvidenceError: the trust root is too old, or another one, or it does not vouch for it.
        """
        policy = self._policy
        if policy.root_digest:
            trust.load(self._file, digest=policy.root_digest)
        if policy.root_obtained is not None:
            self._root.refuse_stale(
                obtained=policy.root_obtained,
                limit=timedelta(days=policy.root_max_age),
                now=self._now,
            )
        return trust.verify(bundle, self._root, what)


def _checked(key: PublicKey) -> PublicKey:
    """A key of the ring whose id and hint are its own: the ring itself does not look."""
    found = rings.public_key(key.pem, key.name)
    if (found.id, found.hint) != (key.id, key.hint):
        msg = f"key {key.id} of the key ring has the id of another key"
        raise SignerError(msg, "restore the folder of keys from a backup")
    return key


def _read(files: Iterable[str], folder: Path) -> Iterable[PublicKey]:
    for name in files:
        file = folder / name
        try:
            with file.open("rb") as stream:
                data = stream.read(_LARGEST)
        except OSError as error:
            msg = f"{file}: cannot be read: {error.strerror}"
            raise InputError(msg, "correct the path in the policy") from error
        yield rings.public_key(data, name)
