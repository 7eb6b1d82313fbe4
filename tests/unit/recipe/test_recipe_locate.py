from __future__ import annotations

import tomli
from hypothesis import given
from hypothesis import strategies as st

from buildkit.recipe.locate import KeyPath, locate

GAPS = ["", " ", "\t", "\n", " \n\n ", ' # a comment, ] } " \n']
SCALARS = [
    "1",
    "-1_000.5e3",
    "0xFF",
    "inf",
    "true",
    "1979-05-27 07:32:00.5",
    "1979-05-27T07:32:00Z",
    '""',
    "''",
    '"a \\" # ] } b"',
    "'a \\'",
    '"[x]\\n"',
]
BASIC = ["a", '""x', "\n", "# ", "] }", '\\"', "\\\\", "'''", " = ", "\\\n  "]
LITERAL = ["a", "''x", "\n", "# ", "] }", "\\", '"""', " = "]


class Writer:
    """Writes a random TOML document, and knows the line of everything in it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.places: dict[KeyPath, int] = {}
        self.names = 0

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def note(self, path: KeyPath) -> None:
        self.places.setdefault(path, self.line)

    def pick(self, options: list[str]) -> str:
        return self.draw(st.sampled_from(options))

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def key(self) -> tuple[str, str]:
        """A new key: as written, and its name."""
        self.names += 1
        n = self.names
        return self.draw(
            st.sampled_from(
                [
                    (f"k-{n}", f"k-{n}"),
                    (f"{n}", f"{n}"),
                    (f'"k.{n} #"', f"k.{n} #"),
                    (f"'[k\\{n}]'", f"[k\\{n}]"),
                    (f'"\\u006b\\"{n}"', f'k"{n}'),
                ]
            )
        )

    def keys(self, base: KeyPath) -> tuple[str, KeyPath]:
        """A new key, perhaps dotted: as written, and its path; noted all the way."""
        written, path = [], base
        for _ in range(self.draw(st.integers(1, 3))):
            text, name = self.key()
            written.append(text)
            path = (*path, name)
            self.note(path)
        return self.pick([".", " . "]).join(written), path

    def value(self, path: KeyPath, depth: int = 0) -> None:
        kind = self.draw(st.integers(0, 4 if depth < 3 else 2))
        if kind == 0:
            self.text += self.pick(SCALARS)
        elif kind == 1:
            inside = "".join(self.draw(st.lists(st.sampled_from(BASIC))))
            self.text += f'"""{inside}' + self.pick(["", '"', '""']) + '"""'
        elif kind == 2:
            inside = "".join(self.draw(st.lists(st.sampled_from(LITERAL))))
            self.text += f"'''{inside}" + self.pick(["", "'", "''"]) + "'''"
        elif kind == 3:
            self.array(path, depth)
        else:
            self.inline(path, depth)

    def array(self, path: KeyPath, depth: int) -> None:
        self.text += "[" + self.pick(GAPS)
        count = self.draw(st.integers(0, 3))
        for index in range(count):
            self.note((*path, index))
            self.value((*path, index), depth + 1)
            self.text += self.pick(GAPS)
            if index < count - 1 or self.maybe():
                self.text += "," + self.pick(GAPS)
        self.text += "]"

    def inline(self, path: KeyPath, depth: int) -> None:
        self.text += "{ "
        for index in range(self.draw(st.integers(0, 3))):
            self.text += ", " if index else ""
            written, inner = self.keys(path)
            self.text += f"{written} = "
            self.value(inner, depth + 1)
        self.text += " }"

    def statements(self, base: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.text += self.pick(["", "\n", "  ", "# [no.table]\n", "#'''\n"])
            written, path = self.keys(base)
            self.text += written + self.pick([" = ", "=", "\t="])
            self.value(path)
            self.text += self.pick(["\n", " # end\n", "\t\n\n"])

    def table(self) -> None:
        outer, outer_name = self.key()
        inner, inner_name = self.key()
        if self.maybe():
            self.note((outer_name,))
            self.note((outer_name, inner_name))
            self.text += f"[ {outer} . {inner} ] # [no]\n"
            self.statements((outer_name, inner_name))
        if self.maybe():
            # A table's own header counts, though another header led through it before.
            self.places[(outer_name,)] = self.line
            self.text += f"[{outer}]\n"
            self.statements((outer_name,))

    def tables(self) -> None:
        outer, outer_name = self.key()
        inner, inner_name = self.key()
        for index in range(self.draw(st.integers(1, 3))):
            self.note((outer_name,))
            self.note((outer_name, index))
            self.text += f"[[{outer}]]\n"
            self.statements((outer_name, index))
            if self.maybe():
                self.note((outer_name, index, inner_name))
                self.text += f"  [{outer}.{inner}]\n"
                self.statements((outer_name, index, inner_name))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.statements(())
    for _ in range(draw(st.integers(0, 3))):
        if writer.maybe():
            writer.table()
        else:
            writer.tables()
    return writer.text, writer.places


@given(documents())
def test_the_line_of_everything(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, places = document
    tomli.loads(text)
    assert locate(text).places == places
    assert locate(text.replace("\n", "\r\n")).places == places


def test_what_is_missing_is_in_the_nearest_table_that_was_written() -> None:
    lines = locate("a = 1\n[b.c]\nd = 2\n[e]\nf.g = 3\nh = [\n  { i = 4 },\n]\n")
    assert lines.around(("x",)) == 0
    assert lines.around(("b", "x")) == 0
    assert lines.around(("b", "c", "x")) == 2
    assert lines.around(("e", "f", "x")) == 4
    assert lines.around(("e", "h", 0, "x")) == 7


def test_the_line_of_something_unknown_is_that_of_what_is_around_it() -> None:
    lines = locate("[b.c]\nd = [\n 1]\n")
    assert lines.of(("b",)) == 1
    assert lines.of(("b", "c", "d", 0)) == 3
    assert lines.of(("b", "c", "d", 7)) == 2
    assert lines.of(("z", "y")) == 0


def test_deep_nesting_needs_no_recursion() -> None:
    text = "a = " + "[\n" * 5000 + "]" * 5000
    assert locate(text).of(("a", *[0] * 4999)) == 5000
