"""The key ring as data: one JSON file that says which keys there are and what they are good for."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from buildkit import canonical, homes
from buildkit.errors import InputError, SignerError
from buildkit.evidence.keys.public import ALGORITHMS, PublicKey, State, fingerprint, pem_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER_VARIABLE = "EDGE_BUILDKIT_KEYS"
STATE_FILE = "ring.json"
DEFAULT_NAME = "default"
# States of keys whose private half was never here.
OF_OTHERS = ("imported", "device")

_SCHEMA = "edge-buildkit/keys/v"
_VERSION = 1
_KEYS = {"id", "hint", "algorithm", "name", "state", "pem", "created", "retired"}
_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_SHORTEST_ID = 4
_RESTORE = "restore the folder from a backup, or move it away to begin with new keys"


def location(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's folder of keys.

    ``$EDGE_BUILDKIT_KEYS``, else in the user's configuration: `buildkit.homes`.

    Raises:
        MachineError: this user has no home, and no variable names another folder.
    """
    if named := environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    return homes.home("config", environ) / "keys"


def checked_name(name: str) -> str:
    """`name`, when it can be one of a key.

    Raises:
        InputError: it is empty, long, or has characters that do not belong into one.
    """
    if _NAME.fullmatch(name) is None:
        msg = f"{name!r} cannot be the name of a key"
        raise InputError(msg, "use up to 64 letters, digits and `._@+-`, a letter or digit first")
    return name


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRing:
    """What a folder of keys held when it was read.

    Attributes:
        folder: where.
        keys: in the order in which they were made or imported.
    """

    folder: Path
    keys: tuple[PublicKey, ...]

    @classmethod
    def load(cls, folder: Path) -> KeyRing:
        """Read a ring; one that is not there yet is empty. Nothing is written, no lock is taken.

        Raises:
            SignerError: it cannot be read, others may write to it, it is of a newer version, or it
                does not hold together.
        """
        file = folder / STATE_FILE
        try:
            _refuse_others(folder)
            with file.open("rb") as stream:
                _refuse_others(file)
                data = stream.read()
        except FileNotFoundError:
            return cls(folder=folder, keys=())
        except OSError as error:
            msg = f"{error.filename or file}: cannot be read: {error.strerror}"
            raise SignerError(msg, f"check who may read it, or set {FOLDER_VARIABLE}") from error
        return cls(folder=folder, keys=_parse(data, file))

    def dump(self) -> bytes:
        """The canonical bytes of the file."""
        rows = [
            {
                "id": key.id,
                "hint": key.hint,
                "algorithm": key.algorithm,
                "name": key.name,
                "state": key.state,
                "pem": key.pem.decode(),
                "created": key.created,
                "retired": key.retired,
            }
            for key in self.keys
        ]
        return canonical.dump_pretty({"schema": f"{_SCHEMA}{_VERSION}", "keys": rows})

    def with_hint(self, hint: str) -> PublicKey | None:
        """The key that a bundle names."""
        return next((key for key in self.keys if key.hint == hint), None)

    def active(self, name: str = DEFAULT_NAME) -> PublicKey | None:
        """The key that signs under `name`."""
        return next((key for key in self.keys if key.name == name and key.state == "active"), None)

    def names(self) -> tuple[str, ...]:
        """The names of keys of one's own, those that signed in former times too."""
        own = (key.name for key in self.keys if key.state not in OF_OTHERS)
        return tuple(dict.fromkeys(own))

    def device(self, identity: str) -> PublicKey:
        """The key of a board, by its whole id.

        Raises:
            InputError: no such key, or it is no device's, or was retired.
        """
        found = next((key for key in self.keys if key.id == identity), None)
        if found is not None and found.state == "device":
            return found
        state = "not in the key ring" if found is None else f"{found.state} in the key ring"
        msg = f"the device's key {identity} is {state}"
        raise InputError(
            msg, "enrol the device again, or import its key: keys import --device FILE"
        )

    def find(self, which: str) -> PublicKey:
        """What a user means: an id, at least 4 of its first digits, or a name.

        A name means the key that signs under it, else the only key that has it.

        Raises:
            InputError: no key, or more than one; the message lists them.
        """
        named = [key for key in self.keys if key.name == which]
        active = [key for key in named if key.state == "active"]
        begun = [
            key for key in self.keys if len(which) >= _SHORTEST_ID and key.id.startswith(which)
        ]
        found = active or named or begun
        if len(found) == 1:
            return found[0]
        what = "more than one key" if found else "no key"
        msg = f"{which}: {what} of that name or id in {self.folder}"
        listed = ", ".join(f"{key.id} ({key.name}, {key.state})" for key in found or self.keys)
        raise InputError(
            msg, f"name one of: {listed}" if listed else "python -m buildkit keys make"
        )


