"""What Docker and Podman have in common: the command line, and loading an image from blobs."""

from __future__ import annotations

import json
import re
import tarfile
from typing import TYPE_CHECKING

from agent import places as files
from agent.container import LABEL, LARGEST_REPORT, SCRATCH, SCRATCH_BYTES, no_python, pythons
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.blobs import Blobs
    from agent.container import Found, Job
    from agent.places import Places
    from agent.programs import Ended, Programs
    from agent.verify import Descriptor, Plan

_LOAD_S = 1800.0
_IMAGE = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class Engine:
    """One of the two.

    Args:
        found: how it is called.
        programs: that start it.
        blobs: images are made of.
        places: where it is remembered what was loaded.
    """

    extra: tuple[str, ...] = ()

    def __init__(self, found: Found, programs: Programs, blobs: Blobs, places: Places) -> None:
        self.found = found
        self._programs = programs
        self._blobs = blobs
        self._places = places
        self._image = ""

    def prepare(self, plan: Plan) -> None:
        """Load the image, unless it is there; see `Runtime.prepare`."""
        self._image = self._loaded(plan)
        if self._image:
            return
        # Remembered first: what is loaded and not known would stay for ever.
        marker = self._places.images / f"{self.found.name}-{_hex(plan.config.digest)}"
        known = {"config": plan.config.digest, "manifest": plan.manifest.digest}
        files.write(marker, json.dumps(known).encode())
        argv = [*self.found.argv, "load"]
        ended = self._programs.run(argv, feed=archive(plan, self._blobs), seconds=_LOAD_S)
        self._image = self._loaded(plan)
        if not self._image:
            message = f"{self.found.name} load: {ended.said}"
            if "no space left" in ended.err.lower():
                raise AgentError(Kind.DISK, message, "make room, or remove what is kept")
            raise AgentError(Kind.RUNTIME, message)

    def _loaded(self, plan: Plan) -> str:
        """The id of the image, if it is there: the digest of its configuration or manifest."""
        # Podman and the older store of Docker name images by configuration, the newer by manifest.
        wanted = {_hex(plan.config.digest), _hex(plan.manifest.digest)}
        for name in (plan.config.digest, plan.manifest.digest):
            argv = [*self.found.argv, "image", "inspect", "--format", "{{.Id}}", name]
            ended = self._programs.run(argv)
            match = _IMAGE.fullmatch(ended.out.decode(errors="replace").strip())
            if ended.code == 0 and match and match.group(1) in wanted:
                return f"sha256:{match.group(1)}"
        return ""

    def run(self, job: Job) -> tuple[Ended, bool | None]:
        """See `Runtime.run`."""
        for python in pythons(job.plan.settings):
            argv = self.command(job, python)
            ended = self._programs.run(argv, seconds=job.seconds, most=LARGEST_REPORT)
            if not no_python(ended):
                break
            self.remove(job.name)
        return ended, self._oom(job.name)

    def command(self, job: Job, python: str) -> list[str]:
        """The whole command line."""
        limits = [f"--memory={job.memory_bytes}", f"--memory-swap={job.memory_bytes}"]
        limits += [f"--pids-limit={job.pids}", *([f"--cpus={job.cpus}"] if job.cpus else [])]
        scratch = f"{SCRATCH}:rw,nosuid,nodev,noexec,mode=1777,size={SCRATCH_BYTES}"
        return [
            *(*self.found.argv, "run", f"--name={job.name}", f"--label={LABEL}={job.name}"),
            *("--pull=never", "--network=none", "--read-only", f"--tmpfs={scratch}"),
            *("--cap-drop=all", "--security-opt=no-new-privileges", "--log-driver=none"),
            *("--no-healthcheck", f"--workdir={SCRATCH}", *limits, *self.extra),
            *(f"--env={name}={value}" for name, value in job.variables.items()),
            *(f"--mount={mount_option(*mount)}" for mount in job.mounts),
            *(f"--device={node.path}" for node in job.nodes),
            *(f"--group-add={gid}" for gid in sorted({n.gid for n in job.nodes if n.gid})),
            *(f"--entrypoint={python}", self._image, *job.arguments),
        ]

    def _oom(self, name: str) -> bool | None:
        argv = [*self.found.argv, "inspect", "--format", "{{.State.OOMKilled}}", name]
        said = self._programs.run(argv).out.strip()
        return {b"true": True, b"false": False}.get(said)

    def remove(self, name: str) -> bool:
        """See `Runtime.remove`."""
        ended = self._programs.run([*self.found.argv, "rm", "--force", "--volumes", name])
        return ended.code == 0 or "no such container" in ended.err.lower()

    def clean(self) -> int:
        """See `Runtime.clean`."""
        removed = 0
        for name in files.names(self._places.images):
            if not name.startswith(f"{self.found.name}-"):
                continue
            known = json.loads((self._places.images / name).read_bytes())
            ids = {str(known["config"]), str(known["manifest"])}
            for each in sorted(ids):
                ended = self._programs.run([*self.found.argv, "image", "rm", "--force", each])
                removed += ended.code == 0
            files.remove(self._places.images / name)
        return removed


def mount_option(source: str, target: str) -> str:
    """The value of ``--mount``: comma-separated fields, quoted as in RFC 4180 where needed."""
    fields = ["type=bind", f"source={source}", f"target={target}", "readonly"]
    return ",".join(
        '"' + field.replace('"', '""') + '"' if re.search(r'[",\s]', field) else field
        for field in fields
    )


def archive(plan: Plan, blobs: Blobs) -> Iterator[bytes]:
    """An image as one tar, in pieces: an OCI layout that is also what ``docker save`` writes.

    Docker up to 24 and Podman read ``manifest.json``; newer ones read ``index.json`` and keep the
    manifest, and so its digest, as it is.
    """
    described = {"mediaType": plan.manifest.media_type, "digest": plan.manifest.digest}
    index = {"schemaVersion": 2, "manifests": [{**described, "size": plan.manifest.size}]}
    listing = [
        {
            "Config": _blob(plan.config.digest),
            "RepoTags": None,
            "Layers": [_blob(layer.digest) for layer in plan.layers],
        }
    ]
    yield from _entry("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
    yield from _entry("index.json", json.dumps(index).encode())
    yield from _entry("manifest.json", json.dumps(listing).encode())
    parts: dict[str, Descriptor] = {
        each.digest: each for each in (plan.manifest, plan.config, *plan.layers)
    }
    for digest, each in parts.items():
        yield _header(_blob(digest), each.size)
        yield from blobs.pieces(digest, each.size)
        yield b"\0" * (-each.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _entry(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _blob(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _hex(digest: str) -> str:
    return digest.partition(":")[2]
