"""Images and containers of an engine, through the docker SDK: the one place that knows it."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from buildkit.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from buildkit.engine.control import Engine

# Loading a large image takes a while, and the engine says nothing meanwhile.
_ANSWER_SECONDS = 600
_TAIL_LINES, _TAIL_CHARACTERS = 20, 4000
# A kill for want of memory and the end that it brings reach the engine on two ways, in any order.
_KILLED, _KILL_SECONDS = 137, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A container without a network, capabilities, or a root that it can write.

    Attributes:
        name: of the container.
        image: digest of a manifest that the engine has.
        platform: ``linux/arm64``.
        command: what it runs; the image's own words are not used.
        environment: added to the image's.
        folder: where a volume of its own is, the working folder; it goes with the container.
        label: its name stands under it.
        memory_bytes: limit; it gets no swap.
        cpus: processors; 0: all.
        pids: processes and threads.
    """

    name: str
    image: str
    platform: str
    command: tuple[str, ...]
    folder: str
    label: str
    memory_bytes: int
    cpus: int
    pids: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a container ended.

    Attributes:
        status: exit status.
        oom_killed: the kernel ended something in it for want of memory. The engine may not see it
            in the first moments of a container, before it watches (cgroups of version 1).
        stderr: the end of what it said.
    """

    status: int
    oom_killed: bool
    stderr: str


class Containers:
    """The Docker API of a running engine; to be closed, or used in ``with``.

    Every method raises `EngineError` when the engine does not answer, or refuses.

    Args:
        engine: has the socket.
    """

    def __init__(self, engine: Engine) -> None:
        import docker  # noqa: PLC0415 - costs 0.1 s
        import requests.exceptions  # noqa: PLC0415 - as docker

        if not engine.status().running:
            msg = f"the BuildKit engine {engine.identity} does not run"
            raise EngineError(msg, "python -m buildkit engine start recipe.toml")
        self._engine = engine
        self._errors = docker.errors
        self._line = requests.exceptions.RequestException
        with self._translated():
            # Its published types lack some of the calls, and get others wrong.
            self._api: Any = docker.APIClient(f"unix://{engine.socket}", timeout=_ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._api.close()

    def about(self) -> tuple[str, str]:
        """Version and architecture (``amd64``) of the engine."""
        with self._translated():
            found = self._api.version()
            return str(found["Version"]), str(found["Arch"])

    def image(self, name: str) -> str:
        """The digest of an image's manifest, as which the engine keeps it; empty without one."""
        with self._translated():
            try:
                return str(self._api.inspect_image(name)["Id"])
            except self._errors.ImageNotFound:
                return ""

    def tag(self, image: str, repository: str, tag: str) -> None:
        """Give an image a name, or the one that it has once more: it counts as used now."""
        with self._translated():
            self._api.tag(image, repository, tag)

    def load(self, archive: IO[bytes]) -> None:
        """Bring an image in, out of a ``docker load`` archive."""
        with self._translated():
            for line in self._api.load_image(archive, quiet=True):
                if "error" in line:
                    msg = f"the BuildKit engine cannot load an image: {line['error']}"
                    raise EngineError(msg)

    def forget_images(self, repository: str, keep: int) -> None:
        """Take away names in `repository` but the last used; those of running containers stay."""
        with self._translated():
            found = []
            for each in self._api.images(name=repository):
                # Another process may take it away meanwhile.
                with suppress(self._errors.APIError):
                    image = self._api.inspect_image(each["Id"])
                    found.append((image["Metadata"]["LastTagTime"], image["RepoTags"]))
            for _, names in sorted(found)[: max(0, len(found) - keep)]:
                for name in names:
                    if name.startswith(f"{repository}:"):
                        with suppress(self._errors.APIError):
                            self._api.remove_image(name)

    def create(self, container: Container) -> None:
        """Make a container, not started yet."""
        with self._translated():
            self._api.create_container(
                container.image,
                [*container.command[1:]],
                entrypoint=[container.command[0]],
                name=container.name,
                labels={container.label: container.name},
                environment=dict(container.environment),
                working_dir=container.folder,
                platform=container.platform,
                # The image's own check would run beside what is timed.
                healthcheck={"test": ["NONE"]},
                # The user's settings for Docker are none of the image's business.
                use_config_proxy=False,
                host_config=self._api.create_host_config(
                    network_mode="none",
                    read_only=True,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    mem_limit=container.memory_bytes,
                    memswap_limit=container.memory_bytes,
                    nano_cpus=container.cpus * 10**9 or None,
                    pids_limit=container.pids,
                    tmpfs={
                        "/tmp": "rw,nosuid,nodev,noexec,mode=1777,size=64m"  # noqa: S108 - inside
                    },
                    # Without a name: it goes with the container.
                    mounts=[{"Type": "volume", "Target": container.folder}],
                    log_config={"Type": "json-file", "Config": {"max-size": "1m"}},
                ),
            )

    def put(self, name: str, folder: str, files: IO[bytes]) -> None:
        """Unpack a tar into a folder of a container."""
        with self._translated():
            self._api.put_archive(name, folder, files)

    def get(self, name: str, path: str, limit: int) -> bytes | None:
        """A tar of one path in a container; nothing where there is no such path.

        Raises:
            EngineError: it has more than `limit` bytes, and what is said of all methods.
        """
        with self._translated():
            try:
                chunks, _ = self._api.get_archive(name, path)
            except self._errors.NotFound:
                return None
            data = bytearray()
            for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    msg = f"{path} in the container has more than {limit >> 20} MB"
                    raise EngineError(msg, "what runs in this image is not our smoke test")
            return bytes(data)

    def start(self, name: str) -> str:
        """Start a container; why not, when its program cannot be executed."""
        with self._translated():
            try:
                self._api.start(name)
            except self._errors.APIError as error:
                said = str(error.explanation or error)
                # The words of runc for it.
                if "exec: " not in said and "exec format error" not in said:
                    raise
                return said
            return ""

    def wait(self, name: str, end: float) -> bool:
        """Wait for a container's end; if it is late it is ended, and the answer is no.

        Args:
            name: of the container.
            end: monotonic time in seconds.
        """
        with self._translated():
            try:
                self._api.wait(name, timeout=max(end - time.monotonic(), 0.001))
            except self._line:
                # Which exception a time-out is depends on how much of the answer was there.
                if time.monotonic() < end:
                    raise
            else:
                return True
            # It may have ended by itself meanwhile; it is late all the same.
            with suppress(self._errors.APIError):
                self._api.kill(name)
            self._api.wait(name)
            return False

    def ended(self, name: str) -> Ended:
        """How a container ended."""
        with self._translated():
            end = time.monotonic() + _KILL_SECONDS
            state: dict[str, Any] = self._api.inspect_container(name)["State"]
            while (
                state["ExitCode"] == _KILLED and not state["OOMKilled"] and time.monotonic() < end
            ):
                time.sleep(0.05)
                state = self._api.inspect_container(name)["State"]
            said: bytes = self._api.logs(name, stdout=False, stderr=True, tail=_TAIL_LINES)
            return Ended(
                status=int(state["ExitCode"]),
                oom_killed=bool(state["OOMKilled"]),
                stderr=said.decode(errors="replace")[-_TAIL_CHARACTERS:],
            )

    def labelled(self, label: str) -> tuple[str, ...]:
        """Names of all containers with `label`, running or not."""
        with self._translated():
            found = self._api.containers(all=True, filters={"label": label})
            return tuple(each["Labels"][label] for each in found)

    def remove(self, name: str) -> None:
        """End a container and take it away with its volume; nothing happens without one."""
        with self._translated():
            try:
                self._api.remove_container(name, v=True, force=True)
            except self._errors.NotFound:
                return
            except self._errors.APIError as error:
                # Somebody else removes it just now.
                if error.status_code != 409:
                    raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (self._errors.DockerException, self._line) as error:
            said = getattr(error, "explanation", None) or error
            msg = f"the BuildKit engine {self._engine.identity} failed: {said}"
            remedy = f"its log: python -m buildkit engine logs {self._engine.identity}"
            raise EngineError(msg, remedy) from error
