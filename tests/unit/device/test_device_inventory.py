"""devices.toml: strict to read, and edited without a scratch on what its author wrote."""

from __future__ import annotations

import base64
import dataclasses
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from device_fakes import DEVICE, HOST_KEY
from hypothesis import given
from hypothesis import strategies as st

from buildkit.device import inventory
from buildkit.device.inventorykeys import DEVICE as TABLE
from buildkit.device.types import Device
from buildkit.errors import InputError, RecipeError
from buildkit.recipe.table import Table

KEY = "0123456789abcdef"
WHOLE = f"""\
# Boards of the shop in the high street.
schema = 1

[devices.shelf-1]   # by the door
host = "pi@192.0.2.7"   # fixed address
target = "pi5"
host_key = "{HOST_KEY}"
key = "{KEY}"

# The one with the accelerator.
[devices.shelf-2]
host = 'board-2'
target = "pi5-hailo10h"
host_key = "{HOST_KEY}"
key = "{KEY}"
port = 2222
identity = "~/.ssh/shop"
runtime = "crun"
"""


def test_devices_are_read(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(WHOLE)
    found = inventory.load(file)
    first, second = found.values()
    assert first == Device(
        name="shelf-1", host="pi@192.0.2.7", target="pi5", host_key=HOST_KEY, key=KEY
    )
    assert (second.name, second.port, second.identity) == ("shelf-2", 2222, "~/.ssh/shop")
    assert second.runtime == "crun"


def test_no_file_is_no_device(tmp_path: Path) -> None:
    assert inventory.load(tmp_path / "none.toml") == {}


def test_where_the_file_is() -> None:
    assert inventory.location({"EDGE_BUILDKIT_DEVICES": "/a/b.toml"}) == Path("/a/b.toml")
    named = inventory.location({"XDG_CONFIG_HOME": "/c"})
    assert named == Path("/c/edge-buildkit/devices.toml")
    usual = Path.home() / ".config/edge-buildkit/devices.toml"
    assert inventory.location({}) == usual
    assert inventory.location({"XDG_CONFIG_HOME": "relative"}) == usual


def problems(text: str) -> list[tuple[str, int, str]]:
    with pytest.raises(RecipeError) as caught:
        inventory.parse(text.encode(), "devices.toml")
    return [(each.path, each.line, each.message) for each in caught.value.problems]


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        """\
schema = 1
[devices.Shelf]
[devices.one]
host = "-oProxyCommand=touch hit"
target = "pi6"
host_key = "ssh-ed25519 AAAA"
key = "0123"
port = 70000
identity = "id"
runtime = "lxc"
colour = "red"
[devices]
two = 2
"""
    )
    assert [(path, line) for path, line, _ in found] == [
        ("devices.Shelf", 2),
        *((f"devices.Shelf.{name}", 2) for name in ("host", "target", "host_key", "key")),
        ("devices.one.host", 4),
        ("devices.one.target", 5),
        ("devices.one.host_key", 6),
        ("devices.one.key", 7),
        ("devices.one.port", 8),
        ("devices.one.identity", 9),
        ("devices.one.runtime", 10),
        ("devices.one.colour", 11),
        ("devices.two", 13),
    ]


@pytest.mark.parametrize(
    "host",
    ["-v", "pi@-v", "a b", "a;b", "$(x)", "a\\tb", "a\\u0007", "", "a'b", "`x`", "é", "x" * 256],
)
def test_hosts_that_are_none(host: str) -> None:
    text = WHOLE.replace("pi@192.0.2.7", host)
    assert [path for path, _, _ in problems(text)] == ["devices.shelf-1.host"]


@pytest.mark.parametrize(
    "host", ["board", "pi@board.example", "pi@[2001:db8::1]", "fe80::1%eth0", "a_b-c"]
)
def test_hosts_that_are_some(host: str) -> None:
    text = WHOLE.replace("pi@192.0.2.7", host)
    assert inventory.parse(text.encode(), "f")["shelf-1"].host == host


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-dss " + HOST_KEY.split()[1],
        "ssh-rsa " + HOST_KEY.split()[1],
        "ssh-ed25519 " + base64.b64encode(b"x" * 51).decode(),
        HOST_KEY.replace("ssh-ed25519 ", "* ssh-ed25519 "),
    ],
)
def test_host_keys_that_are_none(key: str) -> None:
    text = WHOLE.replace(HOST_KEY, key, 1)
    assert [path for path, _, _ in problems(text)] == ["devices.shelf-1.host_key"]


