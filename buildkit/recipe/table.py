"""Tables of keys, and how a parsed document is read by them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from buildkit.recipe.kinds import Many
from buildkit.recipe.notes import dotted, meant, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.recipe.kinds import Kind
    from buildkit.recipe.locate import KeyPath
    from buildkit.recipe.notes import Notes


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of keys.

    Attributes:
        about: what it is for, one line for people.
        record: the dataclass whose defaults are those of the keys; a key whose field there has
            none must be written.
        keys: name → kind, in the order of the documentation.
        absent: what it means when there is no such table.
    """

    about: str
    record: type
    keys: Mapping[str, Kind | Table]
    absent: Literal["mistake", "defaults", "nothing"] = "mistake"

    def defaults(self) -> dict[str, Any]:
        """Key → default, for those keys that need not be written."""
        return {
            field.name: field.default
            for field in dataclasses.fields(self.record)
            if field.default is not dataclasses.MISSING
        }

    def tables(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Table]]:
        """This table and all below it, each with its path."""
        yield path, self
        for name, key in self.keys.items():
            if isinstance(key, Table):
                yield from key.tables((*path, name))


def settled(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` of `table`, with arrays sorted whose order means nothing."""
    result = dict(values)
    for name, key in table.keys.items():
        if isinstance(key, Table) and name in result:
            result[name] = settled(key, result[name])
        elif isinstance(key, Many) and name in result and not key.ordered:
            result[name] = tuple(sorted(result[name]))
    return result


class Reader:
    """Reads a document by its root table.

    Args:
        root: the table of the whole document.
        notes: takes the mistakes.
    """

    def __init__(self, root: Table, notes: Notes) -> None:
        self._root = root
        self._notes = notes

    def read(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """All that is right in `document`, defaults filled in.

        A key without a value and without a default is left out, as is a wrong one; a wrong
        element of an array is None. A table stays there, though it may be empty.
        """
        return self._table(self._root, document, ())

    def _table(self, table: Table, raw: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        defaults = table.defaults()
        for name in raw:
            if name not in table.keys:
                self._unknown(table, (*path, name))
        for name, key in table.keys.items():
            here = (*path, name)
            if isinstance(key, Table):
                value = self._subtable(key, raw, here)
            elif name in raw:
                value = key.read(raw[name], here, self._notes)
            elif name in defaults:
                value = defaults[name]
            else:
                remedy = f"write {name} = {shown_example(key.example)}"
                self._notes.add(here, f"is missing: {key.about}", remedy, missing=True)
                continue
            if value is not None:
                values[name] = value
        return values

    def _subtable(self, table: Table, raw: Mapping[str, Any], path: KeyPath) -> Any:
        name = path[-1]
        if name in raw:
            value = raw[str(name)]
            if isinstance(value, dict):
                return self._table(table, value, path)
            self._notes.add(path, f"must be a table, is {shown(value)}", f"write [{dotted(path)}]")
            return None
        if table.absent == "defaults":
            return self._table(table, {}, path)
        if table.absent == "mistake":
            remedy = f"write a table [{dotted(path)}]"
            self._notes.add(path, f"is missing: {table.about}", remedy, missing=True)
        return None

    def _unknown(self, table: Table, path: KeyPath) -> None:
        name = str(path[-1])
        homes = [
            f"in [{dotted(home)}]" if home else "at the top, before the first [table]"
            for home, other in self._root.tables()
            if name in other.keys
        ]
        if homes:
            remedy = f"it belongs {' or '.join(homes)}"
        elif near := meant(name, table.keys):
            remedy = f"did you mean {near}?"
        else:
            remedy = f"known here: {', '.join(table.keys)}"
        self._notes.add(path, "is not a known key", remedy)


def shown_example(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(shown_example(item) for item in value)}]"
    return shown(value)
