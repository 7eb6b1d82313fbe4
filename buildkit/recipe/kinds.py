"""The kinds of value a recipe's key can have: each reads itself and describes itself.

A new kind is a new class here; which keys there are stands in `buildkit.recipe.keys`.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from buildkit.recipe import forms
from buildkit.recipe.notes import listed, meant, shown
from buildkit.recipe.types import MADE_BY_TRAINING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.recipe.forms import Form
    from buildkit.recipe.locate import KeyPath
    from buildkit.recipe.notes import Notes

Json: TypeAlias = dict[str, Any]


class Kind(Protocol):
    """What a key may hold."""

    @property
    def about(self) -> str:
        """What the key means, one line for people."""

    @property
    def example(self) -> Any:
        """A value that is right."""

    def read(self, value: Any, path: KeyPath, notes: Notes) -> Any:
        """The value in its one spelling; None, and a note, when it is wrong."""

    def schema(self) -> Json:
        """The same rule as JSON Schema."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A string of a certain form."""

    about: str
    form: Form
    example: str

    def read(self, value: Any, path: KeyPath, notes: Notes) -> str | None:
        """See `Kind`."""
        if not isinstance(value, str):
            notes.add(path, f"must be a string, is {shown(value)}", self.form.remedy)
        elif not self.form.fits(value):
            notes.add(path, f"must be {self.form.words}, is {shown(value)}", self.form.remedy)
        else:
            return value
        return None

    def schema(self) -> Json:
        """See `Kind`."""
        return {"type": "string", "pattern": f"^(?:{self.form.pattern})$"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RelativePath:
    """The path of a file or folder, in its shortest spelling.

    Attributes:
        outside: it may lead out of the recipe's folder.
        trained: it may be ``train:NAME``, a file that the training script writes.
        suffix: how it must end.
    """

    about: str
    example: str
    outside: bool = False
    trained: bool = False
    suffix: str = ""

    def read(self, value: Any, path: KeyPath, notes: Notes) -> str | None:
        """See `Kind`."""
        remedy = f"write a path such as {shown(self.example)}, relative to the recipe's folder"
        if not isinstance(value, str):
            notes.add(path, f"must be a string, is {shown(value)}", remedy)
            return None
        prefix = MADE_BY_TRAINING if self.trained and value.startswith(MADE_BY_TRAINING) else ""
        place = value.removeprefix(prefix)
        if not forms.PATH.fits(place):
            notes.add(path, f"must be {forms.PATH.words}, is {shown(value)}", remedy)
            return None
        place = posixpath.normpath(place)
        if place.split("/")[0] == ".." and not self.outside:
            remedy = "copy what it names into the recipe's folder, so that a clone has it too"
            notes.add(path, f"{shown(value)} leads out of the recipe's folder", remedy)
            return None
        if not place.endswith(self.suffix):
            notes.add(path, f"must end in {self.suffix}, is {shown(value)}", remedy)
            return None
        return prefix + place

    def schema(self) -> Json:
        """See `Kind`."""
        prefix = f"(?!{MADE_BY_TRAINING}/)" if self.trained else ""
        suffix = self.suffix.replace(".", r"\.")
        return {"type": "string", "pattern": f"^{prefix}{forms.PATH.pattern}{suffix}$"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of a few words or numbers.

    Attributes:
        refused: further values that people may expect, each with the message and remedy that say
            why it is not taken.
    """

    about: str
    options: tuple[str, ...] | tuple[int, ...]
    example: str | int
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, value: Any, path: KeyPath, notes: Notes) -> str | int | None:
        """See `Kind`."""
        if isinstance(value, str) and value in self.refused:
            notes.add(path, *self.refused[value])
        elif value not in self.options or type(value) is not type(self.options[0]):
            words = [*(option for option in self.options if isinstance(option, str)), *self.refused]
            near = meant(value, words) if isinstance(value, str) else ""
            remedy = f"did you mean {shown(near)}?" if near else f"write {shown(self.example)}"
            notes.add(path, f"must be {listed(self.options)}, is {shown(value)}", remedy)
        else:
            return value
        return None

    def schema(self) -> Json:
        """See `Kind`."""
        return {"enum": list(self.options)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number within limits, both of them allowed; whole numbers only if `whole`."""

    about: str
    low: int
    high: int
    example: float
    whole: bool = False

    def read(self, value: Any, path: KeyPath, notes: Notes) -> float | None:
        """See `Kind`."""
        kind = "a whole number" if self.whole else "a number"
        remedy = f"write a number such as {shown(self.example)}"
        right = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, right):
            notes.add(path, f"must be {kind}, is {shown(value)}", remedy)
        elif not self.low <= value <= self.high:
            limits = f"from {self.low} to {self.high}"
            notes.add(path, f"must be {kind} {limits}, is {shown(value)}", remedy)
        else:
            # Adding zero gives minus zero its one spelling.
            return value if self.whole else float(value) + 0.0
        return None

    def schema(self) -> Json:
        """See `Kind`."""
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """True or false."""

    about: str
    example: bool

    def read(self, value: Any, path: KeyPath, notes: Notes) -> bool | None:
        """See `Kind`."""
        if isinstance(value, bool):
            return value
        message = f"must be true or false, is {shown(value)}"
        notes.add(path, message, "write it without quotes" if isinstance(value, str) else "")
        return None

    def schema(self) -> Json:
        """See `Kind`."""
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """An array without repetitions.

    Attributes:
        item: what each element is.
        least: how many there must be.
        ordered: the order means something; else they are sorted in the end, so that it cannot.
    """

    about: str
    item: Text | RelativePath | Choice
    least: int = 0
    ordered: bool = False

    @property
    def example(self) -> list[Any]:
        """See `Kind`."""
        return [self.item.example]

    def read(self, value: Any, path: KeyPath, notes: Notes) -> tuple[Any, ...] | None:
        """See `Kind`; a wrong element is None, so that the others keep their index."""
        if not isinstance(value, list):
            remedy = "put it into square brackets" if isinstance(value, str) else ""
            notes.add(path, f"must be an array, is {shown(value)}", remedy)
            return None
        if len(value) < self.least:
            remedy = f"name at least {self.least}, such as {shown(self.item.example)}"
            notes.add(path, "is empty", remedy)
            return None
        same = self.item.form.same if isinstance(self.item, Text) else str
        first: dict[str, Any] = {}
        items: list[Any] = []
        for index, raw in enumerate(value):
            item = self.item.read(raw, (*path, index), notes)
            if item is not None and (known := first.get(same(str(item)))) is not None:
                notes.add((*path, index), f"repeats {shown(known)}", "name it once")
                item = None
            elif item is not None:
                first[same(str(item))] = item
            items.append(item)
        return tuple(items)

    def schema(self) -> Json:
        """See `Kind`."""
        rule: Json = {"type": "array", "items": self.item.schema(), "uniqueItems": True}
        return rule | ({"minItems": self.least} if self.least else {})