def test_a_host_key_has_one_spelling() -> None:
    text = WHOLE.replace(HOST_KEY, HOST_KEY.replace(" ", "   ") + " root@board", 1)
    assert inventory.parse(text.encode(), "f")["shelf-1"].host_key == HOST_KEY


def test_newer_and_broken_files() -> None:
    assert "newer" in problems("schema = 2\n[devices.a]\nx = 1\n")[0][2]
    assert problems("schema = 1\n[devices.a\n")[0][1] == 2
    assert problems("")[0][0] == "schema"
    with pytest.raises(InputError, match="not UTF-8"):
        inventory.parse(b"\xff", "f")


@given(st.binary(max_size=300))
def test_any_bytes_are_devices_or_mistakes(data: bytes) -> None:
    try:
        found = inventory.parse(data, "f")
    except InputError:
        return
    assert all(isinstance(each, Device) for each in found.values())


SCALARS: st.SearchStrategy[Any] = (
    st.text(max_size=20).map(lambda text: '"' + "".join(c for c in text if c.isalnum()) + '"')
    | st.integers(-5, 99999).map(str)
    | st.sampled_from(["true", "[]", "{}", "1979-05-27", f'"{HOST_KEY}"', f'"{KEY}"', '"pi5"'])
)


@given(st.dictionaries(st.sampled_from([*TABLE.keys, "name", "other"]), SCALARS, max_size=8))
def test_any_table_is_a_device_or_mistakes(values: dict[str, str]) -> None:
    text = "schema = 1\n[devices.a]\n" + "".join(f"{k} = {v}\n" for k, v in values.items())
    try:
        found = inventory.parse(text.encode(), "f")
    except RecipeError:
        return
    assert found["a"].host
    assert not found["a"].host.startswith("-")


def test_devices_are_found() -> None:
    found = inventory.parse(WHOLE.encode(), "f")
    assert inventory.find(found, "shelf-1").name == "shelf-1"
    assert inventory.find(found, "board-2").name == "shelf-2"
    with pytest.raises(InputError, match="no device that was enrolled") as caught:
        inventory.find(found, "shelf-3")
    assert "did you mean" in caught.value.remedy
    with pytest.raises(InputError) as caught:
        inventory.find({}, "pi@other")
    assert "enrol it first" in caught.value.remedy
    same = {name: dataclasses.replace(DEVICE, name=name, host="h") for name in ("a", "b")}
    with pytest.raises(InputError, match="the host of a, b"):
        inventory.find(same, "h")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "devices.toml"
    found.write_text(WHOLE)
    return found


def new(**more: Any) -> Device:
    return dataclasses.replace(DEVICE, key=KEY, **more)


def test_the_first_device_makes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a/b/devices.toml"
    inventory.put(file, new(name="shelf-9", port=22))
    assert file.read_text() == (
        'schema = 1\n\n[devices.shelf-9]\nhost = "pi@board"\ntarget = "pi5"\n'
        f'host_key = "{HOST_KEY}"\nkey = "{KEY}"\nport = 22\n'
    )
    assert file.stat().st_mode & 0o777 == 0o600


def test_one_more_is_added_at_the_end(file: Path) -> None:
    device = new(name="shelf-9")
    inventory.put(file, device)
    text = file.read_text()
    assert text.startswith(WHOLE + "\n[devices.shelf-9]\n")
    assert inventory.load(file)["shelf-9"] == device


def test_a_name_is_not_taken_twice(file: Path) -> None:
    with pytest.raises(InputError, match="there is a device 'shelf-1' already"):
        inventory.put(file, new(name="shelf-1"))
    assert file.read_text() == WHOLE


def test_a_replaced_one_keeps_its_comments(file: Path) -> None:
    inventory.put(file, new(name="shelf-1", host="pi@new", port=2200), replace=True)
    assert file.read_text() == WHOLE.replace('"pi@192.0.2.7"', '"pi@new"').replace(
        f'key = "{KEY}"\n\n# The one', f'key = "{KEY}"\nport = 2200\n\n# The one'
    )
    inventory.put(file, new(name="shelf-2", host="board-2"), replace=True)
    assert file.read_text().endswith(
        f'[devices.shelf-2]\nhost = "board-2"\ntarget = "pi5"\nhost_key = "{HOST_KEY}"\n'
        f'key = "{KEY}"\n'
    )


