"""What the kernel gives to Nix's sandbox and to the BuildKit engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.doctor.registry import check
from buildkit.doctor.types import Check
from buildkit.errors import ToolError

if TYPE_CHECKING:
    from buildkit.doctor.types import Machine

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_PRIVATE_BINFMT = (6, 7)
_BINFMT = "proc/sys/fs/binfmt_misc"
_FOREIGN = {"x86_64": ("arm64", "aarch64"), "aarch64": ("amd64", "x86_64")}


@check("namespaces")
def namespaces(machine: Machine) -> Check:
    """The kernel has every kind of namespace."""
    missing = [kind for kind in _NAMESPACES if not machine.has(f"proc/self/ns/{kind}")]
    if missing:
        return Check(
            name="namespaces",
            status="fail",
            found=f"this kernel ({machine.release}) lacks namespaces: {', '.join(missing)}",
            remedy="boot a kernel of the distribution; gVisor and WSL 1 cannot build",
        )
    return Check(name="namespaces", status="ok", found=f"Linux {machine.release}")


@check("user-namespaces")
def user_namespaces(machine: Machine) -> Check:
    """This user may make user namespaces: a plain user's sandbox and a private binfmt_misc."""
    name = "user-namespaces"
    closed = (
        ("user.max_user_namespaces", "0", "15000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    )
    # Only the first of these binds root.
    for key, value, better in closed[: 1 if machine.user == 0 else None]:
        if machine.text("proc/sys/" + key.replace(".", "/")) == value:
            return Check(
                name=name,
                status="warn" if machine.user == 0 else "fail",
                found=f"{key} is {value}",
                remedy=f"as root: sysctl -w {key}={better}",
            )
    return Check(name=name, status="ok", found="may be made")


@check("nix-sandbox")
def nix_sandbox(machine: Machine) -> Check:
    """The namespaces of Nix's sandbox can really be made, and the root can be exchanged in them."""
    name = "nix-sandbox"
    mounts = [line.split() for line in machine.text("proc/self/mountinfo").splitlines()]
    if mounts and not any(words[4] == "/" for words in mounts if len(words) > 4):
        return Check(
            name=name,
            status="fail",
            found="/ is no mount point (a plain chroot), so pivot_root(2) is refused",
            remedy="enter the folder with pivot_root, or bind-mount it on itself before the chroot",
        )
    kinds = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"]
    as_user = machine.user != 0 and not machine.has("nix/var/nix/daemon-socket/socket")
    words = ["unshare", *(["--user", "--map-root-user"] if as_user else []), *kinds, "true"]
    try:
        machine.runner(words, deadline=20.0)
    except ToolError as error:
        return Check(
            name=name,
            status="fail",
            found=f"namespaces cannot be made: {error.message.splitlines()[-1].strip()}",
            remedy="in a container: give it CAP_SYS_ADMIN (docker run --privileged), "
            "or run on the machine itself",
        )
    return Check(name=name, status="ok", found="its namespaces can be made")


@check("overlay")
def overlay(machine: Machine) -> Check:
    """The engine's root is an overlay."""
    known = {line.split()[-1] for line in machine.text("proc/filesystems").splitlines()}
    # A kernel without the file system in its list may still have it as a module.
    if "overlay" in known:
        return Check(name="overlay", status="ok", found="in the kernel")
    if machine.has(f"lib/modules/{machine.release}/kernel/fs/overlayfs"):
        remedy = "as root: modprobe overlay" if machine.user else "modprobe overlay"
        return Check(name="overlay", status="warn", found="a module, not loaded", remedy=remedy)
    remedy = "boot a kernel with CONFIG_OVERLAY_FS, or build with --builder on another machine"
    return Check(name="overlay", status="fail", found="not in this kernel", remedy=remedy)


@check("cgroups")
def cgroups(machine: Machine) -> Check:
    """The engine's containers need a cgroup hierarchy."""
    if machine.has("sys/fs/cgroup/cgroup.controllers"):
        return Check(name="cgroups", status="ok", found="version 2")
    if machine.has("sys/fs/cgroup/memory"):
        return Check(name="cgroups", status="ok", found="version 1")
    remedy = "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    return Check(name="cgroups", status="fail", found="none is mounted", remedy=remedy)


@check("binfmt")
def binfmt(machine: Machine) -> Check:
    """Programs of the other architecture can run: in the engine's own list, or the machine's."""
    foreign, processor = _FOREIGN.get(machine.processor, ("arm64", "aarch64"))
    private = machine.kernel >= _PRIVATE_BINFMT
    allowed = machine.text("proc/sys/user/max_user_namespaces") != "0"
    if private and allowed:
        found = f"the engine has a list of its own (Linux {machine.release}) for {foreign}"
        return Check(name="binfmt", status="ok", found=found)
    registered = machine.text(f"{_BINFMT}/edge-buildkit-{foreign}")
    if registered.startswith("enabled"):
        found = f"edge-buildkit-{foreign} is registered for the whole machine"
        return Check(name="binfmt", status="ok", found=found)
    if not machine.has(f"{_BINFMT}/register"):
        return Check(
            name="binfmt",
            status="warn",
            found=f"no list of interpreters: RUN steps for {foreign} cannot run here",
            remedy=f"as root: modprobe binfmt_misc; mount -t binfmt_misc binfmt_misc /{_BINFMT}",
        )
    other = machine.text(f"{_BINFMT}/qemu-{processor}").startswith("enabled")
    found = f"the engine will register {foreign} for the whole machine"
    if other:
        found += f", beside qemu-{processor}, which is there"
    lowest = ".".join(map(str, _PRIVATE_BINFMT))
    remedy = f"nothing, or Linux {lowest} or later, where the engine's list is private"
    return Check(name="binfmt", status="warn", found=found, remedy=remedy)
