"""crun, the smallest of the three, with umoci to unpack images; as root.

crun wants a bundle: a root folder, and one ``config.json`` of the OCI runtime specification 1.0.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import places as files
from agent.container import (
    LABEL,
    LARGEST_REPORT,
    SCRATCH,
    SCRATCH_BYTES,
    environment,
    no_python,
    pythons,
)
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from agent.blobs import Blobs
    from agent.container import Found, Job
    from agent.places import Places
    from agent.programs import Ended, Programs
    from agent.verify import Plan

_UNPACK_S = 1800.0
_TAG = "edge"
_DEV = "/dev"
_CGROUPS = Path("/sys/fs/cgroup")
_INNER = "run"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = ("acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "sched_debug", "scsi")
_READONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")


class Crun:
    """Runs containers without a daemon; see `Runtime` for its methods."""

    def __init__(self, found: Found, programs: Programs, blobs: Blobs, places: Places) -> None:
        self.found = found
        self._programs = programs
        self._blobs = blobs
        self._places = places
        # Empty, or `sudo -n`: the same that crun needs.
        self._as_root = found.argv[:-1]

    def prepare(self, plan: Plan) -> None:
        """Unpack the image, unless that was done, to its very end, before."""
        target = self._target(plan)
        marker = self._marker(target)
        if marker.exists() and target.is_dir():
            return
        files.remove(marker)
        self._delete(target)
        # What begins with a dot is half done, and the next sweep's. The names are our own,
        # since an umoci that runs as root may outlive the agent that started it.
        layout, fresh = (
            target.with_name(f".{kind}-{os.getpid()}-{target.name}") for kind in ("oci", "new")
        )
        self._layout(plan, layout)
        argv = (*self._as_root, "umoci", "unpack", "--image", f"{layout}:{_TAG}", str(fresh))
        ended = self._programs.run(argv, seconds=_UNPACK_S)
        if ended.code:
            message = f"umoci unpack: {ended.said}"
            if "no space left" in ended.err.lower():
                raise AgentError(Kind.DISK, message, "make room, or remove what is kept")
            raise AgentError(Kind.RUNTIME, message)
        # Before the marker says so, all of it has to be on the disk.
        os.sync()
        fresh.rename(target)
        files.sync(target.parent)
        files.write(marker, b"")
        self._delete(layout)

    def run(self, job: Job) -> tuple[Ended, bool | None]:
        """Run in the foreground; the kernel says whether memory ran out."""
        bundle = files.folder(job.folder / "bundle")
        root = self._target(job.plan)
        # umoci wrote it for root alone.
        written = self._programs.run([*self._as_root, "cat", "--", str(root / "config.json")])
        try:
            user = json.loads(written.out)["process"]["user"]
        except (ValueError, KeyError) as error:
            message = f"the unpacked image has no user: {written.said}"
            raise AgentError(Kind.RUNTIME, message, "unpack it again: device clean") from error
        argv = [*self.found.argv, "--cgroup-manager=cgroupfs", "run", "--bundle", str(bundle)]
        for python in pythons(job.plan.settings):
            document = config(job, root / "rootfs", python, user)
            files.write(bundle / "config.json", json.dumps(document).encode())
            ended = self._programs.run([*argv, job.name], seconds=job.seconds, most=LARGEST_REPORT)
            if not no_python(ended):
                break
            self.remove(job.name)
        return ended, ran_out(_group(job.name))

    def remove(self, name: str) -> bool:
        """End and remove a container, and the group that its own was in."""
        ended = self._programs.run([*self.found.argv, "delete", "--force", name])
        text = ended.err.lower()
        group = _group(name)
        if group.is_dir():
            self._programs.run([*self._as_root, "rmdir", "--", str(group)])
        gone = ended.code == 0 or "does not exist" in text or "no such file" in text
        return gone and not group.is_dir()

    def clean(self) -> int:
        """Remove unpacked images."""
        removed = 0
        for name in files.names(self._places.images):
            if name.startswith(("crun-", ".")):
                removed += name.startswith("crun-") and not name.endswith(".done")
                self._delete(self._places.images / name)
        return removed

    def _target(self, plan: Plan) -> Path:
        return self._places.images / f"crun-{plan.config.digest.partition(':')[2]}"

    @staticmethod
    def _marker(target: Path) -> Path:
        return target.with_name(f"{target.name}.done")

    def _delete(self, path: Path) -> None:
        """Also what umoci made as root."""
        try:
            files.remove(path)
        except PermissionError:
            self._programs.run([*self._as_root, "rm", "-rf", "--", str(path)], seconds=600)

    def _layout(self, plan: Plan, layout: Path) -> None:
        """An OCI layout of links to the blobs, which were just checked."""
        blobs = files.folder(layout / "blobs" / "sha256")
        for digest in {each.digest for each in (plan.manifest, plan.config, *plan.layers)}:
            source = self._blobs.path(digest)
            try:
                os.link(source, blobs / source.name)
            except OSError:
                shutil.copyfile(source, blobs / source.name)
        described = {"mediaType": plan.manifest.media_type, "digest": plan.manifest.digest}
        named = {"org.opencontainers.image.ref.name": _TAG}
        entry = {**described, "size": plan.manifest.size, "annotations": named}
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


def config(job: Job, root: Path, python: str, user: dict[str, Any]) -> dict[str, Any]:
    """The bundle's ``config.json``: nothing to write to but ``/tmp``, no network, no rights."""
    variables = {"PATH": _PATH, **environment(job.plan.settings), **job.variables}
    groups = {*user.get("additionalGids", ()), *(node.gid for node in job.nodes if node.gid)}
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": user["uid"], "gid": user["gid"], "additionalGids": sorted(groups)},
            "args": [python, *job.arguments],
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": SCRATCH,
            "capabilities": {},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
        },
        "root": {"path": str(root), "readonly": True},
        "hostname": "edge-smoke",
        "annotations": {LABEL: job.name},
        "mounts": [*_usual_mounts(), *(_bind(*mount) for mount in job.mounts)],
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            # One below our own, which outlives the container: it tells how memory went.
            "cgroupsPath": f"/{job.name}/{_INNER}" if _one_tree() else f"/{job.name}",
            "resources": _resources(job),
            "devices": [
                {"path": node.path, "type": "c", "major": node.major, "minor": node.minor}
                | {"fileMode": 0o660, "uid": 0, "gid": node.gid}
                for node in job.nodes
            ],
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READONLY],
        },
    }


