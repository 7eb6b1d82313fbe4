"""Rules out of a recipe and a target, and the one digest that they have."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from buildkit import canonical, digests
from buildkit.gate.types import Rules

if TYPE_CHECKING:
    from buildkit.recipe.types import SmokeSpec, Target

_MIB = 1 << 20
_MACHINES: Final = {"linux/arm64": "aarch64", "linux/amd64": "x86_64"}
_SCHEMA = "edge-buildkit/gate-rules/v1"
_ELSEWHERE = ("targets", "max_memory_mib", "memory_limit_mib")


def rules(smoke: SmokeSpec, target: Target) -> Rules:
    """What the recipe says for `target`, else what the target says, else the defaults.

    Args:
        smoke: of the recipe.
        target: of the devices that runs come from.
    """
    own = smoke.of(target.name)
    said = {
        each.name: value
        for each in dataclasses.fields(own)
        if each.name not in _ELSEWHERE and (value := getattr(own, each.name)) is not None
    }
    if own.max_memory_mib is not None:
        said["max_memory_bytes"] = own.max_memory_mib * _MIB
    limit = own.memory_limit_mib
    settled = {
        "page_bytes": target.page_bytes,
        "max_temperature_c": target.max_temperature_c,
        "governor": target.governor,
        "memory_limit": target.memory_limit if limit is None else limit * _MIB,
        **said,
    }
    return Rules(
        **settled,
        target=target.name,
        machine=_MACHINES[target.platform],
        board=target.board,
        tells_throttling=target.tells_throttling,
    )


def document(rules: Rules) -> dict[str, Any]:
    """The rules as JSON; `Rules` is where each key is explained."""
    plain = dataclasses.asdict(rules)
    # One spelling for 80 and 80.0.
    for each in dataclasses.fields(rules):
        value = plain[each.name]
        if "float" in str(each.type) and value is not None:
            plain[each.name] = float(value) + 0.0
    return {"schema": _SCHEMA, **plain, "providers": list(rules.providers)}


def digest(rules: Rules) -> str:
    """``sha256:`` of the canonical JSON of `document`."""
    return digests.of_bytes(canonical.dump(document(rules)))
