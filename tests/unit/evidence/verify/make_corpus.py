"""Writes the whole inputs of the fuzz corpus. Those that once did harm were put there by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from signed_world import Made, make_lock, pem, put_artifacts, signed, statements
from smoke_world import judged, local, ran, silent

from buildkit import canonical
from buildkit.lock import codec
from buildkit.store import Store

CORPUS = Path(__file__).parent / "corpus"
SYFT = {
    "schema": {"version": "16.0.18"},
    "artifacts": [
        {
            "name": "numpy",
            "version": "2.0",
            "type": "python",
            "purl": "pkg:pypi/numpy@2.0",
            "locations": [{"path": "/usr/lib/x", "layerID": "sha256:" + "1" * 64}],
            "licenses": [{"value": "BSD", "spdxExpression": "BSD-3-Clause"}],
            "cpes": [{"cpe": "cpe:2.3:a:numpy:numpy:2.0:*:*:*:*:*:*:*"}],
            "metadata": {"name": "numpy"},
        },
        {
            "name": "libc6",
            "version": "1",
            "type": "deb",
            "metadata": {"architecture": "arm64"},
            "locations": [{"path": "/x", "annotations": {"evidence": "primary"}}],
        },
    ],
}


def write(kind: str, name: str, content: Any) -> None:
    """Keep one input."""
    (CORPUS / kind).mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else canonical.dump(content)
    (CORPUS / kind / name).write_bytes(data)


def tests(made: Made) -> None:
    """Test results, and verdicts about them."""
    runs = {
        "board": ran(made),
        "failed": ran(made, change=silent),
        "local": ran(made, change=local),
    }
    for name, each in runs.items():
        write("test-result", f"{name}.json", each.payload())
    for outcome in ("PASS", "FAIL"):
        payloads = [each.payload() for each in runs.values()]
        said = judged(made, payloads, outcome=outcome)
        write("verdict", f"{outcome.lower()}.json", said.payload())


def main(scratch: Path) -> None:
    """Write all of them; keys, and so signatures, are new ones each time."""
    sys.path.append(str(Path(__file__).parents[3] / "integration"))
    from sigstore_standin import Standin

    made = put_artifacts(Store.create(scratch / "store"))
    said = statements(made)
    for name in ("run", "cyclonedx linux/arm64"):
        write("statement", name.replace("/", " ").replace(" ", "-") + ".json", said[name].payload())
        write(
            "bundle",
            name.replace("/", " ").replace(" ", "-") + ".json",
            signed(said[name].payload()),
        )
    tests(made)
    write("provenance", "tiny.json", dict(said["provenance"].predicate))
    for kind in ("cyclonedx", "spdx"):
        write(kind, "image.json", dict(said[f"{kind} linux/arm64"].predicate))
    write("lock", "tiny.lock", codec.dump(make_lock("tiny", "1.0.0")))
    write("seen", "syft.json", SYFT)
    standin = Standin()
    write("certified", "promised.json", standin.bundle(said["run"].payload()))
    write("certified", "stamped.json", standin.stamped(said["run"].payload()))
    write("root", "standin.json", standin.trusted_root())
    (CORPUS / "good.pub").write_bytes(pem("good"))
    text = (Path(__file__).parents[4] / "docs/policy.md").read_text()
    write("policy", "whole.toml", text.partition("```toml\n")[2].partition("```")[0].encode())
    write("policy", "short.toml", b'schema = 1\n[require]\nevidence = ["run"]\n')
    sys.stdout.write(json.dumps(sorted(map(str, CORPUS.rglob("*.*"))), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
