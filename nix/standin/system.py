# ruff: noqa: INP001 - a program of the sandbox, not a package
"""system.py SETTINGS OUT: the board's root as a tar archive, without running any of its programs.

Packages are laid over one another with the owners and modes that they carry; what their scripts
would do when they are installed, is done here by hand, as far as the board needs it.
"""

import io
import json
import sys
import tarfile
from pathlib import Path

import packages

OWN = "usr/lib/edge-standin"
PRUNED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/zoneinfo",
    "usr/lib/systemd",
)
FOLDERS = (
    *("bin", "sbin", "lib", "dev", "proc", "sys", "run", "tmp", "root", "home", "srv", "mnt"),
    *("media", "boot", "opt", "var/tmp"),
)
USERS = (("sshd", 101), ("messagebus", 102))
DOCKER = {"bridge": "none", "iptables": False, "ip6tables": False}


class Root:
    """A tree in memory: path → description and content."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def add_package(self, deb: Path) -> None:
        """Lay a package over what is there."""
        for path, member, content in packages.members(deb):
            if path.startswith(PRUNED) or (member.isdir() and path in self.entries):
                continue
            self.entries[path] = (member, content)
            if member.islnk():
                # Two names of one file become two files.
                first, data = self.entries[member.linkname]
                member.type, member.size, member.mode = tarfile.REGTYPE, first.size, first.mode
                self.entries[path] = (member, data)

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Add a folder."""
        self._put(path, tarfile.DIRTYPE, mode, owner)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, tarfile.SYMTYPE, 0o777).linkname = target

    def file(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Add a file of root's."""
        data = content.encode() if isinstance(content, str) else content
        self._put(path, tarfile.REGTYPE, mode, content=data)

    def _put(
        self, path: str, kind: bytes, mode: int, owner: int = 0, content: bytes = b""
    ) -> tarfile.TarInfo:
        member = tarfile.TarInfo()
        member.type, member.mode, member.size = kind, mode, len(content)
        member.uid = member.gid = owner
        self.entries[path] = (member, content)
        return member

    def text(self, path: str) -> str:
        """What a file says."""
        return self.entries[path][1].decode()

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return path in self.entries

    def below(self, path: str) -> list[str]:
        """All that is below a folder, sorted."""
        return sorted(name for name in self.entries if name.startswith(path + "/"))

    def write(self, out: Path) -> None:
        """As a tar archive: sorted, one time for all, numbers instead of names for owners."""
        for path in list(self.entries):
            parts = path.split("/")
            for count in range(1, len(parts)):
                above = "/".join(parts[:count])
                if above not in self.entries:
                    self.folder(above)
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
            for path, (member, content) in sorted(self.entries.items()):
                member.name = f"./{path}"
                member.uname = member.gname = ""
                member.mtime = packages.EPOCH
                member.pax_headers = {}
                archive.addfile(member, io.BytesIO(content) if member.isreg() else None)


def people(root: Root) -> None:
    """Users, groups, and the passwords that nobody has."""
    users = root.text("usr/share/base-passwd/passwd.master")
    groups = root.text("usr/share/base-passwd/group.master")
    users = users.replace("root:*:", "root:x:", 1)
    for name, number in USERS:
        users += f"{name}:x:{number}:{number}::/run/{name}:/usr/sbin/nologin\n"
        groups += f"{name}:x:{number}:\n"
    users += "pi:x:1000:1000:,,,:/home/pi:/bin/bash\n"
    groups += "pi:x:1000:\n"
    if root.has("usr/sbin/dockerd"):
        groups += "docker:x:990:pi\n"
    root.file("etc/passwd", users)
    root.file("etc/group", groups)
    shadow = "".join(f"{line.split(':')[0]}:*:20000:0:99999:7:::\n" for line in users.splitlines())
    root.file("etc/shadow", shadow, 0o600)
    root.file("etc/subuid", "pi:100000:65536\n")
    root.file("etc/subgid", "pi:100000:65536\n")
    root.folder("root", 0o700)
    root.folder("root/.ssh", 0o700)
    root.folder("home/pi", 0o755, 1000)
    root.folder("home/pi/.ssh", 0o700, 1000)
    for name in (".bashrc", ".profile"):
        if root.has(f"etc/skel/{name}"):
            root.file(f"home/pi/{name}", root.text(f"etc/skel/{name}"))
            root.entries[f"home/pi/{name}"][0].uid = 1000
            root.entries[f"home/pi/{name}"][0].gid = 1000
    root.file("etc/sudoers.d/pi", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    for name in root.below("usr/share/pam"):
        if "/common-" in name and not name.endswith(".md5sums"):
            root.file(f"etc/pam.d/{name.rpartition('/')[2]}", _pam(root.text(name)))


def _pam(text: str) -> str:
    """A template of pam-auth-update(8), filled in with the ordinary password file."""
    kinds = ("account", "auth", "password", "session")
    kind = next((kind for kind in kinds if f"${kind}_" in text), None)
    return text if kind is None else f"{kind} required pam_unix.so\n"


def system(root: Root, mark: str) -> None:
    """Names, mounts, certificates, the SSH server, and the mark of the stand-in."""
    root.file("etc/edge-standin", mark + "\n")
    root.file("etc/hostname", "edge-standin\n")
    root.file("etc/hosts", "127.0.0.1 localhost edge-standin\n::1 localhost\n")
    root.file("etc/resolv.conf", "")
    root.file("etc/fstab", "/dev/vda / ext4 rw,noatime 0 1\n")
    root.file("etc/machine-id", "")
    root.link("etc/mtab", "/proc/self/mounts")
    certificates = [
        name for name in root.below("usr/share/ca-certificates") if name.endswith(".crt")
    ]
    root.file("etc/ssl/certs/ca-certificates.crt", "".join(map(root.text, certificates)))
    for name in certificates:
        del root.entries[name]
    root.file("etc/ssh/sshd_config", root.text("usr/share/openssh/sshd_config"))
    root.file(
        "etc/ssh/sshd_config.d/standin.conf",
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "UseDNS no\n"
        "PrintLastLog no\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n",
    )
    if not root.has("usr/bin/awk"):
        root.link("usr/bin/awk", "mawk")
    if not root.has("usr/bin/python3"):
        root.link("usr/bin/python3", "python3.11")
    if root.has("usr/sbin/dockerd"):
        root.file("etc/docker/daemon.json", json.dumps(DOCKER) + "\n")
    for name in ("iptables", "ip6tables"):
        if root.has(f"usr/sbin/{name}-nft") and not root.has(f"usr/sbin/{name}"):
            root.link(f"usr/sbin/{name}", f"{name}-nft")
    root.folder("etc/containers")
    if root.has("usr/bin/podman"):
        root.file(
            "etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}\n'
        )
        root.file(
            "etc/containers/containers.conf",
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n',
        )


def main() -> None:
    """Make the tree, write it."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    root = Root()
    for name in FOLDERS:
        root.folder(name)
    for name in ("bin", "sbin", "lib"):
        root.link(name, f"usr/{name}")
    for name in ("tmp", "var/tmp"):
        root.folder(name, 0o1777)
    for deb in settings["debs"]:
        root.add_package(Path(deb))
    people(root)
    system(root, settings["mark"])
    for path, member, content in packages.members(Path(settings["busybox"])):
        if member.isreg() and path == "usr/bin/busybox":
            root.file(f"{OWN}/busybox", content, 0o755)
    root.file(f"{OWN}/init", Path(settings["init"]).read_bytes(), 0o755)
    for name in ("poweroff", "reboot"):
        root.file(
            f"usr/sbin/{name}",
            f"#!/{OWN}/busybox sh\n# Whoever is logged in shall see the end of the line.\n"
            f"setsid sh -c 'killall sshd; sleep 0.2; sync; {name} -f' &\n",
            0o755,
        )
    root.file("usr/bin/vcgencmd", Path(settings["vcgencmd"]).read_bytes(), 0o755)
    modules = Path(settings["modules"])
    for file in sorted(modules.rglob("*")):
        if file.is_file():
            root.file(f"usr/lib/modules/{file.relative_to(modules)}", file.read_bytes())
    root.write(Path(sys.argv[2]))


main()
