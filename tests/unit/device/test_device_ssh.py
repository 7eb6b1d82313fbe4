"""How ssh is asked, and what its complaints mean."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from device_fakes import DEVICE, HOST_KEY, Board
from hypothesis import given
from hypothesis import strategies as st

from buildkit import digests
from buildkit.device import enrol, ssh, zips
from buildkit.errors import DeviceError, InputError, ToolError
from buildkit.evidence.keys import private
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path) as found:
        yield found


def options(call: list[str]) -> dict[str, str]:
    """``-o`` options of a call; the first of a name is the one that counts for ssh."""
    found: dict[str, str] = {}
    for at, word in enumerate(call):
        if word == "-o":
            name, _, value = call[at + 1].partition("=")
            assert name not in found
            found[name] = value
    return found


def test_the_pinned_key_alone_decides(board: Board) -> None:
    with ssh.connect(board.device, path=board.path) as link, link.talk("true") as program:
        folder = Path(options(list(link.options))["UserKnownHostsFile"]).parent
        known = (folder / "known_hosts").read_text()
        assert folder.stat().st_mode & 0o777 == 0o700
        program.finish(wait=10)
    (call,) = board.calls()
    found = options(call)
    assert known == f"{found['HostKeyAlias']} {HOST_KEY}\n"
    assert (
        found.items()
        >= {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "GlobalKnownHostsFile": "/dev/null",
            "KnownHostsCommand": "none",
            "NoHostAuthenticationForLocalhost": "no",
            "HostKeyAlgorithms": "ssh-ed25519",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "ControlMaster": "auto",
            "ControlPersist": "60",
            "ServerAliveInterval": "5",
        }.items()
    )
    assert call[-3:] == ["--", "pi@board", "exec /bin/sh -c 'true'"]
    assert not folder.exists()


def test_ssh_itself_knows_all_of_these_options(tmp_path: Path) -> None:
    """Asked what it would do (``-G``), it repeats them; a misspelt one would be refused."""
    (tmp_path / "id").write_text("")
    device = dataclasses.replace(DEVICE, port=2222, identity=str(tmp_path / "id"))
    with ssh.connect(device) as link:
        said = run([link.program, "-F", "none", *link.options, "-G", "--", device.host]).text
        shown = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
        assert len(shown["controlpath"]) + 17 < 108
    assert (shown["port"], shown["user"], shown["hostname"]) == ("2222", "pi", "board")
    assert shown["identityfile"] == str(tmp_path / "id")
    assert shown["stricthostkeychecking"] in {"true", "yes"}
    assert shown["hostkeyalgorithms"] == "ssh-ed25519"
    assert shown["globalknownhostsfile"] == "/dev/null"
    assert shown["requesttty"] in {"false", "no"}


@pytest.mark.parametrize("name", ["x" * 100, "a b", "a%h", "a$HOME", 'a"b'])
def test_any_folder_for_temporary_files_will_do(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    with ssh.connect(board.device, path=board.path) as link:
        found = options(list(link.options))
    assert len(found["ControlPath"]) + 17 < 108
    assert not set(found["ControlPath"] + found["UserKnownHostsFile"]) & set(' %$"~')


def test_what_a_killed_command_left_is_taken_away(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "tmp"
    (home / "edge-buildkit-0123").mkdir(parents=True)
    (home / "edge-buildkit-0123" / "known_hosts").touch()
    (home / "edge-buildkit-0123.lock").touch()
    (home / "somebody-elses").mkdir()
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr(ssh, "short_folder", lambda: home)
    with ssh.connect(board.device, path=board.path):
        assert not (home / "edge-buildkit-0123").exists()
    assert [each.name for each in home.iterdir()] == ["somebody-elses"]


def test_rsa_keys_are_not_asked_to_sign_with_sha1() -> None:
    assert ssh.algorithms("ssh-rsa AAAA") == "rsa-sha2-512,rsa-sha2-256"


def test_a_machine_without_ssh(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="ssh is not on this machine") as caught:  # noqa: SIM117
        with ssh.connect(DEVICE, path=str(tmp_path)):
            pass
    assert "openssh-client" in caught.value.remedy


def test_a_private_key_that_is_not_there(board: Board) -> None:
    device = dataclasses.replace(board.device, identity="/nowhere/id")
    with pytest.raises(InputError, match="/nowhere/id: no such file"):  # noqa: SIM117
        with ssh.connect(device, path=board.path):
            pass


@pytest.mark.parametrize(
    ("said", "blame", "means"),
    [
        ("@@@@\n@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\n", "device", "host key"),
        ("No ED25519 host key is known for x and you have requested strict", "device", "host key"),
        ("Host key verification failed.", "device", "host key"),
        ("Unable to negotiate: no matching host key type found. Their", "device", "host key"),
        ("pi@board: Permission denied (publickey).", "host", "does not let this user in"),
        ("ssh: Could not resolve hostname board: x", "network", "name is not known here"),
        ("connect to host board port 22: Connection refused", "network", "nobody answers"),
        ("connect to host board port 22: Connection timed out", "network", "cannot be reached"),
        ("connect to host board port 22: No route to host", "network", "cannot be reached"),
        ("Connection timed out during banner exchange", "network", "cannot be reached"),
        ("c: line 1: Bad configuration option: x", "host", "does not know an option"),
        ("Bad owner or permissions on c", "host", "permissions"),
        ("client_loop: send disconnect: Broken pipe", "network", "the line was cut during facts"),
        ("Timeout, server board not responding.", "network", "the line was cut during facts"),
        ("", "network", "the line was cut during facts"),
    ],
)
def test_what_ssh_says(board: Board, said: str, blame: str, means: str) -> None:
    board.line({"status": 255, "stderr": said})
    with pytest.raises(DeviceError, match=means) as caught:
        board.agent().facts()
    assert (caught.value.kind, caught.value.blame) == ("network", blame)
    assert caught.value.message.startswith("shelf-1 (pi@board): ")
    assert caught.value.remedy


@given(st.text())
def test_whatever_it_says_can_be_shown(said: str) -> None:
    found = ssh.failure(DEVICE, said, during="facts")
    assert found.message.isprintable()
    assert len(found.message) < 500


def test_a_device_without_python(board: Board) -> None:
    board.line({"status": 127, "stderr": "sh: 1: exec: python3: not found\n"})
    with pytest.raises(DeviceError, match="there is no python3 on it") as caught:
        board.agent().facts()
    assert (caught.value.kind, caught.value.blame) == ("device", "device")


def test_the_agent_is_brought_once(board: Board) -> None:
    agent = board.agent()
    agent.facts()
    agent.facts()
    scripts = [call[-1] for call in board.calls()]
    assert ["hashlib" in script for script in scripts] == [False, True, False, False]
    name = f"agent-{digests.hex_of(board.packed.digest)}.pyz"
    (found,) = (board.home / ".cache/edge-buildkit").iterdir()
    assert (found.name, found.read_bytes()) == (name, board.packed.data)


def test_half_an_agent_never_gets_its_name(board: Board) -> None:
    for fault in ({"cut_in": 1000}, {"flip_in": 1000}):
        board.line({}, fault)
        with pytest.raises(DeviceError) as caught:
            board.agent().facts()
        assert caught.value.kind == "network"
    assert list((board.home / ".cache").glob("**/*.pyz")) == []
    assert board.agent().facts().machine == "aarch64"


def test_no_room_for_the_agent(board: Board) -> None:
    (board.home / ".cache").write_text("in the way")
    with pytest.raises(DeviceError, match=r"it cannot keep the agent: .*Error") as caught:
        board.agent().facts()
    assert (caught.value.kind, caught.value.blame) == ("disk", "device")


TRUSTED = private.generate("ecdsa-p256", "t", created=0).public


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"key": None, "trusted": [TRUSTED.id]},
        {"key": {"id": TRUSTED.id, "pem": "x"}, "trusted": [TRUSTED.id]},
        {"key": {"id": "0" * 16, "pem": TRUSTED.pem.decode()}, "trusted": [TRUSTED.id]},
        {"key": {"id": TRUSTED.id, "pem": TRUSTED.pem.decode()}, "trusted": []},
        {"key": {"id": TRUSTED.id, "pem": TRUSTED.pem.decode()}, "trusted": ["0" * 16]},
    ],
)
def test_an_enrolment_that_is_none(board: Board, answer: dict[str, Any]) -> None:
    board.behave(says={"enroll": json.dumps({"done": answer}) + "\n"})
    with pytest.raises(DeviceError, match="answered `enroll` wrongly"):
        enrol.enrol(board.device, [TRUSTED.pem], packed=board.packed, path=board.path)


def test_whom_to_trust_must_be_said(board: Board) -> None:
    with pytest.raises(InputError, match="trusts no key"):
        enrol.enrol(board.device, [], packed=board.packed, path=board.path)
    with pytest.raises(InputError, match="not one public key"):
        enrol.enrol(board.device, [b"x"], packed=board.packed, path=board.path)


def test_a_whole_host_key_needs_no_line(board: Board) -> None:
    found = enrol.find_host_key(board.device, wanted=HOST_KEY + " comment", path=board.path)
    assert found.text == HOST_KEY
    assert not (board.folder / "calls").exists()
    for wrong in ("ssh-ed25519 AAAA", "SHA256:short", "x"):
        with pytest.raises(InputError):
            enrol.find_host_key(board.device, wanted=wrong, path=board.path)


@pytest.mark.parametrize(
    "wrong", [{"host": "-v"}, {"name": "A"}, {"target": "pi6"}, {"port": -1}, {"runtime": "lxc"}]
)
def test_a_device_that_there_cannot_be_is_not_contacted(
    board: Board, wrong: dict[str, Any]
) -> None:
    device = dataclasses.replace(board.device, **wrong)
    with pytest.raises(InputError):
        enrol.find_host_key(device, confirm=lambda _: True, path=board.path)
    with pytest.raises(InputError):
        enrol.enrol(device, [TRUSTED.pem], packed=board.packed, path=board.path)
    assert not (board.folder / "calls").exists()


def test_the_first_contact_does_not_log_in(board: Board) -> None:
    board.line({"status": 255, "stderr": "ssh: connect to host board port 22: No route to host"})
    with pytest.raises(DeviceError, match="cannot be reached"):
        enrol.find_host_key(board.device, confirm=lambda _: True, path=board.path)
    (call,) = board.calls()
    found = options(call)
    assert found["PreferredAuthentications"] == "none"
    assert found["StrictHostKeyChecking"] == "accept-new"


def test_zips_depend_on_nothing_but_their_files(tmp_path: Path) -> None:
    home = Path(zips.__file__).parents[2] / "device-smoke"
    for name in ("agent", "smoke"):
        shutil.copytree(home / name, tmp_path / name)
        (tmp_path / name / "__pycache__").mkdir(exist_ok=True)
        (tmp_path / name / "__pycache__/x.pyc").write_bytes(b"x")
        (tmp_path / name / "notes.txt").write_text("x")
    assert zips.agent(tmp_path) == zips.agent()
    assert zips.smoke(tmp_path) == zips.smoke()
    (tmp_path / "smoke/cli.py").write_text("")
    assert zips.smoke(tmp_path) != zips.smoke()
    with zipfile.ZipFile(BytesIO(zips.agent().data)) as archive:
        names = archive.namelist()
        assert archive.read("__main__.py") == archive.read("agent/__main__.py")
    assert names == sorted(names)
    assert all(name.endswith(".py") for name in names)
    with pytest.raises(InputError, match="lacks it"):
        zips.agent(tmp_path / "none")
