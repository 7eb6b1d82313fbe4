"""What changes a ring: each change takes the ring's lock and appears whole or not at all."""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from buildkit.errors import InputError, SignerError, StoreError
from buildkit.evidence.keys import private
from buildkit.evidence.keys.public import ALGORITHMS, DEFAULT_ALGORITHM, PublicKey, public_key
from buildkit.evidence.keys.ring import (
    DEFAULT_NAME,
    FOLDER_VARIABLE,
    OF_OTHERS,
    STATE_FILE,
    KeyRing,
    checked_name,
)
from buildkit.store.files import is_stale, write_whole
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_WAIT = 30.0


def private_file(folder: Path, key: PublicKey) -> Path:
    """Where the private half of a key is; there is none of an imported one."""
    return folder / f"{key.id}.key"


def first(
    folder: Path, *, epoch: int, passphrase: bytes | None, name: str = DEFAULT_NAME
) -> tuple[PublicKey, bool]:
    """The key that signs under `name`, made when no key has had that name; whether it was made.

    Of two processes that find none, one makes it and both get it.

    Raises:
        SignerError: the keys of that name no longer sign, or the folder cannot be used.
    """
    if (key := KeyRing.load(folder).active(name)) is not None:
        return key, False
    with _alone(folder) as ring:
        if (key := ring.active(name)) is not None:
            return key, False
        if name in ring.names():
            msg = f"key {name!r} was retired, and none has taken its place"
            raise SignerError(msg, f"python -m buildkit keys rotate {name}")
        return _add_own(ring, DEFAULT_ALGORITHM, name, epoch=epoch, passphrase=passphrase), True


def make(
    folder: Path,
    *,
    epoch: int,
    name: str = DEFAULT_NAME,
    algorithm: str = DEFAULT_ALGORITHM,
    passphrase: bytes | None = None,
) -> PublicKey:
    """Make a key that signs under a name that no key has yet.

    Args:
        folder: of the ring; made for this user alone when it is not there.
        epoch: now, seconds since 1970.
        name: for people, and for ``--signer key:NAME``.
        algorithm: one of `ALGORITHMS`.
        passphrase: encrypts the private half.

    Raises:
        InputError: the name is taken, or no name; no such algorithm.
        SignerError: the folder cannot be used.
    """
    checked_name(name)
    with _alone(folder) as ring:
        if name in {key.name for key in ring.keys}:
            msg = f"there is a key {name!r} already"
            remedy = f"python -m buildkit keys rotate {name}, or give another --name"
            raise InputError(msg, remedy)
        return _add_own(ring, algorithm, name, epoch=epoch, passphrase=passphrase)


def rotate(
    folder: Path,
    *,
    epoch: int,
    name: str = DEFAULT_NAME,
    algorithm: str | None = None,
    passphrase: bytes | None = None,
) -> PublicKey:
    """Let a new key sign under `name`; what the one before has signed still counts.

    Args:
        folder: of the ring.
        epoch: now, seconds since 1970.
        name: of the keys.
        algorithm: that of the key before when absent.
        passphrase: encrypts the private half; needed when that of the key before is encrypted.

    Raises:
        InputError: no key of one's own has that name; no such algorithm.
        SignerError: the passphrase is missing, or the folder cannot be used.
    """
    with _alone(folder) as ring:
        own = [key for key in ring.keys if key.name == name and key.state not in OF_OTHERS]
        if not own:
            msg = f"no key of yours has the name {name!r}"
            raise InputError(msg, f"python -m buildkit keys make --name {name}")
        if passphrase is None and private.is_encrypted(private_file(folder, own[-1])):
            msg = f"key {own[-1].id} is encrypted, and there is no passphrase for the new one"
            raise SignerError(msg, f"set {private.PASSPHRASE_VARIABLE}, or give --passphrase")
        older = tuple(
            dataclasses.replace(key, state="old") if key in own and key.state == "active" else key
            for key in ring.keys
        )
        return _add_own(
            dataclasses.replace(ring, keys=older),
            algorithm or own[-1].algorithm,
            name,
            epoch=epoch,
            passphrase=passphrase,
        )


def retire(folder: Path, which: str, *, epoch: int) -> PublicKey:
    """Let a key's signatures count no longer; it stays in the ring, so that they are recognised.

    Args:
        folder: of the ring.
        which: see `KeyRing.find`.
        epoch: now, seconds since 1970.

    Raises:
        InputError: there is no such key, or more than one.
        SignerError: the folder cannot be used.
    """
    with _alone(folder) as ring:
        key = ring.find(which)
        if key.state == "retired":
            return key
        gone = dataclasses.replace(key, state="retired", retired=epoch)
        _write(ring, tuple(gone if each == key else each for each in ring.keys))
        return gone


