"""``docker buildx build`` of the app layers, through python-on-whales."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import canonical, digests
from buildkit.errors import EngineError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

_MOST_OUTPUT_LINES = 25
_STEP_FAULT = re.compile(r"did not complete successfully")
_USER_FAULT = re.compile(
    r"failed to solve|dockerfile parse error|failed to read dockerfile", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Who runs the build.

    Attributes:
        client: first words of the docker command line.
        socket: ``unix://…`` of the pinned engine; empty for a builder of the user's own.
        config: folder of the client's configuration; empty for the user's own.
        name: name of the buildx builder.
    """

    client: tuple[str, ...]
    socket: str
    config: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """App layers of one platform, as BuildKit left them.

    Attributes:
        config: the image configuration.
        layers: blob files, lowest first, those of the base included where it ends on the base.
    """

    config: Mapping[str, Any]
    layers: tuple[Path, ...]


def build(
    builder: Builder,
    *,
    context: Path,
    dockerfile: Path,
    platforms: Sequence[str],
    base: str | None,
    epoch: int,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, Built]:
    """Build a Dockerfile for every platform, at once where the engine is the pinned one.

    Args:
        builder: who runs it.
        context: staged build context.
        dockerfile: the Dockerfile.
        platforms: ``linux/arm64`` …
        base: ``oci-layout://FOLDER@DIGEST`` for the context ``base``, if it is used.
        epoch: ``SOURCE_DATE_EPOCH`` for the steps.
        out: folder for OCI layouts; must not exist.
        say: told each line that BuildKit prints.

    Returns:
        Platform → what was built.

    Raises:
        InputError: BuildKit refused the Dockerfile or a step failed.
        EngineError: BuildKit cannot be reached.
    """
    # Here, because a build that has nothing to do must not wait for it.
    from python_on_whales import DockerClient  # noqa: PLC0415
    from python_on_whales.exceptions import DockerException  # noqa: PLC0415

    client = DockerClient(
        client_call=list(builder.client),
        host=builder.socket or None,
        config=builder.config or None,
    )
    # buildx writes no OCI layout from two nodes at once, and a builder of the user's own may have
    # a node for each platform.
    together = [tuple(platforms)] if builder.socket else [(each,) for each in platforms]
    out.mkdir()
    found: dict[str, Built] = {}
    for number, some in enumerate(together):
        place = out / str(number)
        output = {"type": "oci", "tar": "false", "dest": str(place), "compression": "uncompressed"}
        try:
            lines: Any = client.buildx.build(
                context,
                file=dockerfile,
                platforms=list(some),
                builder=builder.name,
                build_args={"SOURCE_DATE_EPOCH": str(epoch)},
                build_contexts={"base": base} if base else {},
                network="none",
                provenance=False,
                sbom=False,
                progress="plain",
                output=output,
                stream_logs=True,
            )
            for line in lines:
                say(line.strip())
        except DockerException as error:
            raise _explain(error.stderr or str(error), error.return_code, builder) from error
        found |= _read(place, some)
    return found


def _explain(stderr: str, status: int, builder: Builder) -> InputError | EngineError:
    """Tell apart: a Dockerfile that cannot be built, and a builder that cannot be reached."""
    said = "\n  ".join(stderr.strip().splitlines()[-_MOST_OUTPUT_LINES:])
    msg = f"docker buildx build: exit status {status}\n  {said}"
    if _STEP_FAULT.search(said):
        return InputError(msg, "steps have no network: what they need must be locked")
    if _USER_FAULT.search(said):
        return InputError(msg, "correct the Dockerfile, or what it names in the build context")
    remedy = "python -m buildkit engine status" if builder.socket else "docker buildx ls"
    return EngineError(msg, remedy)


def _read(out: Path, platforms: Sequence[str]) -> dict[str, Built]:
    def blob(digest: str) -> Path:
        return out / "blobs/sha256" / digests.hex_of(digest)

    def document(digest: str) -> Any:
        return canonical.load(blob(digest).read_bytes())

    entries = canonical.load((out / "index.json").read_bytes())["manifests"]
    while len(entries) == 1 and "index" in entries[0]["mediaType"]:
        entries = document(entries[0]["digest"])["manifests"]
    found = {}
    for entry in entries:
        manifest = document(entry["digest"])
        config = document(manifest["config"]["digest"])
        platform = f"{config['os']}/{config['architecture']}"
        layers = tuple(blob(layer["digest"]) for layer in manifest["layers"])
        found[platform] = Built(config=config, layers=layers)
    missing = sorted(set(platforms) - set(found))
    if missing:
        msg = f"BuildKit built nothing for {', '.join(missing)}"
        raise EngineError(msg, "docker buildx ls shows which platforms the builder has")
    return found
