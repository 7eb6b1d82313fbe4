"""Every number that the audit index must show, on a made-up year (`history`).

    .venv/bin/python benchmarks/audit.py [--history FOLDER] [--postgresql] [--rounds N]

1,000 images, 1,000 models, 100,000 device reports; PostgreSQL is Debian's, started here. The folder
is kept and used again when it is named. Nothing is compared with something else here, because
nothing else answers these questions: each line is a number and the bound that it must keep.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import history_osv
import history_store
import sqlalchemy as sql
from history import SMALL, History, Size

from buildkit import audit
from buildkit.audit import judge, osv, sync
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.verify import anchors
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildkit.audit import Index

ROOT = Path(__file__).parents[1]
Asked = dict[str, list["Callable[[Index], object]"]]


class _Unchecked:
    """A key that believes every signature."""

    def __init__(self, key: Any) -> None:
        self.id, self.hint, self.name, self.state = key.id, key.hint, key.name, key.state

    def verify(self, signature: bytes, data: bytes) -> None:
        """Look at nothing."""


def trust(folder: Path, *, checked: bool) -> judge.Trust:
    """The history's own keys; without `checked`, signatures are believed unseen."""
    policy = Policy()
    found = anchors.load(policy, folder, KeyRing.load(folder), datetime.now(UTC))
    if not checked:
        found = replace(
            found,
            keys=_unchecked(found.keys),
            known=_unchecked(found.known),
            rebuilders=_unchecked(found.rebuilders),
            devices=_unchecked(found.devices),
        )
    return judge.Trust(policy=policy, anchors=found)