def test_a_removed_one_leaves_the_others(file: Path) -> None:
    assert inventory.remove(file, "shelf-1").host == "pi@192.0.2.7"
    rest = WHOLE[WHOLE.index("# The one") :]
    assert file.read_text() == f"# Boards of the shop in the high street.\nschema = 1\n\n{rest}"
    inventory.remove(file, "board-2")
    assert file.read_text().endswith("# The one with the accelerator.\n")
    assert inventory.load(file) == {}
    with pytest.raises(InputError, match="no device that was enrolled"):
        inventory.remove(file, "shelf-1")


PARTS = {"host": '"h"', "target": '"pi5"', "host_key": f'"{HOST_KEY}"', "key": f'"{KEY}"'}
INLINE = ", ".join(f"{name} = {value}" for name, value in PARTS.items())
DOTTED = "".join(f"devices.shelf-1.{name} = {value}\n" for name, value in PARTS.items())
LINES = "".join(f"{name} = {value}\n" for name, value in PARTS.items())


@pytest.mark.parametrize(
    "text",
    [
        f"schema = 1\n[devices]\nshelf-1 = {{ {INLINE} }}\n",
        f"schema = 1\n{DOTTED}",
        "schema = 1\n[devices.shelf-1]\n" + LINES.replace('"h"', '"""\nh"""'),
    ],
)
def test_what_only_its_author_can_change_is_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(text)
    assert inventory.load(file)["shelf-1"].host == "h"
    with pytest.raises(InputError, match="only its author can change"):
        inventory.put(file, new(name="shelf-1"), replace=True)
    assert file.read_text() == text


def test_a_device_that_the_file_could_not_hold_is_refused(file: Path) -> None:
    for device in (new(name="shelf-9", host="-v"), new(name="Shelf"), new(name="a", target="pi6")):
        with pytest.raises(InputError):
            inventory.put(file, device)
        assert file.read_text() == WHOLE


def test_line_ends_and_links_stay(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_bytes(WHOLE.replace("\n", "\r\n").encode())
    real.chmod(0o644)
    link = tmp_path / "devices.toml"
    link.symlink_to(real)
    inventory.put(link, new(name="shelf-9"))
    inventory.put(link, new(name="shelf-1", port=1), replace=True)
    assert link.is_symlink()
    data = real.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert real.stat().st_mode & 0o777 == 0o644
    assert set(inventory.load(link)) == {"shelf-1", "shelf-2", "shelf-9"}


def test_a_last_line_without_its_end(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(WHOLE.rstrip())
    inventory.put(file, new(name="shelf-9"))
    inventory.put(file, new(name="shelf-2", identity="~/x"), replace=True)
    assert set(inventory.load(file)) == {"shelf-1", "shelf-2", "shelf-9"}


def test_two_at_once_do_not_lose_one(file: Path) -> None:
    names = [f"board-{number}" for number in range(8)]
    threads = [
        threading.Thread(target=inventory.put, args=(file, new(name=name))) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(inventory.load(file)) == {"shelf-1", "shelf-2", *names}


COMMENTS = st.sampled_from(["", "# [devices.x]\n", "\n", "   # a comment\n\n", '# "" = [\n'])
NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.lists(st.tuples(NAMES, COMMENTS, COMMENTS), unique_by=lambda each: each[0]),
    st.lists(st.tuples(NAMES, st.sampled_from(["put", "replace", "remove"]), st.integers(0, 2))),
)
def test_the_file_is_always_what_was_done_to_it(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[str, str, str]],
    steps: list[tuple[str, str, int]],
) -> None:
    file = tmp_path_factory.mktemp("devices") / "devices.toml"
    text = "schema = 1\n"
    for name, before, inside in entries:
        text += f'{before}[devices.{name}]\nhost = "h"\n{inside}target = "pi5"  # t\n'
        text += f'host_key = "{HOST_KEY}"\nkey = "{KEY}"\n'
    file.write_text(text)
    comments = text.count("#")
    wanted = dict(inventory.load(file))
    for name, step, port in steps:
        device = new(name=name, port=port)
        if step == "remove" and name in wanted:
            gone = inventory.remove(file, name)
            assert gone == wanted.pop(name)
        elif step == "replace" or (step == "put" and name not in wanted):
            inventory.put(file, device, replace=step == "replace")
            wanted[name] = device
        assert inventory.load(file) == wanted
    if not any(step == "remove" for _, step, _ in steps):
        assert file.read_text().count("#") == comments


def test_the_documentation_has_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs/devices.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]+) \|$", text, re.MULTILINE))
    kinds = {name: kind for name, kind in TABLE.keys.items() if not isinstance(kind, Table)}
    assert rows == {name: kind.about for name, kind in kinds.items()}
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert set(inventory.parse(example.encode(), "devices.md")) == {"shelf-1", "shelf-2"}
