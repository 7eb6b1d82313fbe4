"""The same over the real OpenSSH, with a server of our own on loopback."""

from __future__ import annotations

import dataclasses
import getpass
import io
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from device_fakes import DEVICE, Goods, fake_packed, order

from buildkit.device import delivery, enrol, session, ssh, zips
from buildkit.device.agent import Agent
from buildkit.device.calls import Patience
from buildkit.device.delivery import Retries
from buildkit.errors import DeviceError, DeviceRefused, InputError
from buildkit.evidence.keys import private
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit.device.hostkeys import HostKey
    from buildkit.device.types import Device

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@dataclass
class Server:
    """sshd of one test, in its folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def host_key(self) -> str:
        return (self.folder / "host_ed25519.pub").read_text().strip()

    @property
    def device(self) -> Device:
        return dataclasses.replace(
            DEVICE,
            host=f"{getpass.getuser()}@127.0.0.1",
            port=self.port,
            host_key=" ".join(self.host_key.split()[:2]),
            identity=str(self.folder / "user"),
        )

    def sessions(self) -> list[int]:
        """Processes of sshd for connections, by parentage."""
        return self._children(self.process.pid)

    @staticmethod
    def _children(parent: int, name: str = "") -> list[int]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                begin, _, rest = stat.read_text().rpartition(")")
            except OSError:
                continue
            if int(rest.split()[1]) == parent and name in begin.partition("(")[2]:
                found.append(int(stat.parent.name))
        return found

    def cut(self) -> None:
        """End all connections, as if the line were cut."""
        sessions = self.sessions()
        # Of a plain user a child of the session holds the line.
        held = [each for number in sessions for each in self._children(number, "sshd")]
        for number in (*sessions, *held):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def wait(until: Callable[[], bool]) -> None:
    """A minute at most; whoever calls looks what came of it."""
    end = time.monotonic() + 60
    while not until() and time.monotonic() < end:
        time.sleep(0.002)


@contextmanager
def held_port() -> Iterator[int]:
    """One of the loopback; it stays bound, so only who asks for its number gets it (ip(7))."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as number:
        yield number


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Server]:
    assert SSHD is not None, "as root: apt-get install --no-install-recommends openssh-server"
    for name, kind in (("host_ed25519", "ed25519"), ("host_ecdsa", "ecdsa"), ("user", "ed25519")):
        run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", tmp_path / name])
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    home = tmp_path / "home"
    home.mkdir()
    # Whoever runs the tests keeps their own.
    homes = {"HOME": home, "XDG_CACHE_HOME": home / ".cache"}
    homes |= {"XDG_DATA_HOME": home / ".local/share", "XDG_CONFIG_HOME": home / ".config"}
    (tmp_path / "config").write_text(
        f"""
ListenAddress 127.0.0.1:{port}
HostKey {tmp_path}/host_ed25519
HostKey {tmp_path}/host_ecdsa
AuthorizedKeysFile {tmp_path}/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv {" ".join(f"{name}={place}" for name, place in homes.items())}
"""
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "config"], stderr=log)
    found = Server(tmp_path, port, process)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
        yield found
    finally:
        found.cut()
        process.kill()
        process.wait()
        log.close()


def trusted() -> bytes:
    return private.generate("ecdsa-p256", "t", created=0).public.pem


def test_from_first_contact_to_a_signed_run(server: Server) -> None:
    shown: list[HostKey] = []

    def confirm(key: HostKey) -> bool:
        shown.append(key)
        return True

    blank = dataclasses.replace(server.device, host_key="", key="")
    found = enrol.find_host_key(blank, confirm=confirm)
    assert found.text == server.device.host_key
    fingerprint = run(["ssh-keygen", "-lf", server.folder / "host_ed25519.pub"]).text.split()[1]
    assert [each.fingerprint for each in shown] == [fingerprint]

    pinned = dataclasses.replace(blank, host_key=found.text)
    enrolled = enrol.enrol(pinned, [trusted()], packed=fake_packed())
    assert enrolled.device.key == enrolled.key.id

    goods = Goods.of(b"one", b"x" * 3_000_000)
    with ssh.connect(enrolled.device) as link:
        agent = Agent(link=link, packed=fake_packed())
        assert delivery.stream(agent, goods.blobs, goods).bytes == 3_000_003
        got = session.run(agent, order(), key=enrolled.key)
        # All calls of a block share one connection.
        assert len(server.sessions()) == 1
    assert got.predicate["result"] == "PASSED"
    wait(lambda: not server.sessions())
    assert server.sessions() == []


