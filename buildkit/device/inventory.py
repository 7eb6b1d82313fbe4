"""``devices.toml``: the boards that this user knows. Strict to read, and edited as text.

Read with the tables of the recipe room: unknown keys are refused, all mistakes are told at once,
each with its line. ``docs/devices.md`` describes every key.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import homes
from buildkit.device import editing
from buildkit.device.inventorykeys import DEVICE, HOST_KEY_EXAMPLE, SCHEMA_VERSION, root
from buildkit.device.types import Device
from buildkit.errors import InputError, RecipeError, StoreError
from buildkit.recipe.file import opened, read
from buildkit.recipe.forms import NAME
from buildkit.recipe.notes import meant
from buildkit.recipe.table import Reader
from buildkit.store.files import write_whole
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE_VARIABLE = "EDGE_BUILDKIT_DEVICES"
FILE_NAME = "devices.toml"

_WAIT_S = 30.0
_ENROL = "python -m buildkit device enroll"


def location(environ: Mapping[str, str] = os.environ) -> Path:
    """The file: ``$EDGE_BUILDKIT_DEVICES``, else in the user's configuration."""
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    return homes.home("config", environ) / FILE_NAME


def load(file: Path) -> Mapping[str, Device]:
    """The devices by name, in the order of the file; none when there is no file.

    Raises:
        RecipeError: the file has mistakes: all of them.
        InputError: it cannot be read.
    """
    if not os.path.lexists(file):
        return {}
    return parse(read(file, "devices", missing=_ENROL), str(file))


def parse(data: bytes, name: str) -> Mapping[str, Device]:
    """Read the file from bytes.

    Args:
        data: what it holds; anything at all.
        name: of the file, for messages.

    Raises:
        RecipeError: it has mistakes: all of them.
        InputError: it is not text.
    """
    document, notes = opened(data, name, known=SCHEMA_VERSION)
    listed = document.get("devices")
    names = list(listed) if isinstance(listed, dict) else []
    for each in names:
        if not NAME.fits(each):
            notes.add(("devices", each), f"a device's name must be {NAME.words}", NAME.remedy)
    values = Reader(root(names), notes).read(document)
    if problems := notes.problems():
        raise RecipeError(name, problems)
    return {each: Device(name=each, **values["devices"][each]) for each in names}


def find(devices: Mapping[str, Device], which: str) -> Device:
    """The device of a name, or the one that is reached by what is no name.

    Args:
        devices: all.
        which: ``shelf-1``, or a host as it stands in the file: ``pi@192.0.2.7``.

    Raises:
        InputError: there is none, or more than one.
    """
    if which in devices:
        return devices[which]
    found = [device for device in devices.values() if device.host == which]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{which} is the host of {', '.join(device.name for device in found)}"
        raise InputError(msg, "give one of these names")
    msg = f"{which!r} is no device that was enrolled"
    near = meant(which, devices)
    raise InputError(msg, f"did you mean {near}?" if near else f"enrol it first: {_ENROL}")


def check(device: Device) -> None:
    """Refuse a device that the file could not hold; keys that are not known yet may be empty.

    Raises:
        InputError: why.
    """
    some = dataclasses.replace(
        device,
        host_key=device.host_key or HOST_KEY_EXAMPLE,
        key=device.key or "0" * 16,
    )
    text = editing.with_entry("", device.name, _written(some), is_there=False)
    _Change(file=Path(device.name), text="", devices={}).settle(text, {device.name: some})


def put(file: Path, device: Device, *, replace: bool = False) -> None:
    """Add a device, and leave all else in the file as it is.

    Args:
        file: made when it is not there.
        device: what to add.
        replace: it may take the place of one of the same name.

    Raises:
        InputError: the name is taken; the entry is written in a way that only its author can
            change; the device is not one that the file could hold; the file cannot be written.
        RecipeError: the file has mistakes.
    """
    with _change(file) as change:
        if device.name in change.devices and not replace:
            msg = f"{file}: there is a device {device.name!r} already"
            raise InputError(msg, "give another name, or say that it is to be replaced")
        text = editing.with_entry(
            change.text, device.name, _written(device), is_there=device.name in change.devices
        )
        change.settle(text, {**change.devices, device.name: device})


def remove(file: Path, name: str) -> Device:
    """Take a device out, and leave all else in the file as it is.

    Raises:
        InputError: there is none; its entry is written in a way that only its author can change;
            the file cannot be written.
        RecipeError: the file has mistakes.
    """
    with _change(file) as change:
        gone = find(change.devices, name)
        rest = {each: one for each, one in change.devices.items() if each != gone.name}
        change.settle(editing.without_entry(change.text, gone.name), rest)
        return gone


@dataclass(slots=True)
class _Change:
    """The file while nobody else changes it."""

    file: Path
    text: str
    devices: Mapping[str, Device]
    new: str | None = None

    def settle(self, text: str | None, devices: Mapping[str, Device]) -> None:
        """Take `text`, once it says what it should."""
        try:
            found = None if text is None else parse(text.encode(), str(self.file))
        except RecipeError as error:
            first = error.problems[0]
            msg = f"{self.file}: {first.path}: {first.message}"
            raise InputError(msg, first.remedy) from error
        if found != devices:
            msg = f"{self.file}: this entry is written in a way that only its author can change"
            raise InputError(msg, "write it as a table of its own, [devices.NAME], one key a line")
        self.new = text


@contextmanager
def _change(file: Path) -> Iterator[_Change]:
    # What a symbolic link names is changed, not the link.
    target = Path(os.path.realpath(file))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock")
        with hold(lock, exclusive=True, wait=_WAIT_S, purpose="change the devices"):
            is_there = target.exists()
            data = read(target, "devices", missing=_ENROL) if is_there else b""
            devices = parse(data, str(target)) if is_there else {}
            change = _Change(file=target, text=data.decode(), devices=devices)
            yield change
            if change.new is not None and change.new != change.text:
                mode = target.stat().st_mode & 0o777 if is_there else 0o600
                write_whole(target, change.new.encode(), target.parent, mode)
    except StoreError as error:
        raise InputError(error.message, error.remedy) from error
    except OSError as error:
        msg = f"{error.filename or target}: the devices cannot be kept here: {error.strerror}"
        raise InputError(msg, f"make it writable, or set {FILE_VARIABLE}") from error


def _written(device: Device) -> dict[str, str | int]:
    """Key → value, for those that are not the default."""
    defaults = DEVICE.defaults()
    values = {name: getattr(device, name) for name in DEVICE.keys}
    return {name: value for name, value in values.items() if value != defaults.get(name)}
