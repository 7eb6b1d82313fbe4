"""Starts the engine in namespaces of its own, and answers for it until it ends.

``python -m buildkit.engine.launch CONFIG.json`` returns when the namespaces are made and
``dockerd`` runs in them; the supervisor stays behind. Everything that is mounted here exists
in these namespaces alone, so nothing is left on the machine when the last process is gone.

The user namespace is there for ``binfmt_misc``: since Linux 6.7 a user namespace has its own
list of interpreters (binfmt_misc in user namespaces, kernel commit 21ca59b365c0), so other
processes of the machine never see ours. Its identity map leaves the last id out: container
tools take a complete map for the initial namespace and then try what only that one may do.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_BIND, _REC, _PRIVATE, _NOSUID, _NODEV = 4096, 16384, 1 << 18, 2, 4
_SET_PDEATHSIG, _SIGKILL = 1, 9
_ID_MAP = "0 0 4294967294"

# e_machine and the fixed bytes of an ELF header of each architecture (binfmt_misc.rst).
_MAGIC = {
    "arm64": rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    "amd64": rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00",
}
_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def main(config_file: str) -> int:
    """Start the engine that `config_file` describes; 1 and the reason on stderr if not."""
    config = json.loads(Path(config_file).read_text())
    if not _take(config["life"]):
        sys.stderr.write("another engine works in the same folder\n")
        return 1
    said, say = os.pipe()
    mapped, tell = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.close(said)
        os.close(tell)
        _supervise(config, say, mapped)
    os.close(say)
    os.close(mapped)
    with os.fdopen(said) as stream:
        for line in stream:
            word = line.strip()
            if word == "map":
                # Only the parent namespace may write a map of more than one id.
                for kind in ("uid", "gid"):
                    Path(f"/proc/{supervisor}/{kind}_map").write_text(_ID_MAP)
                os.write(tell, b"x")
            elif word == "running":
                return 0
            else:
                sys.stderr.write(word + "\n")
    os.waitpid(supervisor, 0)
    return 1


def _take(life: str) -> bool:
    """Hold the lock that says that something of this engine lives.

    Every process of it gets the open file, so the last one to end lets go of it, however it ends.
    """
    lock = os.open(life, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)  # noqa: FBT003 - positional in the standard library
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _supervise(config: dict[str, Any], say: int, mapped: int) -> NoReturn:
    try:
        os.setsid()
        _to_log(config["log"])
        if config["binfmt"] == "private":
            _call("unshare", _NEWUSER, what="a user namespace")
            os.write(say, b"map\n")
            if not os.read(mapped, 1):
                # Whoever started us was killed.
                os._exit(1)
        _call("unshare", _NEWNS | _NEWNET | _NEWPID | _NEWIPC | _NEWUTS, what="namespaces")
        alive, still = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(still)
            _LIBC.prctl(_SET_PDEATHSIG, _SIGKILL)
            if select.select([alive], [], [], 0)[0]:
                # The supervisor was killed before it could be asked for.
                os._exit(1)
            _become_engine(config, say)
        record = {**config["record"], "pid": child, "started": started(child)}
        target = Path(config["record_file"])
        temporary = target.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(record))
        temporary.rename(target)
        # Closed when the child has executed dockerd: until then it may still say what failed.
        os.write(say, b"")
        os.close(say)
        _, status = os.waitpid(child, 0)
        target.unlink(missing_ok=True)
        os._exit(os.waitstatus_to_exitcode(status) & 255)
    except OSError as error:
        _fail(say, error)


def _become_engine(config: dict[str, Any], say: int) -> NoReturn:
    try:
        root = _make_root(config)
        os.chroot(root)
        os.chdir("/")
        os.set_inheritable(say, False)  # noqa: FBT003 - positional in the standard library
        os.write(say, b"running\n")
        words = ["/usr/bin/tini", "-g", "--", "/usr/sbin/dockerd", *config["arguments"]]
        os.execve(words[0], words, config["environment"])  # noqa: S606 - becoming it is the point
    except OSError as error:
        _fail(say, error)


def _make_root(config: dict[str, Any]) -> str:
    """Mount the engine's root: the pinned tree below, a throw-away layer above."""
    work = Path(config["runtime"])
    root, upper = str(work / "root"), work / "upper"
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", str(upper), "tmpfs", _NOSUID | _NODEV, "mode=0755")
    for name in ("over", "work"):
        (upper / name).mkdir()
    _mount(
        "overlay", root, "overlay", 0,
        f"lowerdir={config['tree']},upperdir={upper}/over,workdir={upper}/work",
    )  # fmt: skip
    inside = Path(root)
    for name in ("proc", "sys", "dev", "run", "tmp", "var/lib/docker", "etc"):
        (inside / name).mkdir(parents=True, exist_ok=True)
    _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV)
    for name in ("sys", "dev"):
        _mount(f"/{name}", f"{root}/{name}", None, _BIND | _REC)
    for name in ("run", "tmp"):
        _mount("tmpfs", f"{root}/{name}", "tmpfs", _NOSUID | _NODEV, "mode=0755")
    (inside / "tmp").chmod(0o1777)
    _mount(config["data"], f"{root}/var/lib/docker", None, _BIND)
    (inside / "run/socket").mkdir()
    _mount(config["socket_folder"], f"{root}/run/socket", None, _BIND)
    (inside / "run/daemon.json").write_text(json.dumps(config["daemon"]))
    if config["binfmt"] == "private":
        listing = f"{root}/proc/sys/fs/binfmt_misc"
        _mount("binfmt_misc", listing, "binfmt_misc")
        register(Path(listing), config["foreign"], f"{root}/{config['emulator']}")
    return root


def register(binfmt: Path, architecture: str, interpreter: str) -> None:
    """Make the kernel run programs of `architecture` with `interpreter`.

    The flags: F opens the interpreter now, so that it works in every root; P keeps argv[0];
    C takes credentials from the program.
    """
    rule = b":edge-buildkit-%b:M::%b:%b:%b:FPC" % (
        architecture.encode(),
        _MAGIC[architecture],
        _MASK,
        interpreter.encode(),
    )
    (binfmt / "register").write_bytes(rule)


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), field 22 of stat)."""
    return int(_stat(pid)[19])


def is_alive(pid: int, since: int) -> bool:
    """Whether the process that started then is there and has not ended."""
    try:
        fields = _stat(pid)
    except OSError:
        return False
    return fields[0] not in {"Z", "X"} and int(fields[19]) == since


def _stat(pid: int) -> list[str]:
    """The fields from the third on; the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _to_log(log: str) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int = 0, data: str = ""
) -> None:
    _call(
        "mount", *(_bytes(source), _bytes(target), _bytes(kind), flags, _bytes(data)), what=target
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _call(name: str, *arguments: object, what: str) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {what}: {os.strerror(number)}")


def _fail(say: int, error: OSError) -> NoReturn:
    with suppress(OSError):
        os.write(say, f"{error.strerror or error}\n".encode())
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