def _refuse_others(path: Path) -> None:
    """Whoever can write to the ring decides whom we trust."""
    mode = path.stat().st_mode
    by_others = mode & (stat.S_IWGRP | stat.S_IWOTH)
    if by_others and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        msg = f"{path}: others may write to it (mode {stat.S_IMODE(mode):04o})"
        raise SignerError(msg, f"look at what it holds, then: chmod go-w {path}")


def _parse(data: bytes, file: Path) -> tuple[PublicKey, ...]:
    try:
        document = canonical.load(data)
    except ValueError as error:
        _refuse(file, str(error), error)
    if not isinstance(document, dict):
        _refuse(file, "no JSON object")
    schema = document.get("schema")
    number = schema.removeprefix(_SCHEMA) if isinstance(schema, str) else ""
    if number.isdecimal() and number.isascii() and int(number[:9]) > _VERSION:
        msg = f"{file}: written by a newer version of this tool"
        raise SignerError(msg, "install a newer edge-buildkit")
    rows = document.get("keys")
    if schema != f"{_SCHEMA}{_VERSION}" or document.keys() != {"schema", "keys"}:
        _refuse(file, "its schema is not ours")
    if not isinstance(rows, list):
        _refuse(file, "`keys` is not a list")
    keys = tuple(_key(row, f"keys[{at}]", file) for at, row in enumerate(rows))
    _refuse_twice((key.id for key in keys), file)
    _refuse_twice((key.name for key in keys if key.state == "active"), file)
    return keys


def _key(row: Any, where: str, file: Path) -> PublicKey:
    if not isinstance(row, dict) or row.keys() != _KEYS:
        _refuse(file, f"{where} is not a key")
    texts = {key: row[key] for key in ("id", "hint", "algorithm", "name", "state", "pem")}
    times = {key: row[key] for key in ("created", "retired")}
    if not all(isinstance(value, str) for value in texts.values()):
        _refuse(file, f"{where}: a text is expected")
    if not all(type(value) is int and value >= 0 for value in times.values()):
        _refuse(file, f"{where}: seconds since 1970 are expected")
    if _ID.fullmatch(texts["id"]) is None or _NAME.fullmatch(texts["name"]) is None:
        _refuse(file, f"{where}: not the id or the name of a key")
    if texts["algorithm"] not in ALGORITHMS or texts["state"] not in get_args(State):
        _refuse(file, f"{where}: unknown algorithm or state")
    # Without the cryptography, which a build that signs nothing must not wait for.
    if (texts["id"], texts["hint"]) != fingerprint(pem_body(texts["pem"].encode())):
        _refuse(file, f"{where}: id and hint are not those of its PEM")
    return PublicKey(**{**texts, "pem": texts["pem"].encode()}, **times)


def _refuse_twice(values: Iterable[str], file: Path) -> None:
    seen = list(values)
    if len(set(seen)) != len(seen):
        _refuse(file, "a key stands in it twice")


def _refuse(file: Path, why: str, cause: Exception | None = None) -> NoReturn:
    msg = f"{file}: not a key ring: {why}"
    raise SignerError(msg, _RESTORE) from cause