def add(folder: Path, pem: bytes, name: str, *, epoch: int) -> PublicKey:
    """Trust somebody else's public key; it verifies, and never signs.

    Args:
        folder: of the ring; made when it is not there.
        pem: see `public_key`.
        name: for people.
        epoch: now, seconds since 1970.

    Raises:
        InputError: it is no public key, it is there, or its name is taken.
        SignerError: the folder cannot be used.
    """
    checked_name(name)
    key = public_key(pem, name, created=epoch)
    with _alone(folder) as ring:
        same = [each for each in ring.keys if each.id == key.id or each.name == name]
        if same:
            msg = f"there is a key {same[0].id} ({same[0].name}, {same[0].state}) already"
            remedy = "give another --name" if same[0].id != key.id else ""
            raise InputError(msg, remedy)
        _write(ring, (*ring.keys, key))
    return key


def add_device(folder: Path, pem: bytes, name: str, *, epoch: int) -> PublicKey:
    """Let a board's key vouch for test results, and for nothing else.

    A board that was flashed again has another key; the one before still counts for what it saw,
    until it is retired. So several keys may have the name of one board.

    Args:
        folder: of the ring; made when it is not there.
        pem: see `public_key`.
        name: of the board.
        epoch: now, seconds since 1970.

    Returns:
        The key, with the name that it has now; one that is there already may be given another.

    Raises:
        InputError: it is no public key; it is in the ring as another kind of key, or retired; or
            its name is that of another kind of key.
        SignerError: the folder cannot be used.
    """
    checked_name(name)
    key = public_key(pem, name, state="device", created=epoch)
    with _alone(folder) as ring:
        for each in ring.keys:
            # The name of a retired board is free for the next one.
            taken = each.name == name and each.state not in ("device", "retired")
            if taken or (each.id == key.id and each.state != "device"):
                msg = f"there is a key {each.id} ({each.name}, {each.state}) already"
                remedy = "give the device another name" if taken else "let it make another key"
                raise InputError(msg, remedy)
        before = next((each for each in ring.keys if each.id == key.id), None)
        if before is None:
            _write(ring, (*ring.keys, key))
            return key
        renamed = dataclasses.replace(before, name=name)
        if renamed != before:
            _write(ring, tuple(renamed if each == before else each for each in ring.keys))
        return renamed


def remove(folder: Path, which: str) -> PublicKey:
    """Forget a key that is imported, retired or a device's, and delete its private half.

    Raises:
        InputError: there is no such key, or it is in use.
        SignerError: the folder cannot be used.
    """
    with _alone(folder) as ring:
        key = ring.find(which)
        if key.state not in (*OF_OTHERS, "retired"):
            msg = f"key {key.id} ({key.name}) is {key.state}: what it signed still counts"
            raise InputError(msg, f"python -m buildkit keys retire {key.id}")
        _write(ring, tuple(each for each in ring.keys if each != key))
        private_file(folder, key).unlink(missing_ok=True)
    return key


def _add_own(
    ring: KeyRing, algorithm: str, name: str, *, epoch: int, passphrase: bytes | None
) -> PublicKey:
    if algorithm not in ALGORITHMS:
        msg = f"{algorithm!r} is no algorithm for a key"
        raise InputError(msg, f"use one of: {', '.join(ALGORITHMS)}")
    key = private.generate(algorithm, name, created=epoch)
    # The private half first: a ring never names a key that is not there.
    data = private.dump(key, passphrase)
    write_whole(private_file(ring.folder, key.public), data, ring.folder, _FILE_MODE)
    _write(ring, (*ring.keys, key.public))
    return key.public


def _write(ring: KeyRing, keys: tuple[PublicKey, ...]) -> None:
    data = dataclasses.replace(ring, keys=keys).dump()
    write_whole(ring.folder / STATE_FILE, data, ring.folder, _FILE_MODE)


@contextmanager
def _alone(folder: Path) -> Iterator[KeyRing]:
    """The ring as it is now, and nobody else changes it meanwhile."""
    try:
        _make_folder(folder)
        with hold(folder / ".lock", exclusive=True, wait=_WAIT, purpose="change the key ring"):
            for name in os.listdir(folder):  # noqa: PTH208 - names, not paths
                if is_stale(name):
                    with suppress(OSError):
                        (folder / name).unlink()
            yield KeyRing.load(folder)
    except StoreError as error:
        raise SignerError(error.message, error.remedy) from error
    except OSError as error:
        msg = f"{error.filename or folder}: the keys cannot be kept here: {error.strerror}"
        raise SignerError(msg, f"make it writable, or set {FOLDER_VARIABLE}") from error


def _make_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(_FOLDER_MODE)
        folder.chmod(_FOLDER_MODE)  # a umask may have taken some of it
