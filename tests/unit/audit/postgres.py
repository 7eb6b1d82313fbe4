"""A PostgreSQL of one's own, for as long as a test lasts: Debian's, on a socket in a folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

# Debian does not put them on the path, since there may be several versions.
_PLACES = "/usr/lib/postgresql/*/bin/initdb"
_USERS = ("postgres", "nobody")
_START_S = 60.0
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=256MB",
    "listen_addresses=",
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running cluster.

    Attributes:
        socket: folder of its socket.
        user: owner of everything in it.
    """

    socket: Path
    user: str

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, for `buildkit.audit.database.open`."""
        host = quote(str(self.socket), safe="")
        return f"postgresql+psycopg://{self.user}@/{database}?host={host}"

    def fresh(self, name: str) -> str:
        """A new database; its URL."""
        import psycopg

        where = f"host={self.socket} user={self.user} dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


def programs() -> Path:
    """The folder of the newest version's programs.

    Raises:
        FileNotFoundError: there is none: ``apt-get install postgresql``.
    """
    found = sorted(Path("/").glob(_PLACES.removeprefix("/")), key=_version)
    if not found:
        named = shutil.which("initdb")
        if named is None:
            msg = "no PostgreSQL on this machine: apt-get install postgresql"
            raise FileNotFoundError(msg)
        return Path(named).parent
    return found[-1].parent


def _version(path: Path) -> int:
    name = path.parents[1].name
    return int(name) if name.isdecimal() else 0


@contextmanager
def serving(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in a new folder, and end it afterwards.

    Args:
        folder: to be made; its path must be short (about 90 characters), as it holds the socket.
    """
    tools = programs()
    user = _user()
    folder.mkdir(parents=True)
    data, socket = folder / "data", folder / "s"
    socket.mkdir()
    for path in (folder, socket):
        _give(path, user)
    _run(user, str(tools / "initdb"), "--auth=trust", "--no-sync", "-U", user, "-D", str(data))
    words = [str(tools / "postgres"), "-D", str(data), "-k", str(socket)]
    for each in _SETTINGS:
        words += ["-c", each]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=_as(user), cwd=folder
        )
    try:
        _wait(server, socket, folder / "log")
        yield Cluster(socket=socket, user=user)
    finally:
        # As `pg_ctl stop -m immediate`: nothing in it is needed any more.
        server.send_signal(signal.SIGQUIT)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _user() -> str:
    """Who owns the cluster: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in _USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return _USERS[-1]


def _as(user: str) -> str | None:
    return user if os.geteuid() == 0 else None


def _give(path: Path, user: str) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, user)


def _run(user: str, *words: str) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd="/", user=_as(user)
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _wait(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _START_S
    while True:
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(f"host={socket} user={_user()} dbname=postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
