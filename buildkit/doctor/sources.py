"""Where Debian packages and wheels come from on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from buildkit.doctor.registry import check
from buildkit.doctor.types import Check
from buildkit.lock.resolve.sources import machine_sources

if TYPE_CHECKING:
    from buildkit.doctor.types import Machine

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SUITE = "bookworm"
# Small, pure Python, and ours already.
_PROBE = "tomli"
_PATIENCE = 60.0


@check("apt-sources")
def apt_sources(machine: Machine) -> Check:
    """APT on this machine knows a Debian archive, its security archive and the keyring."""
    architecture = _ARCHITECTURES.get(machine.processor, "amd64")
    keyrings = tuple(
        machine.root / f"usr/share/keyrings/debian-archive-keyring.{end}" for end in ("gpg", "pgp")
    )
    machine_sources(
        _SUITE,
        architecture,
        etc=machine.root / "etc/apt",
        environ=machine.environ,
        keyrings=keyrings,
    )
    found = "a Debian archive, its security archive and the archive's keyring"
    return Check(name="apt-sources", status="ok", found=found)


@check("package-index")
def package_index(machine: Machine) -> Check | None:
    """The index that pip is configured for answers; asked only when online."""
    if not machine.online:
        return None
    words = [sys.executable, "-m", "pip", "index", "versions", _PROBE, "--retries", "1"]
    result = machine.runner([*words, "--timeout", "15"], deadline=_PATIENCE, check=False)
    if result.code == 0:
        return Check(name="package-index", status="ok", found="answers")
    said = (result.stderr.strip().splitlines() or [f"exit status {result.code}"])[-1]
    remedy = "check the network, the proxy and `python -m pip config list`"
    return Check(name="package-index", status="fail", found=f"pip: {said}", remedy=remedy)
