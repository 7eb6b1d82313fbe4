"""Wheels, chosen by pip itself for a platform that need not be this machine's.

pip is cut off from the machine's configuration, so that a local index cannot leak into a lock;
only the way to the network (index, proxy, certificates) is handed over, by name.

``pip --platform`` changes which wheels fit, but environment markers (PEP 508) are still those of
the interpreter that runs pip. So pip is started through a few lines that give its marker module
the target's values first; pip's own report says which values it used, and they are checked.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from buildkit import distributions, scratch
from buildkit.errors import DigestError, FetchError, ResolveError, ToolError
from buildkit.lock.types import WheelPin

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from buildkit.run import Result, Runner

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Of Debian 12; `resolve` takes another one where the image's own is known.
GLIBC = 36
_OLDEST_GLIBC = 17
_NEWEST_GLIBC = 50
_ALONE = {"PIP_CONFIG_FILE": "/dev/null", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
_DEADLINE = 1800.0
_NETWORK = re.compile(
    r"connection broken|Failed to establish|name resolution|Name or service|ProxyError|SSLError|"
    r"Max retries exceeded|Could not fetch URL|CERTIFICATE_VERIFY_FAILED",
    re.IGNORECASE,
)
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*\.whl")

_LAUNCHER = """
import json, sys
target = json.loads(sys.argv.pop(1))
import pip._vendor.packaging.markers as markers
ours = markers.default_environment
markers.default_environment = lambda: {**ours(), **target}
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def _alone(folder: Path) -> dict[str, str]:
    """Variables that cut pip off, and keep its half-made files in a folder that goes in any case.

    On SIGTERM it leaves them behind.
    """
    return {**_ALONE, "TMPDIR": str(folder)}


def release(version: str) -> tuple[int, ...]:
    """Epoch and numbers of a version (PEP 440, release segment), for choosing the lower of two."""
    found = re.match(r"(?:(\d+)!)?(\d+(?:\.\d+)*)", version)
    return (int(found[1] or 0), *map(int, found[2].split("."))) if found else ()


def marker_environment(python: str, machine: str) -> dict[str, str]:
    """The values of environment markers on Debian (PEP 508), for ``3.11.2`` and ``aarch64``."""
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }


def machine_settings(runner: Runner, *, local: bool = False) -> tuple[str, ...]:
    """The way to the index that the user has configured for pip, as options.

    Args:
        runner: starts pip.
        local: also indexes and folders on this machine; right only where hashes are checked.

    Raises:
        ToolError: pip is missing.
    """
    result = runner([sys.executable, "-m", "pip", "config", "list"], deadline=60.0)
    plain = {"index-url", "proxy", "cert", "client-cert", "timeout", "default-timeout", "retries"}
    several = {"extra-index-url", "trusted-host"}
    found: dict[str, list[str]] = {}
    for line in result.text.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section not in {"global", ":env:", "install", "download"}:
            continue
        try:
            said = str(ast.literal_eval(value))
        except (SyntaxError, ValueError):
            continue
        words = said.split() if name in several | {"find-links"} else [said]
        if name in plain | several or (name == "find-links" and local):
            found[name.replace("default-timeout", "timeout")] = [
                word for word in words if local or not _is_local(name, word)
            ]
    return tuple(
        part for name in sorted(found) for word in found[name] for part in (f"--{name}", word)
    )


def _is_local(name: str, value: str) -> bool:
    return name.endswith("index-url") and urlsplit(value).scheme not in {"http", "https"}


def platform_options(python_version: str, machine: str, glibc: int = GLIBC) -> list[str]:
    """Options that make pip choose wheels for CPython on Debian on another processor.

    The platform tags are those of PEP 600 for every C library up to ``2.<glibc>``, newest first,
    and the older names for some of them.
    """
    tags = [f"manylinux_2_{minor}" for minor in range(glibc, _OLDEST_GLIBC - 1, -1)]
    tags.append("manylinux2014")
    if machine == "x86_64":
        tags += ["manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1"]
    digits = "".join(python_version.split(".")[:2])
    return [
        "--only-binary=:all:",
        *(f"--platform={tag}_{machine}" for tag in tags),
        f"--python-version={python_version}",
        "--implementation=cp",
        f"--abi=cp{digits}",
        "--abi=abi3",
        "--abi=none",
    ]


