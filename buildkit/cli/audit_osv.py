"""``audit vulnerabilities``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import audit_asked, stores

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from buildkit.audit import Index
    from buildkit.audit.osvtypes import Vulnerabilities, Vulnerable

HELP = "what an OSV database on this disk says about the packages inside"

_SHOWN = 10
_LONGEST = 48


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "ref",
        nargs="?",
        default="",
        help=f"{audit_asked.REF} (default: everything)",
    )
    parser.add_argument(
        "--osv",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of OSV records (JSON) or of all.zip files, or one all.zip: your own download",
    )
    audit_asked.limit(parser, 1000)
    audit_asked.form(parser)
    parser.epilog = (
        "No network is used. exit status: 0 no record says that anything is affected; 1 one does; "
        "2 it could not be answered, also where no SBOM that counts says what is inside. What "
        "cannot be decided is told, and is no vulnerability."
    )


def run(options: argparse.Namespace, opened: Callable[[], AbstractContextManager[Index]]) -> int:
    """Ask, and show the answer."""
    from buildkit.audit import osvread, workers  # noqa: PLC0415 - `--help` must not wait for it

    # To look for changes in 45,000 files takes as long as to import what answers.
    with workers.begun(lambda: osvread.fingerprint(options.osv)) as state, opened() as index:
        found = _asked(options, index, state)
    return _shown(options, found)


def _asked(options: argparse.Namespace, index: Index, state: Callable[[], str]) -> Vulnerabilities:
    from buildkit.audit import osv  # noqa: PLC0415 - `--help` must not wait for it

    cache = osv.cache_file(_folder(options, index), options.osv)
    say = audit_asked.say(options)
    with osv.Database.open(options.osv, cache, say, state=state) as database:
        return osv.vulnerabilities(index, database, options.ref, limit=options.limit)


def _shown(options: argparse.Namespace, found: Vulnerabilities) -> int:
    from buildkit.audit import osv  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.cli import audit_show, render  # noqa: PLC0415 - as above

    if options.json:
        rest = {"schema": audit_show.SCHEMA, "question": "vulnerabilities"}
        render.document(dataclasses.asdict(found) | rest)
    elif options.csv:
        names = [field.name for field in dataclasses.fields(osv.Vulnerable)]
        audit_show.sheet(names, ([getattr(row, name) for name in names] for row in found.rows))
    else:
        _show(found)
    if not options.json:
        _tell(found, options)
    if found.rows:
        return 1
    return 2 if found.unknown else 0


def _folder(options: argparse.Namespace, index: Index) -> Path:
    """Beside the index; beside the store when that is in another machine's database."""
    if index.dialect == "sqlite":
        return Path(index.name).absolute().parent
    return stores.folder(options).absolute().parent


def _show(found: Vulnerabilities) -> None:
    from buildkit.cli import render  # noqa: PLC0415 - `--help` must not wait for it

    if not found.rows:
        print("no record says that anything is affected")
        return
    heads = ("score", "id", "package", "version", "fixed in", "what", "for", "digest", "evidence")
    print(render.table([heads, *map(_cells, found.rows)]))


def _cells(row: Vulnerable) -> tuple[str, ...]:
    from buildkit.cli.audit_show import cell  # noqa: PLC0415 - `--help` must not wait for it

    word = row.severity if len(row.severity) < 12 else ""
    name = f"{row.name} ?" if row.assumed else row.name
    cells = (
        word if row.score is None else f"{row.score:.1f}",
        row.id,
        name,
        row.version,
        ", ".join(row.fixed),
        f"{row.artifact}:{row.release}" if row.artifact else row.role,
        row.variant,
        row.digest,
        row.evidence,
    )
    return tuple(cell(each, _LONGEST) for each in cells)


def _tell(found: Vulnerabilities, options: argparse.Namespace) -> None:
    """What an answer without rows would hide; not among the rows, which a program reads."""
    from buildkit.cli.render import plain  # noqa: PLC0415 - `--help` must not wait for it

    stream = sys.stderr if options.csv else sys.stdout
    known = found.database
    whose = ", ".join(known.ecosystems) or "no ecosystem"
    told = [f"{found.packages} packages against {known.records} records of {whose}"]
    told.append(f"the newest of them is of {known.newest or 'no time'}")
    if found.assumed:
        count = len(found.assumed)
        told.append(f"{count} Debian packages are looked up by their own names (?), since the SBOM")
        told.append("  does not name their source packages, by which advisories go: build again")
    if found.unknown:
        told.append(f"{len(found.unknown)} have no SBOM that counts, so nobody knows what is in:")
        told += [f"  {each}" for each in found.unknown[:_SHOWN]]
    if known.broken:
        told.append(f"{known.broken} files are no OSV records:")
        told += [f"  {each}" for each in known.unreadable[:_SHOWN]]
    if found.undecided:
        told.append(f"{len(found.undecided)} cannot be decided:")
        told += [
            f"  {each.package} {each.id}: {each.why}".replace(" :", ":")
            for each in found.undecided[:_SHOWN]
        ]
        if len(found.undecided) > _SHOWN:
            told.append("  … (all with --json)")
    if found.more:
        told.append(f"there is more: --limit {options.limit * 10}")
    for each in told:
        print(plain(each), file=stream)
