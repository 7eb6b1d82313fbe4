"""``why``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render, stores
from buildkit.errors import InputError
from buildkit.run import run as run_program
from buildkit.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from buildkit.why import Cause, Consequence, Effect, Explanation, Reason

_NOTES = """\
A and B are two names or digests in a store, or two lock files. The first cause is the shortest
true explanation; what followed from it is listed under it. A difference that nothing in the
locks or the sources explains is called unexplained: then the build was not reproducible.

exit status: 0 identical; 1 different; 2 it could not be told

examples:
  python -m buildkit why digits:1.0.0 digits:1.1.0
  python -m buildkit why sha256:b709dec sha256:41c0ffe --store-b ../other/.buildkit/store
  python -m buildkit why before.lock recipes/digits/recipe.lock --json | jq -r .causes[0].subject
"""

_SHOWN = 6
_HEX = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")
_TITLES = {
    "debian": "Debian package",
    "seed": "seed package",
    "model-file": "source model",
    "model-artifact": "source model",
    "training-seed": "training",
    "onnxruntime": "quantiser",
    "recipe": "recipe key",
    "question": "what was asked for",
    "model-commit": "model's",
    "dockerfile": "Dockerfile",
    "code": "our own",
    "same-in-recipe": "recipe says so:",
    "same-in-lock": "lock says so:",
    "range": "range of",
    "packing": "packing:",
    "order": "",
    "more": "",
    "image-config": "image",
    "graph": "graph:",
    "bytes": "",
    "part": "",
    "layer": "",
    "float-model": "",
    "quantised-model": "quantised",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("a", metavar="A", help="name or digest in the store, or a lock file")
    parser.add_argument("b", metavar="B", help="the other one, of the same kind")
    stores.argument(parser)
    parser.add_argument(
        "--store-b", type=Path, metavar="DIR", help="store of B, where it is another one"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    form.add_argument(
        "--diffoscope",
        action="store_true",
        help="show the inside of the first changed file, with the diffoscope of this machine",
    )


def run(options: argparse.Namespace) -> int:
    """Compare and explain."""
    from buildkit import why  # noqa: PLC0415 - `--help` must not wait for it

    files = [_is_file(name) for name in (options.a, options.b)]
    if any(files) and not all(files):
        msg = f"{options.a} and {options.b}: the one is a file, the other is not"
        raise InputError(msg, "name two lock files, or two artifacts of a store")
    if any(files) and options.diffoscope:
        msg = "lock files have no files inside that diffoscope could look into"
        raise InputError(msg, "leave --diffoscope out, or name two artifacts of a store")
    inside: list[str] = []
    if all(files):
        found = why.lock_files(Path(options.a), Path(options.b))
    else:
        store = stores.chosen(options)
        other = store if options.store_b is None else Store.open(options.store_b)
        found = why.refs(store, options.a, other, options.b)
        if options.diffoscope:
            inside = ["", *why.inside(found, store, other, runner=run_program)]
    if options.json:
        render.document(found.to_json())
    else:
        print("\n".join([*_text(found), *map(render.plain, inside)]))
    return 0 if found.identical else 1


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _text(found: Explanation) -> Iterator[str]:
    a, b = (_named(each) for each in (found.a, found.b))
    if found.identical:
        yield f"{a} and {b} are identical"
    else:
        yield f"{a} and {b} differ: {_count(len(found.causes), 'cause')}"
    for number, reason in enumerate(found.causes, 1):
        yield ""
        yield f"{number}. {_said(reason.what)}"
        yield from _places(reason.what)
        yield from _consequences(reason.explains)
    if found.unexplained:
        yield ""
        yield "unexplained: nothing in the locks or the sources is the reason"
        for reason in found.unexplained[: 3 * _SHOWN]:
            yield from _root(reason)
        if len(found.unexplained) > 3 * _SHOWN:
            yield f"   … and {len(found.unexplained) - 3 * _SHOWN} more (--json has them)"
    if found.unrelated:
        yield ""
        yield "moved as well, to no effect on these two:"
        yield from (f"   {_said(each)}" for each in found.unrelated[:_SHOWN])
        if len(found.unrelated) > _SHOWN:
            yield f"   … and {len(found.unrelated) - _SHOWN} more"
    for note in found.notes:
        yield ""
        yield f"note: {render.plain(note)}"


def _named(side: Mapping[str, str]) -> str:
    digest = _short(side["digest"])
    name = render.plain(side["name"])
    return digest if name.removeprefix("sha256:") in side["digest"] else f"{name} ({digest})"


def _root(reason: Reason) -> Iterator[str]:
    where = getattr(reason.what, "where", "")
    yield f" - {_said(reason.what)}" + (f"  in {render.plain(where)}" if where else "")
    yield from _consequences(reason.explains)


def _places(what: Cause | Effect) -> Iterator[str]:
    places = getattr(what, "places", ())
    if places and places not in {("model",), ("app",)}:
        yield f"      in {', '.join(map(render.plain, places))}"


def _consequences(found: Sequence[Consequence]) -> Iterator[str]:
    """What followed, by kind and place, each shortened."""
    groups: dict[tuple[str, str], list[Consequence]] = {}
    for each in found:
        groups.setdefault((each.effect.kind, each.effect.where), []).append(each)
    for (kind, where), group in groups.items():
        inside = "     "
        if kind in {"file", "time", "order", "packing", "more"}:
            inside += "  "
        elif where and kind != "layer":
            yield f"     in {render.plain(where)}"
            inside += "  "
        for each in group[:_SHOWN]:
            yield f"{inside}{_mark(each)} {_said(each.effect)}"
        if len(group) > _SHOWN:
            yield f"{inside}  … and {len(group) - _SHOWN} more of {kind} (--json has them)"


def _mark(each: Consequence) -> str:
    return "→" if each.sure else "?"


def _said(what: Cause | Effect) -> str:
    title = _TITLES.get(what.kind, what.kind.replace("-", " "))
    if what.before and what.after:
        change = f"{what.before} → {what.after}"
    elif what.before or what.after:
        change = f"added: {what.after}" if what.after else f"removed: {what.before}"
    else:
        change = ""
    detail = getattr(what, "detail", "")
    words = dict.fromkeys((title, what.subject))
    text = " ".join(filter(None, words)) + (f"  {_short(change)}" if change else "")
    return render.plain(text + (f"  ({detail})" if detail else ""))


def _short(text: str) -> str:
    return _HEX.sub(r"\1", text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