def resolve(
    runner: Runner,
    python_version: str,
    platform_arch: str,
    requirements: Sequence[str],
    exclude: Collection[str] = (),
    *,
    hold: Mapping[str, str] | None = None,
    settings: Sequence[str] | None = None,
    glibc: int = GLIBC,
) -> tuple[WheelPin, ...]:
    """`requirements` and all they require, as pip would install them there; sorted.

    Args:
        runner: starts pip.
        python_version: ``3.11``, or ``3.11.2`` where the patch release is known.
        platform_arch: Debian's name of the processor.
        requirements: PEP 508 requirements.
        exclude: distribution names left out of the answer; what only they require stays.
        hold: name → version that must be taken if the distribution is taken at all.
        settings: the way to the index; `machine_settings` when absent.
        glibc: minor version of the C library there (``36`` for 2.36).

    Raises:
        ResolveError: a distribution does not exist, has no wheel for this processor, or the
            requirements contradict each other.
        ToolError: pip is missing or too old.
    """
    if not requirements:
        return ()
    machine = MACHINES[platform_arch]
    if settings is None:
        settings = machine_settings(runner)
    with scratch.folder() as folder:
        wanted = folder / "requirements.txt"
        wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        held = folder / "constraints.txt"
        held.write_text(
            "".join(f"{key}=={value}\n" for key, value in sorted((hold or {}).items())),
            encoding="utf-8",
        )
        full = python_version if python_version.count(".") > 1 else f"{python_version}.0"
        result = runner(
            [
                sys.executable,
                "-I",
                "-c",
                _LAUNCHER,
                json.dumps(marker_environment(full, machine)),
                "install",
                "--isolated",
                "--dry-run",
                "--ignore-installed",
                "--disable-pip-version-check",
                "--no-input",
                "--quiet",
                "--report",
                folder / "report.json",
                "--target",
                folder / "target",
                *platform_options(python_version, machine, glibc),
                *settings,
                "-r",
                wanted,
                "-c",
                held,
            ],
            env=_alone(folder),
            deadline=_DEADLINE,
            check=False,
        )
        if result.code != 0:
            raise _explain(runner, result, machine, settings)
        report = _report(folder / "report.json")
    if report.get("environment", {}).get("platform_machine") != machine:
        msg = "pip does not take the target's environment markers"
        raise ToolError(msg, "use pip 23.0 or later in the environment of this tool")
    left_out = {distributions.normal(word) for word in exclude}
    pins = sorted(_pin(item) for item in report.get("install", []))
    return tuple(pin for pin in pins if pin.name not in left_out)