def _unchecked(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {hint: _Unchecked(key) for hint, key in keys.items()}


def ingest(where: str, place: Path, *, checked: bool) -> None:
    """Make an index, and say how fast."""
    index = audit.open(where)
    began, worked = time.perf_counter(), _worked()
    believed = trust(place / "keys", checked=checked)
    done = sync.store(
        index, Store.open(place / "store"), policy=believed.policy, anchors=believed.anchors
    )
    seconds, worked = time.perf_counter() - began, _worked() - worked
    index.close()
    word = "with signatures" if checked else "signatures unseen"
    print(
        f"  ingest, {word}: {done.added / seconds:.0f} statements/s "
        f"({done.added} in {seconds:.1f} s; {worked:.1f} s of CPU, "
        f"{worked / done.added * 1e6:.0f} us each; {done.refused} refused; {load()})",
        flush=True,
    )


def _worked() -> float:
    """Seconds of CPU of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def load() -> str:
    """How many wanted a processor in the last minute, and how many there are."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def questions(history: History) -> Asked:
    """Every query, each with arguments that differ."""
    size = history.size
    releases = [history.release(size.releases * at // 8) for at in range(8)]
    refs = [f"{each.name}:{each.version}" for each in releases]
    names = sorted({pin.name for pin in releases[0].lock.platforms["linux/arm64"].debian})[:4]
    pins = [each.lock.platforms["linux/arm64"].wheels[0] for each in releases]
    boards = [f"board-{size.devices * at // 8:04}" for at in range(8)]
    ids = [history_store.key(name, history.seed).public.id for name in boards]
    times = [each.at + 100_000 for each in releases]
    return {
        "contains NAME": [partial(audit.contains, package=name) for name in names],
        "contains NAME<VERSION": [
            partial(audit.contains, package=f"{pin.name}<{pin.version}") for pin in pins
        ],
        "contains sha256": [partial(audit.contains, package=f"sha256:{p.sha256}") for p in pins],
        "contains licence": [partial(audit.contains, package="licence:GPL-2.0*")],
        "from WHEEL": [partial(audit.made_from, input_=pin.name) for pin in pins],
        "from COMMIT": [partial(audit.made_from, input_=each.revision) for each in releases],
        "from sha256": [partial(audit.made_from, input_=f"sha256:{pin.sha256}") for pin in pins],
        "materials": [partial(audit.materials, ref=ref) for ref in refs],
        "signed-by KEY": [partial(audit.signed_by, signer="host")],
        "signed-by DEVICE": [partial(audit.signed_by, signer=name) for name in boards],
        "devices": [partial(audit.devices, ref=ref) for ref in refs],
        "devices --all": [partial(audit.devices, ref=ref, all_runs=True) for ref in refs],
        "passed --target": [partial(audit.passed, target="pi5", since=at) for at in times],
        "passed": [partial(audit.passed)],
        "history": [partial(audit.history, channel=f"{each.name}:canary") for each in releases],
        "who": [partial(audit.who, ref=ref) for ref in refs],
        "path DEVICE COMMIT": [
            partial(audit.path, one=name, other=each.revision)
            for name, each in zip(ids, releases, strict=True)
        ],
        "gaps": [partial(audit.gaps)],
        "gaps --retired": [partial(audit.gaps, retired=True)],
        "at": [partial(audit.at, time=at) for at in times],
    }


def ask(index: Index, asked: Asked, bound: float, rounds: int) -> None:
    """Print the p95 of every query."""
    # What this script itself has made is not for the collector to look through in each query.
    gc.collect()
    gc.freeze()
    for name, calls in asked.items():
        for call in calls:
            rows = len(getattr(call(index), "rows", ()))
        taken, worked = [], []
        for call in itertools.islice(itertools.cycle(calls), rounds):
            began, at = time.perf_counter(), time.process_time()
            call(index)
            worked.append((time.process_time() - at) * 1000)
            taken.append((time.perf_counter() - began) * 1000)
        p95 = statistics.quantiles(taken, n=20)[-1]
        word = "" if p95 <= bound else f"   over {bound:.0f} ms"
        print(
            f"  {name:24} p50 {statistics.median(taken):6.1f} ms  p95 {p95:6.1f} ms "
            f"(of one CPU {statistics.quantiles(worked, n=20)[-1]:5.1f})  {rows:5} rows{word}",
            flush=True,
        )


def first(place: Path, where: str, words: list[str], bound: float, rounds: int = 11) -> None:
    """Print how long a whole process takes from its start to its answer."""
    command = [sys.executable, "-m", "buildkit", "audit", *words]
    command += ["--store", str(place / "store"), "--index", where]
    environment = {**os.environ, "EDGE_BUILDKIT_KEYS": str(place / "keys")}
    # With it, every start would compile our modules again: nobody's machine has it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        taken.append(time.perf_counter() - began)
        if done.returncode not in (0, 1):
            print(done.stderr.decode(), file=sys.stderr)
            sys.exit(2)
    rest = sorted(taken[1:])
    word = "" if rest[len(rest) // 2] <= bound else f"   over {bound} s"
    print(
        f"  whole process, `audit {' '.join(words)}`: {rest[len(rest) // 2]:.3f} s "
        f"({rest[0]:.3f} to {rest[-1]:.3f}; {load()}){word}",
        flush=True,
    )


def count(index: Index) -> None:
    """Print what is in it: rows, and how many of them join two others."""
    with index.connect() as connection:
        numbers = {
            table.name: connection.execute(sql.select(sql.func.count()).select_from(table)).scalar()
            for table in _tables()
        }
    edges = sum(
        (numbers[table.name] or 0) * max(len(table.foreign_keys), 1)
        for table in _tables()
        if table.foreign_keys
    )
    print(f"  {sum(filter(None, numbers.values()))} rows, {edges} edges: {json.dumps(numbers)}")


def _tables() -> Any:
    from buildkit.audit.schema import METADATA  # noqa: PLC0415 - beside its use

    return METADATA.sorted_tables


def ask_osv(index: Index, place: Path, history: History, bound: float, rounds: int) -> None:
    """Print what a look into 45,000 records takes."""
    records = place / "osv"
    if not records.exists():
        history_osv.write(records, debian=30_000, pypi=15_000)
    for old in place.glob("audit-osv-*"):
        old.unlink()
    cache = osv.cache_file(place, records)
    began = time.perf_counter()
    with osv.Database.open(records, cache) as database:
        print(f"  OSV, 45,000 records read: {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        found = osv.vulnerabilities(index, database)
        print(
            f"  OSV, {found.packages} packages held against them for the first time: "
            f"{time.perf_counter() - began:.1f} s"
        )
    began = time.perf_counter()
    with osv.Database.open(records, cache) as database:
        print(f"  OSV, opened again: {(time.perf_counter() - began) * 1000:.0f} ms")
        ref = _newest(history)
        asked: Asked = {
            "vulnerabilities REF": [lambda index: osv.vulnerabilities(index, database, ref)],
            "vulnerabilities": [lambda index: osv.vulnerabilities(index, database)],
        }
        ask(index, asked, bound, rounds)


def on_sqlite(place: Path, history: History, chosen: argparse.Namespace) -> None:
    """SQLite's numbers."""
    print(f"SQLite; {load()}")
    file = place / "audit.sqlite"
    if not chosen.asked_only:
        for name, checked in (("unseen.sqlite", False), (file.name, True)):
            for old in place.glob(f"{name}*"):
                old.unlink()
            ingest(str(place / name), place, checked=checked)
        (place / "unseen.sqlite").unlink()
    print(f"  index: {file.stat().st_size / 1e6:.0f} MB")
    index = audit.open(file, readonly=True)
    count(index)
    ask(index, questions(history), 50, chosen.rounds)
    ask_osv(index, place, history, 50, chosen.rounds)
    index.close()
    first(place, str(file), ["contains", "zlib1g", "--limit", "20"], 0.4)
    first(place, str(file), ["devices", _newest(history)], 0.4)
    first(place, str(file), ["vulnerabilities", _newest(history), "--osv", str(place / "osv")], 0.4)


def on_postgresql(place: Path, history: History, chosen: argparse.Namespace) -> None:
    """PostgreSQL's numbers."""
    sys.path.append(str(ROOT / "tests/unit/audit"))
    from postgres import serving  # noqa: PLC0415 - of the tests

    print(f"PostgreSQL; {load()}")
    with _short() as folder, serving(folder / "pg") as cluster:
        where = cluster.fresh("audit")
        ingest(where, place, checked=False)
        index = audit.open(where)
        with index.connect() as connection:
            size = connection.exec_driver_sql("SELECT pg_database_size('audit')").scalar()
        print(f"  index: {(size or 0) / 1e6:.0f} MB")
        ask(index, questions(history), 100, chosen.rounds)
        index.close()
        first(place, where, ["devices", _newest(history), "--no-sync"], 0.4)


def _newest(history: History) -> str:
    # The last one of all was signed by a key that has been retired since.
    last = history.release(history.size.releases - 2)
    return f"{last.name}:{last.version}"


@contextlib.contextmanager
def _short() -> Iterator[Path]:
    """A folder with a short path, which the server's own user may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", type=Path, help="folder; made when it is not there, and kept")
    parser.add_argument("--small", action="store_true", help="6 releases, to try this script")
    parser.add_argument("--asked-only", action="store_true", help="use the index that is there")
    parser.add_argument("--postgresql", action="store_true", help="PostgreSQL alone")
    parser.add_argument("--sqlite", action="store_true", help="SQLite alone")
    parser.add_argument("--rounds", type=int, default=60, help="calls of each query")
    chosen = parser.parse_args()
    history = History(SMALL if chosen.small else Size())
    with tempfile.TemporaryDirectory() as name:
        place = chosen.history or Path(name) / "history"
        if not (place / "store/index.json").exists():
            began = time.perf_counter()
            bundles = history_store.write(place, history.size, history.seed)
            print(f"history: {bundles} bundles in {time.perf_counter() - began:.0f} s")
        disk = shutil.disk_usage(place)
        print(f"{place}: {disk.free / 1e9:.0f} GB free")
        if not chosen.postgresql:
            on_sqlite(place, history, chosen)
        if not chosen.sqlite:
            on_postgresql(place, history, chosen)


if __name__ == "__main__":
    main()