def _resources(job: Job) -> dict[str, Any]:
    memory = {"limit": job.memory_bytes}
    if swap_accounted():
        # Memory and swap together: so, none.
        memory["swap"] = job.memory_bytes
    allowed = [
        {"allow": True, "type": "c", "major": node.major, "minor": node.minor, "access": "rw"}
        for node in job.nodes
    ]
    found: dict[str, Any] = {
        "memory": memory,
        "pids": {"limit": job.pids},
        "devices": [{"allow": False, "access": "rwm"}, *allowed],
    }
    if job.cpus:
        found["cpu"] = {"quota": 100_000 * job.cpus, "period": 100_000}
    return found


def ran_out(group: Path) -> bool | None:
    """Whether a limit on memory in a control group (version 2) made the kernel kill.

    False when there was no kill, or only because the board itself had no memory left; nothing when
    the kernel does not tell.
    """
    try:
        lines = (group / "memory.events").read_text().splitlines()
        events = {name: int(count) for name, count in (line.split() for line in lines)}
        return events["oom"] > 0 and events["oom_kill"] > 0
    except (OSError, ValueError, KeyError):
        return None


def _group(name: str) -> Path:
    return _CGROUPS / name


def _one_tree() -> bool:
    """Whether control groups are those of version 2 (cgroups(7))."""
    return (_CGROUPS / "cgroup.controllers").exists()


def swap_accounted(root: Path = _CGROUPS) -> bool:
    """Whether the kernel can keep a container from swapping; else asking for it would fail."""
    if (root / "memory" / "memory.memsw.limit_in_bytes").exists():
        return True
    return next(root.glob("*/memory.swap.max"), None) is not None


def _bind(source: str, target: str) -> dict[str, Any]:
    options = ["rbind", "ro", "nosuid", "nodev"]
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _usual_mounts() -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]

    def mount(target: str, kind: str, *options: str) -> dict[str, Any]:
        return {"destination": target, "type": kind, "source": kind, "options": list(options)}

    return [
        mount("/proc", "proc", *safe),
        mount(_DEV, "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount(
            f"{_DEV}/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"
        ),
        mount(f"{_DEV}/shm", "tmpfs", *safe, "mode=1777", "size=65536k"),
        mount("/sys", "sysfs", *safe, "ro"),
        mount("/sys/fs/cgroup", "cgroup", *safe, "ro"),
        mount(SCRATCH, "tmpfs", *safe, "mode=1777", f"size={SCRATCH_BYTES}"),
    ]