def _report(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        msg = "pip: its installation report cannot be read"
        raise ToolError(msg, "use pip 23.0 or later in the environment of this tool") from error
    return found if isinstance(found, dict) else {}


def _pin(item: dict[str, Any]) -> WheelPin:
    """One entry of pip's installation report (its specification, version 1)."""
    info = item["download_info"]
    archive = info.get("archive_info", {})
    sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix(
        "sha256="
    )
    file = unquote(urlsplit(info["url"]).path.rsplit("/", 1)[-1])
    name = distributions.normal(item["metadata"]["name"])
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None or _WHEEL.fullmatch(file) is None:
        msg = f"the index gives no wheel with a SHA-256 for {name} (file {file!r})"
        raise ResolveError(msg, "use an index that serves wheels with their hashes")
    return WheelPin(name=name, version=item["metadata"]["version"], file=file, sha256=sha256)


def _explain(runner: Runner, result: Result, machine: str, settings: Sequence[str]) -> ResolveError:
    """Tell apart: no network, no such distribution, no wheel for this processor, no solution."""
    said = result.stderr
    tail = "\n  ".join(said.strip().splitlines()[-8:])
    if _NETWORK.search(said):
        return ResolveError(
            f"the package index does not answer:\n  {tail}",
            "check the network, the proxy and pip's index-url",
        )
    found = re.search(r"No matching distribution found for (\S+)", said)
    if found is None:
        return ResolveError(
            f"pip finds no solution for {machine}:\n  {tail}",
            "loosen the requirements, or run `lock --update` to move every pin",
        )
    wish = found[1]
    name = re.split(r"[^A-Za-z0-9._-]", wish)[0]
    offered = re.search(r"\(from versions: ([^)]*)\)", said)
    if offered is not None and offered[1].strip() not in {"", "none"}:
        newest = ", ".join(offered[1].replace(" ", "").split(",")[-5:])
        return ResolveError(
            f"no version fits {wish} for {machine}; the index has ... {newest}",
            "choose one of those versions in the recipe",
        )
    index = runner(
        [sys.executable, "-m", "pip", "index", "versions", name, "--isolated", "--pre", *settings],
        env=_ALONE,
        deadline=120.0,
        check=False,
    )
    if index.code == 0 or "from versions: " in index.stderr.replace("from versions: none", ""):
        return ResolveError(
            f"Python package {name} has no wheel for {machine}",
            "choose another version or package, or exclude it: nothing is compiled here",
        )
    return ResolveError(
        f"Python package {name} does not exist in the index", "correct its name in the recipe"
    )


def wanted_by(file: str) -> tuple[str, str]:
    """Python version and machine to ask for a wheel with, from the tags in its name (PEP 427)."""
    tags = file.removesuffix(".whl").split("-")
    exact = re.fullmatch(r"cp(\d)(\d+)", tags[-3]) if tags[-2] != "abi3" else None
    python = f"{exact[1]}.{exact[2]}" if exact else "3.11"
    machine = next((name for name in MACHINES.values() if tags[-1].endswith(name)), "x86_64")
    return python, machine


def download(
    runner: Runner,
    place: tuple[str, str],
    pins: Sequence[WheelPin],
    folder: Path,
    *,
    settings: Sequence[str],
) -> None:
    """Bring wheels into `folder`; pip checks their hashes.

    Args:
        runner: starts pip.
        place: Python version and machine, as `wanted_by` gives them.
        pins: what to bring.
        folder: where to.
        settings: the way to the index.

    Raises:
        DigestError: the index holds other bytes under this name and version.
        FetchError: the index does not have one of them.
        ToolError: pip failed otherwise.
    """
    python, machine = place
    wanted = folder / "requirements.txt"
    wanted.write_text(
        "".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n" for pin in pins),
        encoding="utf-8",
    )
    result = runner(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--isolated",
            "--no-deps",
            "--require-hashes",
            "--ignore-requires-python",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            f"--dest={folder}",
            *platform_options(python, machine, _NEWEST_GLIBC),
            *settings,
            "-r",
            wanted,
        ],
        env=_alone(folder),
        deadline=_DEADLINE,
        check=False,
    )
    if result.code == 0:
        return
    tail = "\n  ".join(result.stderr.strip().splitlines()[-10:])
    if "DO NOT MATCH THE HASHES" in result.stderr:
        msg = f"the package index holds other bytes than the lock:\n  {tail}"
        raise DigestError(msg, "use another index; `lock --update` only if you trust the new bytes")
    gone = re.search(r"No matching distribution found for (\S+)", result.stderr)
    if gone and not _NETWORK.search(result.stderr):
        name = gone[1].split("==")[0]
        msg = f"the package index has no wheel {gone[1]} any more"
        raise FetchError(
            msg,
            f"move the pin: `lock --update {name}`, or put the file into the folder that "
            "EDGE_BUILDKIT_INPUTS names",
        )
    msg = f"pip download failed:\n  {tail}"
    raise ToolError(msg)
