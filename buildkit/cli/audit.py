"""``audit``."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from buildkit import audit
from buildkit.cli import audit_asked, registries, stores
from buildkit.errors import BuildkitError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from buildkit.audit import Answer, Index
    from buildkit.audit.sync import Synced
    from buildkit.pipeline.audit import Asked

_NOTES = """\
Answers come from an index that is made from the store and can be thrown away: a file beside the
store (.buildkit/audit.sqlite), or another one (--index FILE, or a PostgreSQL database:
--index postgresql+psycopg://USER@HOST/DATABASE, or the variable EDGE_BUILDKIT_AUDIT). Each question
first reads what is new in the store. Only what verifies by the policy is a fact; every row names
the bundles that prove it, and `python -m buildkit evidence REF --about BUNDLE` shows one. Every
question has --json, --csv and --limit.

REF is a name in the store (digits:1.0.0), a digest, or the first 7 hex digits of one.
docs/audit.md has an example of each question, docs/audit-schema.md the tables for `audit sql`.

exit status: 0 answered, even when there is nothing to list; 1 `gaps` found some, `path` found no
chain, or `vulnerabilities` found some; 2 it could not be answered
"""

_WHEN = "2026-11-01, 2026-11-01T12:00:00Z (UTC where it does not say), or 7d: so many days ago"


class _Question(NamedTuple):
    """A subcommand: what it does, its arguments, and its answer."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    ask: Callable[[argparse.Namespace, Index], Answer[Any]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of all questions."""
    parser.epilog = _NOTES
    questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")
    for name, question in QUESTIONS.items():
        sub = _sub(questions, name, question.help)
        question.arguments(sub)
        audit_asked.limit(sub)
        audit_asked.form(sub)
    sub = _sub(questions, "sql", "one SELECT of your own; nothing can be written")
    sub.add_argument("statement", help="in the words of the database; `-` reads standard input")
    sub.add_argument(
        "--seconds", type=_seconds, default=10.0, help="end it after so long (default: 10)"
    )
    audit_asked.limit(sub)
    audit_asked.form(sub)
    sub = _sub(questions, "index", "bring the index up to date, make it anew, or look at it")
    sub.add_argument("what", nargs="?", choices=("refresh", "anew", "status"), default="refresh")
    sub.add_argument(
        "--from",
        dest="place",
        metavar="HOST/REPOSITORY",
        help="read a repository of a registry instead of the store",
    )
    registries.line(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    for name, module in OTHERS.items():
        other = importlib.import_module(module)
        other.arguments(_sub(questions, name, other.HELP))


def run(options: argparse.Namespace) -> int:
    """Bring the index up to date, ask, and show the answer."""
    if options.question in OTHERS:
        other = importlib.import_module(OTHERS[options.question])
        status: int = other.run(options, lambda: _opened(options))
        return status
    from buildkit.cli import audit_show  # noqa: PLC0415 - `--help` must not wait for it

    if options.question == "index":
        return _index(options)
    with _opened(options, readonly=options.question == "sql") as index:
        if options.question == "sql":
            text = sys.stdin.read() if options.statement == "-" else options.statement
            cells = audit.sql(index, text, seconds=options.seconds, limit=options.limit)
            audit_show.cells(cells, options)
            return 0
        answer = QUESTIONS[options.question].ask(options, index)
    audit_show.answer(answer, options)
    if options.question == "gaps":
        return 1 if answer.rows else 0
    if options.question == "path" and not answer.rows:
        if answer.more:
            msg = "no chain was found, and not everything was looked at"
            raise BuildkitError(msg, "ask about something nearer to one of the two")
        return 1
    return 0


def _opened(
    options: argparse.Namespace, *, readonly: bool = False
) -> AbstractContextManager[Index]:
    from buildkit.pipeline import audit as pipeline  # noqa: PLC0415 - `--help` must not wait for it

    return pipeline.opened(_asked(options), readonly=readonly, say=audit_asked.say(options))


def _asked(options: argparse.Namespace) -> Asked:
    from buildkit.evidence import keys  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline.audit import Asked  # noqa: PLC0415 - as above

    return Asked(
        store=stores.folder(options),
        index=options.index,
        policy_file=options.policy,
        keys=options.keys if options.keys is not None else keys.location(),
        now=datetime.now(UTC),
        source=options.source,
        sync=not options.no_sync,
    )


def _index(options: argparse.Namespace) -> int:
    from buildkit.cli import audit_show  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline import audit as pipeline  # noqa: PLC0415 - as above

    asked, say = _asked(options), audit_asked.say(options)
    where = pipeline.location(asked)
    index = audit.open(where, readonly=options.what == "status")
    done = None
    try:
        if options.what != "status" and options.place is not None:
            done = _repository(options, asked, index, say)
        elif options.what != "status":
            done = pipeline.refresh(asked, index, anew=options.what == "anew", say=say)
        audit_show.status(audit.status(index), done, options)
    finally:
        index.close()
    return 0


def _repository(
    options: argparse.Namespace, asked: Asked, index: Index, say: Callable[[str], None]
) -> Synced:
    from buildkit.pipeline import audit as pipeline  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline import audit_registry  # noqa: PLC0415 - as above
    from buildkit.registry import parse  # noqa: PLC0415 - as above

    if options.what == "anew":
        msg = "`anew` reads the store again, and a repository stands beside it"
        raise InputError(msg, "`audit index anew`, then `audit index --from` once more")
    return audit_registry.refresh(
        index,
        parse(options.place),
        access=registries.access(options),
        trust=pipeline.trust(asked),
        say=say,
    )


# Arguments -------------------------------------------------------------------------------------


def _sub(questions: Any, name: str, text: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = questions.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    stores.argument(sub)
    sub.add_argument(
        "--index", metavar="FILE|URL", help="default: $EDGE_BUILDKIT_AUDIT, or beside the store"
    )
    sub.add_argument("--policy", type=Path, metavar="FILE", help="a policy.toml: whose word counts")
    sub.add_argument("--keys", type=Path, metavar="DIR", help="key ring; default: that of the user")
    sub.add_argument(
        "--no-sync", action="store_true", help="ask the index as it is, without the store"
    )
    sub.add_argument(
        "--source", default="", metavar="NAME", help="what the store is called in the index"
    )
    sub.add_argument("--quiet", action="store_true", help="no progress")
    return sub


def _contains(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "package",
        metavar="PACKAGE[<VERSION]",
        help="openssl<3.0.15, numpy>=2,<2.1, pkg:deb/debian/zlib1g, sha256:…, licence:GPL-3.0*",
    )


def _from(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "input",
        help="a wheel or a Debian package (numpy, numpy<2, pkg:pypi/numpy@2.1.0), a file's name, "
        "a digest or a commit or the first 7 digits of one, `engine amd64`, builder:pinned",
    )


def _signed_by(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("signer", help="a key (name, or 4 digits of its id), a device, an identity")
    sub.add_argument("--kind", default="", help="of evidence: provenance, verdict, …")
    sub.add_argument("--since", type=when, metavar="TIME", help=_WHEN)


def _devices(sub: argparse.ArgumentParser) -> None:
    audit_asked.ref(sub)
    sub.add_argument(
        "--all", action="store_true", help="every run, not the newest of each device alone"
    )


def _passed(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--target", default="", help="kind of device (default: all)")
    sub.add_argument("--since", type=when, default=0, metavar="TIME", help=_WHEN)


def _history(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("channel", help="canary, digits:canary or HOST/REPOSITORY:canary")


def _path(sub: argparse.ArgumentParser) -> None:
    what = "an artifact, a bundle, a commit, an input, a package, a device, a key or a channel"
    sub.add_argument("a", metavar="A", help=what)
    sub.add_argument("b", metavar="B", help="likewise")


def _gaps(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--kind", action="append", default=[], help="look for this kind of evidence only"
    )
    sub.add_argument(
        "--retired", action="store_true", help="only what somebody with a retired key has signed"
    )


def _at(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("time", type=when, help=_WHEN)


def when(text: str) -> int:
    """Seconds since 1970 of what a person writes for a time.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        if text == "now":
            found = datetime.now(UTC)
        elif ago := re.fullmatch(r"([0-9]{1,5})d", text):
            found = datetime.now(UTC) - timedelta(days=int(ago[1]))
        else:
            found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no time: write {_WHEN}"
        raise argparse.ArgumentTypeError(msg) from error


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86_400:
        msg = f"{text!r} is no number of seconds up to a day"
        raise argparse.ArgumentTypeError(msg)
    return found


# Questions -------------------------------------------------------------------------------------

QUESTIONS = {
    "contains": _Question(
        "which channels, devices, images and models hold a package",
        _contains,
        lambda o, index: audit.contains(index, o.package, limit=o.limit),
    ),
    "from": _Question(
        "all that was made from a package, a file, a commit or a builder",
        _from,
        lambda o, index: audit.made_from(index, o.input, limit=o.limit),
    ),
    "materials": _Question(
        "what an artifact was made from, down to the seed",
        audit_asked.ref,
        lambda o, index: audit.materials(index, o.ref, limit=o.limit),
    ),
    "signed-by": _Question(
        "what somebody signed",
        _signed_by,
        lambda o, index: audit.signed_by(
            index, o.signer, kind=o.kind, since=o.since, limit=o.limit
        ),
    ),
    "devices": _Question(
        "which devices ran an artifact, when, and with what verdict",
        _devices,
        lambda o, index: audit.devices(index, o.ref, all_runs=o.all, limit=o.limit),
    ),
    "passed": _Question(
        "which images and models gates let pass",
        _passed,
        lambda o, index: audit.passed(index, target=o.target, since=o.since, limit=o.limit),
    ),
    "history": _Question(
        "where a channel led, move by move",
        _history,
        lambda o, index: audit.history(index, o.channel, limit=o.limit),
    ),
    "who": _Question(
        "who says what about an artifact",
        audit_asked.ref,
        lambda o, index: audit.who(index, o.ref, limit=o.limit),
    ),
    "path": _Question(
        "the chain of evidence between two things",
        _path,
        lambda o, index: audit.path(index, o.a, o.b),
    ),
    "gaps": _Question(
        "artifacts that lack evidence, or whose evidence does not count",
        _gaps,
        lambda o, index: audit.gaps(index, kinds=o.kind, retired=o.retired, limit=o.limit),
    ),
    "at": _Question(
        "where every channel led at a time",
        _at,
        lambda o, index: audit.at(index, o.time, limit=o.limit),
    ),
}

# Questions with an answer of another form: a module each, with HELP, `arguments` and `run`, which
# opens the index when it needs it.
OTHERS = {
    "report": "buildkit.cli.audit_report",
    "vulnerabilities": "buildkit.cli.audit_osv",
}
