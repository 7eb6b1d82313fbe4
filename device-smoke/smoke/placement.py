"""Which execution provider each node really ran on, from ONNX Runtime's own profiler.

A session of its own, after the timing: profiling slows inferences down. Nodes are those of the
optimised graph; a provider that compiles a part of the model runs it as one node, so what each
provider was *given* is told as well, in nodes of the model, where ONNX Runtime can say so.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import engine
from .errors import Kind, SmokeError
from .unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .golden import Feed

INFERENCES = 3


def observe(
    model: Path, settings: engine.Settings, feeds: Sequence[Feed], folder: Path
) -> dict[str, Any]:
    """Run a few inferences under the profiler; `folder` can be written into."""
    with tempfile.TemporaryDirectory(prefix=".smoke-", dir=folder) as scratch:
        session = engine.load(model, settings, profile=Path(scratch) / "profile", assignment=True)
        names = [output.name for output in session.get_outputs()]
        for place in range(INFERENCES):
            try:
                session.run(names, feeds[place % len(feeds)])
            except Exception as error:  # ONNX Runtime's errors have no class of their own
                raise engine.failed(error) from error
        written = Path(session.end_profiling())
        try:
            events = json.loads(written.read_bytes())
        except ValueError as error:
            message = "ONNX Runtime's profile is cut off; is the disk full?"
            raise SmokeError(Kind.DEVICE, message) from error
    ran = parse(events)
    asked = [name for name in settings.providers if name != engine.CPU]
    on_cpu = ran["providers"].get(engine.CPU, {"nodes": 0})["nodes"]
    return {
        "session_providers": list(session.get_providers()),
        **ran,
        "assigned": _assigned(session),
        "accelerators_asked": asked,
        "nodes_on_accelerator": ran["nodes"] - on_cpu,
    }


def parse(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Nodes by provider and operator, and the time that each provider took."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    spent: Counter[str] = Counter()
    for event in events:
        details = event.get("args", {})
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        provider = str(details.get("provider") or "unknown")
        key = (name, str(details.get("node_index", "")))
        seen[key] = (provider, str(details.get("op_name", "")))
        spent[provider] += int(event.get("dur", 0))
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    for provider, operator in seen.values():
        operators[provider][operator] += 1
    return {
        "nodes": len(seen),
        "providers": {
            provider: {
                "nodes": sum(counts.values()),
                "operators": dict(sorted(counts.items())),
                "time_us": spent[provider],
            }
            for provider, counts in sorted(operators.items())
        },
    }


def _assigned(session: Any) -> dict[str, Any] | Unknown:
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception as error:  # noqa: BLE001 - absent in older versions; errors have no class
        return Unknown(f"ONNX Runtime does not say: {' '.join(str(error).split())[:200]}")
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for node in part.get_nodes():
            found[str(part.ep_name)][str(node.op_type)] += 1
    return {
        provider: {"nodes": sum(counts.values()), "operators": dict(sorted(counts.items()))}
        for provider, counts in sorted(found.items())
    }