def test_the_real_agent_over_it(server: Server) -> None:
    enrolled = enrol.enrol(server.device, [trusted()])
    goods = Goods.of(b"", os.urandom(5_000_000))
    with ssh.connect(enrolled.device) as link:
        agent = Agent(link=link, packed=zips.agent())
        assert delivery.stream(agent, goods.blobs, goods).bytes == 5_000_000
        assert delivery.missing(agent, goods.blobs) == ()
        with pytest.raises(DeviceRefused):
            session.run(agent, order(), key=enrolled.key)
        agent.wipe()
    assert [each for each in server.home.rglob("*") if each.is_file()] == []


def test_a_fingerprint_of_any_of_its_keys_will_do(server: Server) -> None:
    for name in ("host_ed25519", "host_ecdsa"):
        fingerprint = run(["ssh-keygen", "-lf", server.folder / f"{name}.pub"]).text.split()[1]
        found = enrol.find_host_key(server.device, wanted=fingerprint)
        assert found.text == (server.folder / f"{name}.pub").read_text().strip()
        pinned = dataclasses.replace(server.device, host_key=found.text)
        with ssh.connect(pinned) as link:
            assert Agent(link=link, packed=fake_packed()).facts().machine == "aarch64"


def test_another_fingerprint_will_not(server: Server) -> None:
    with pytest.raises(DeviceError, match="it has the host key SHA256:"):
        enrol.find_host_key(server.device, wanted="SHA256:" + "A" * 43)
    with pytest.raises(InputError, match="nobody confirmed its host key SHA256:"):
        enrol.find_host_key(server.device, confirm=lambda _: False)
    assert not (server.home / ".cache").exists()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_another_host_key_is_refused_in_clear_words(server: Server, kind: str) -> None:
    other = server.folder / "other"
    run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", other])
    device = dataclasses.replace(
        server.device, host_key=other.with_suffix(".pub").read_text().strip()
    )
    with ssh.connect(device) as link, pytest.raises(DeviceError) as caught:
        Agent(link=link, packed=fake_packed()).facts()
    assert "does not have the host key that it was enrolled with" in caught.value.message
    assert "enrol it again" in caught.value.remedy
    assert caught.value.kind == "network"
    assert not (server.home / ".cache").exists()


def test_a_key_that_it_does_not_know(server: Server) -> None:
    (server.folder / "authorized").write_text("")
    with (
        ssh.connect(server.device) as link,
        pytest.raises(DeviceError, match="does not let this user in") as caught,
    ):
        Agent(link=link, packed=fake_packed()).facts()
    assert (caught.value.kind, caught.value.blame) == ("network", "host")


def test_nobody_listens(server: Server) -> None:
    with (
        held_port() as port,
        ssh.connect(dataclasses.replace(server.device, port=port)) as link,
        pytest.raises(DeviceError, match="nobody answers SSH there") as caught,
    ):
        Agent(link=link, packed=fake_packed()).facts()
    assert (caught.value.kind, caught.value.blame) == ("network", "network")


def test_a_cut_connection_is_taken_up_again(server: Server) -> None:
    goods = Goods.of(os.urandom(20_000_000))
    with ssh.connect(server.device) as link:
        agent = Agent(link=link, packed=fake_packed())
        agent.facts()
        part = server.home / ".local/share/edge-buildkit/partial"
        is_cut = threading.Event()

        class Halting(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                assert self.tell() < 10_000_000 or is_cut.wait(60)
                return super().read(size)

        opened: list[str] = []

        @contextmanager
        def source(digest: str) -> Iterator[io.BytesIO]:
            """The first time it is hashed, the second time sent, until the line is cut."""
            opened.append(digest)
            yield (Halting if len(opened) == 2 else io.BytesIO)(goods.contents[digest])

        def cut() -> None:
            wait(lambda: any(part.glob("*")))
            server.cut()
            is_cut.set()

        thread = threading.Thread(target=cut)
        thread.start()
        done = delivery.stream(agent, goods.blobs, source, retries=Retries(first_s=0.1))
        thread.join()
    assert done.cuts == 1
    blobs = server.home / ".local/share/edge-buildkit/blobs/sha256"
    assert [file.name for file in blobs.iterdir()] == [next(iter(goods.contents))[7:]]


def test_somebody_wants_an_end_and_the_device_cleans_up(server: Server) -> None:
    (server.home / "behave.json").write_text('{"seconds": 60}')
    stop = threading.Event()

    def heard(_: object) -> None:
        stop.set()

    enrolled = enrol.enrol(server.device, [trusted()], packed=fake_packed())
    with ssh.connect(enrolled.device) as link, pytest.raises(DeviceError, match="told to stop"):
        session.run(
            Agent(link=link, packed=fake_packed()),
            order(),
            key=enrolled.key,
            patience=Patience(stop=stop, progress=heard),
        )
    assert (server.home / "cleaned").read_text() == "yes"
