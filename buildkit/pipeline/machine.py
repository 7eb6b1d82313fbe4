"""Who ran something, and on what: the facts that are not the same everywhere."""

from __future__ import annotations

import getpass
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import __version__
from buildkit.pipeline.nixstage import code_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

# What could decide a bit.
_CPU_FACTS = ("model name", "CPU implementer", "CPU part", "flags", "Features")

# Only these: an environment also holds secrets.
_GITHUB = {
    "repository": "GITHUB_REPOSITORY",
    "revision": "GITHUB_SHA",
    "ref": "GITHUB_REF",
    "workflow": "GITHUB_WORKFLOW_REF",
    "run": "GITHUB_RUN_ID",
    "attempt": "GITHUB_RUN_ATTEMPT",
    "actor": "GITHUB_ACTOR",
    "event": "GITHUB_EVENT_NAME",
    "server": "GITHUB_SERVER_URL",
    "runner": "RUNNER_ENVIRONMENT",
}
_GITLAB = {
    "repository": "CI_PROJECT_PATH",
    "revision": "CI_COMMIT_SHA",
    "ref": "CI_COMMIT_REF_NAME",
    "run": "CI_PIPELINE_ID",
    "job": "CI_JOB_ID",
    "actor": "GITLAB_USER_LOGIN",
    "event": "CI_PIPELINE_SOURCE",
    "server": "CI_SERVER_URL",
}


def facts(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """User, host, system, processor, version of this tool, and the CI run if there is one."""
    return {
        "user": _user(),
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu(),
        "tool": f"edge-buildkit {__version__}",
        "code": code_digest(),
        "ci": ci(environ),
    }


def ci(environ: Mapping[str, str]) -> dict[str, str]:
    """The CI run that this process is part of; empty outside CI."""
    for name, sign, table in (
        ("github", "GITHUB_ACTIONS", _GITHUB),
        ("gitlab", "GITLAB_CI", _GITLAB),
    ):
        if environ.get(sign) == "true":
            found = {key: environ.get(variable, "") for key, variable in table.items()}
            return {"provider": name} | {key: value for key, value in found.items() if value}
    return {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _cpu() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip() in _CPU_FACTS}
