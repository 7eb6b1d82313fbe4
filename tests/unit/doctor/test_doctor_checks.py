from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.doctor import Check, Machine, examine, worst
from buildkit.doctor.examine import examine_machine
from buildkit.doctor.registry import check
from buildkit.errors import ToolError
from buildkit.run import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GIB = 1 << 30
SAID = {
    "nix": "nix (Nix) 2.8.0",
    "git": "git version 2.39.5",
    "apt-get": "apt 2.6.1 (amd64)",
    "unshare": "",
}


@dataclass
class Programs:
    """A runner that knows what each program says; others are missing."""

    said: dict[str, str] = field(default_factory=lambda: dict(SAID))
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str | Path], *, check: bool = True, **_: Any) -> Result:
        words = tuple(map(str, argv))
        self.calls.append(words)
        name = Path(words[0]).name
        if name not in self.said:
            if check:
                msg = f"{name}: exit status 1\n  {name}: operation not permitted"
                raise ToolError(msg)
            return Result(argv=words, code=1, stdout=b"", stderr="ERROR: no answer\n")
        return Result(argv=words, code=0, stdout=self.said[name].encode(), stderr="")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian machine on which nothing is wrong, as root."""
    root = tmp_path / "root"
    files = {
        "proc/filesystems": "nodev\tsysfs\nnodev\toverlay\n\text4\n",
        "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8388608 kB\n",
        "proc/self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/vda rw\n",
        "proc/sys/user/max_user_namespaces": "15000\n",
        "proc/sys/kernel/unprivileged_userns_clone": "1\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "usr/share/keyrings/debian-archive-keyring.gpg": "key",
        "etc/apt/sources.list.d/debian.sources": "".join(
            f"Types: deb\nURIs: http://mirror.invalid/{name}\nSuites: {suite}\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
            for name, suite in (("debian", "bookworm"), ("debian-security", "bookworm-security"))
        ),
    }
    files |= {
        f"proc/self/ns/{kind}": "" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nix", "nix-store", "git", "apt-get", "apt-cache"):
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
    return Machine(
        runner=Programs(),
        root=root,
        environ={},
        path=str(programs),
        user=0,
        release="6.12.1-amd64",
        processor="x86_64",
        python=(3, 11, 2),
        folders={"store": tmp_path / "not/yet/there"},
        free=lambda _: 100 * GIB,
        modules=lambda _: True,
    )


def one(machine: Machine, name: str) -> Check:
    return next(found for found in examine_machine(machine) if found.name == name)


def write(machine: Machine, name: str, text: str) -> None:
    (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
    (machine.root / name).write_text(text)


def remove(machine: Machine, name: str) -> None:
    (machine.root / name).unlink()


def test_a_good_machine_has_nothing_to_mend(machine: Machine) -> None:
    found = examine_machine(machine)
    assert {check.name: check.status for check in found if check.status != "ok"} == {}
    assert [check.name for check in found] == [
        "python",
        "git",
        "apt",
        "nix",
        "namespaces",
        "user-namespaces",
        "nix-sandbox",
        "overlay",
        "cgroups",
        "binfmt",
        "disk",
        "memory",
        "engine",
        "apt-sources",
    ]
    assert worst(found) == "ok"


@pytest.mark.parametrize(
    ("name", "status", "spoil", "remedy"),
    [
        ("python", "fail", lambda m: replace(m, python=(3, 10, 9)), "3.11"),
        ("python", "fail", lambda m: replace(m, modules=lambda _: False), "bootstrap"),
        ("nix", "fail", lambda m: replace(m, path="/nowhere"), "apt-get install"),
        ("nix", "fail", lambda m: replace(m, runner=Programs(SAID | {"nix": "2.3.7"})), "2.8"),
        ("git", "fail", lambda m: replace(m, path="/nowhere"), "apt-get install"),
        ("apt", "fail", lambda m: replace(m, path="/nowhere"), "apt-get install"),
        ("namespaces", "fail", lambda m: remove(m, "proc/self/ns/net"), "kernel"),
        (
            "nix-sandbox",
            "fail",
            lambda m: write(m, "proc/self/mountinfo", "30 1 0:5 / /proc rw - proc proc rw\n"),
            "pivot_root",
        ),
        ("nix-sandbox", "fail", lambda m: replace(m, runner=Programs({})), "CAP_SYS_ADMIN"),
        ("overlay", "fail", lambda m: write(m, "proc/filesystems", "\text4\n"), "OVERLAY"),
        ("cgroups", "fail", lambda m: remove(m, "sys/fs/cgroup/cgroup.controllers"), "mount"),
        (
            "user-namespaces",
            "warn",
            lambda m: write(m, "proc/sys/user/max_user_namespaces", "0"),
            "sysctl -w user.max_user_namespaces=15000",
        ),
        ("binfmt", "warn", lambda m: replace(m, release="6.1.0-9-amd64"), "modprobe binfmt_misc"),
        ("disk", "warn", lambda m: replace(m, free=lambda _: 4 * GIB), "make room"),
        ("disk", "fail", lambda m: replace(m, free=lambda _: GIB // 2), "make room"),
        ("memory", "warn", lambda m: write(m, "proc/meminfo", "MemAvailable: 1000 kB"), "swap"),
        ("engine", "fail", lambda m: replace(m, user=1000), "--builder"),
        (
            "apt-sources",
            "fail",
            lambda m: remove(m, "etc/apt/sources.list.d/debian.sources"),
            "",
        ),
    ],
)
def test_what_is_wrong_is_found_and_has_a_remedy(
    machine: Machine,
    name: str,
    status: str,
    spoil: Callable[[Machine], Machine | None],
    remedy: str,
) -> None:
    found = one(spoil(machine) or machine, name)
    assert found.status == status
    assert found.found
    assert found.remedy
    assert remedy in found.remedy


def test_a_plain_user_needs_user_namespaces(machine: Machine) -> None:
    write(machine, "proc/sys/kernel/unprivileged_userns_clone", "0")
    assert one(machine, "user-namespaces").status == "ok"
    found = one(replace(machine, user=1000), "user-namespaces")
    assert found.status == "fail"
    assert found.remedy == "as root: sysctl -w kernel.unprivileged_userns_clone=1"


def test_the_sandbox_of_a_plain_user_is_tried_in_a_user_namespace(machine: Machine) -> None:
    programs = Programs()
    one(replace(machine, user=1000, runner=programs), "nix-sandbox")
    (call,) = [call for call in programs.calls if call[0] == "unshare"]
    assert "--user" in call
    assert "--map-root-user" in call


def test_how_nix_is_used_is_said(machine: Machine) -> None:
    assert one(machine, "nix").found == "Nix 2.8.0, as root"
    assert "store of your own" in one(replace(machine, user=1000), "nix").found
    write(machine, "nix/var/nix/daemon-socket/socket", "")
    assert one(machine, "nix").found == "Nix 2.8.0, through its daemon"


def test_an_old_kernel_may_have_the_interpreter_registered(machine: Machine) -> None:
    old = replace(machine, release="6.1.0-9-amd64")
    write(old, "proc/sys/fs/binfmt_misc/register", "")
    assert one(old, "binfmt").status == "warn"
    write(old, "proc/sys/fs/binfmt_misc/edge-buildkit-arm64", "enabled\ninterpreter /x\n")
    assert one(old, "binfmt").status == "ok"
    arm = replace(old, processor="aarch64")
    assert one(arm, "binfmt").status == "warn"


def test_an_overlay_module_can_be_loaded(machine: Machine) -> None:
    write(machine, "proc/filesystems", "\text4\n")
    write(machine, f"lib/modules/{machine.release}/kernel/fs/overlayfs/overlay.ko", "")
    found = one(machine, "overlay")
    assert (found.status, found.remedy) == ("warn", "modprobe overlay")


def test_the_engine_is_what_the_caller_says(machine: Machine) -> None:
    running = replace(machine, user=1000, engine=lambda: "pid 7")
    assert one(running, "engine") == Check(name="engine", status="ok", found="pid 7")
    none = replace(machine, user=1000, engine=lambda: "")
    assert one(none, "engine").status == "fail"


def test_the_index_is_asked_only_online(machine: Machine) -> None:
    assert "package-index" not in {found.name for found in examine_machine(machine)}
    found = one(replace(machine, online=True), "package-index")
    assert found.status == "fail"
    assert "no answer" in found.found


def test_the_least_free_folder_is_named(machine: Machine) -> None:
    folders = {"store": Path("/a"), "Nix store": Path("/")}
    sizes = {Path("/"): 2 * GIB}
    found = one(
        replace(machine, folders=folders, free=lambda folder: sizes.get(folder, 50 * GIB)), "disk"
    )
    assert found.found == "free: store 2.0 GiB, Nix store 2.0 GiB"


def test_two_checks_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="'python'"):
        check("python")(lambda _: None)


def test_worst_of_nothing_is_ok() -> None:
    assert worst([]) == "ok"
    checks = [Check(name=str(n), status=s, found="") for n, s in enumerate(("ok", "fail", "warn"))]  # type: ignore[arg-type]
    assert worst(checks) == "fail"


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    found = examine(Programs(), folders={"store": tmp_path}, engine=str)
    assert {"python", "nix", "disk"} <= {check.name for check in found}
    assert all(check.remedy for check in found if check.status != "ok")
    assert found[0].to_json().keys() == {"name", "status", "found", "remedy"}
