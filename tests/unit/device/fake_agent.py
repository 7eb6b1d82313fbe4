"""A small agent that believes everything: the host's side is what is tested with it.

Runs on its own, as ``__main__.py`` of a zipapp. What it gets wrong on purpose stands in
``behave.json`` in the home of the device.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["HOME"])
DATA = HOME / ".local/share/edge-buildkit"
BLOBS, PARTIAL = DATA / "blobs/sha256", DATA / "partial"
CONFIG = HOME / ".config/edge-buildkit/device"
KEY, TRUSTED = CONFIG / "key.pem", CONFIG / "trusted"
TYPE = "application/vnd.in-toto+json"


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def line() -> bytes:
    """One line of standard input, and not a byte more."""
    found = b""
    while not found.endswith(b"\n") and (byte := os.read(0, 1)):
        found += byte
    return found


def openssl(*words: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, check=True)
    return done.stdout


def key_id(pem: bytes) -> str:
    return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", data=pem)).hexdigest()[:16]


def key() -> dict[str, str] | None:
    if not KEY.exists():
        return None
    pem = openssl("pkey", "-in", KEY, "-pubout")
    return {"id": key_id(pem), "pem": pem.decode()}


def facts(_: dict[str, Any]) -> dict[str, Any]:
    return {
        "agent": "1",
        "machine": "aarch64",
        "os": "Debian",
        "python": "3.11",
        "openssl": "3",
        "board": "Raspberry Pi 5",
        "standin": False,
        "page_bytes": 16384,
        "memory_bytes": 8,
        "free_bytes": 9,
        "boot_id": "b",
        "wall": "2026-01-01T00:00:00Z",
        "key": key(),
        "runtimes": [{"name": "crun", "version": "1.8", "usable": True, "why": ""}],
        "trusted": sorted(file.stem for file in TRUSTED.glob("*.pem")),
        "leftovers": [],
    }


def enroll(request: dict[str, Any]) -> dict[str, Any]:
    TRUSTED.mkdir(parents=True, exist_ok=True)
    for file in TRUSTED.iterdir():
        file.unlink()
    for pem in request["trusted"]:
        (TRUSTED / f"{key_id(pem.encode())}.pem").write_text(pem)
    if not KEY.exists():
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", KEY)
    return {"key": key(), "trusted": sorted(file.stem for file in TRUSTED.glob("*.pem"))}


def missing(request: dict[str, Any]) -> dict[str, Any]:
    left = []
    for blob in request["blobs"]:
        name = blob["digest"][7:]
        if not (BLOBS / name).exists():
            part = PARTIAL / name
            left.append({**blob, "have": part.stat().st_size if part.exists() else 0})
    return {"missing": left}


def publish(name: str) -> None:
    part = PARTIAL / name
    if hashlib.sha256(part.read_bytes()).hexdigest() != name:
        part.unlink()
        end("network", "network", f"sha256:{name} arrived garbled")
    part.rename(BLOBS / name)


def receive(request: dict[str, Any]) -> dict[str, Any]:
    for blob in request["blobs"]:
        part = PARTIAL / blob["digest"][7:]
        left = blob["size"] - blob["offset"]
        with part.open("r+b" if part.exists() else "wb") as file:
            file.seek(blob["offset"])
            file.truncate()
            while left:
                piece = os.read(0, min(left, 65536))
                if not piece:
                    sys.exit(1)
                file.write(piece)
                file.flush()
                left -= len(piece)
        publish(blob["digest"][7:])
        say(progress={"digest": blob["digest"], "bytes": blob["size"]})
    return {"received": [blob["digest"] for blob in request["blobs"]]}


def pull(request: dict[str, Any]) -> dict[str, Any]:
    (HOME / "pulled.json").write_text(json.dumps(request))
    for blob in request["blobs"]:
        name = blob["digest"][7:]
        (PARTIAL / name).write_bytes((HOME / "registry" / name).read_bytes())
        publish(name)
        if once("pull_breaks"):
            end("network", "network", "the registry answered 500")
    return {"pulled": [blob["digest"] for blob in request["blobs"]]}


def run(order: dict[str, Any]) -> dict[str, Any]:
    (HOME / "order.json").write_text(json.dumps(order))
    beats = 0
    until = time.monotonic() + BEHAVE.get("seconds", 0)
    while (left := until - time.monotonic()) > 0:
        if select.select([0], [], [], min(left, 0.1))[0]:
            if not os.read(0, 100):
                (HOME / "cleaned").write_text("yes")
                end("interrupted", "host", "the input ended")
            beats += 1
        say(progress={"phase": "run"})
    (HOME / "beats").write_text(str(beats))
    document = statement(order)
    document["predicate"] |= BEHAVE.get("predicate", {})
    document["predicate"]["run"] |= BEHAVE.get("run", {})
    payload = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)
    signature = openssl("dgst", "-sha256", "-sign", KEY, data=signed)
    mine = key() or {"id": ""}
    return {
        "payload": base64.b64encode(payload).decode(),
        "signature": base64.b64encode(signature).decode(),
        "key": mine["id"],
        **BEHAVE.get("answer", {}),
    }


def statement(order: dict[str, Any]) -> dict[str, Any]:
    agent = hashlib.sha256(Path(sys.argv[0]).read_bytes()).hexdigest()
    named = {"golden": order["golden"][7:], "smoke": order["smoke"][7:], "agent": agent}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name, "digest": {"sha256": order[name]["manifest"][7:]}}
            for name in ("image", "model")
        ],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "PASSED",
            "configuration": [
                {"name": name, "digest": {"sha256": value}} for name, value in named.items()
            ],
            "passedTests": ["load", "golden", "steady", "provider", "conditions"],
            "warnedTests": [],
            "failedTests": [],
            "run": {
                "schema": "edge-smoke/run/v1",
                "nonce": order["nonce"],
                "target": order["target"],
                "local": False,
                "began": "2026-01-01T00:00:00Z",
                "ended": "2026-01-01T00:00:09Z",
                "image": order["image"],
                "model": order["model"],
                "agent": f"sha256:{agent}",
                "runtime": {"name": "crun", "version": "1.8"},
                "limits": order["limits"],
                "settings": order["settings"],
                "governor": {"before": "ondemand", "during": order["governor"]},
                "failure": None,
                "report": {
                    "schema": "edge-smoke/report/v1",
                    "nonce": order["nonce"],
                    "golden": {"sha256": order["golden"][7:]},
                },
            },
        },
    }


def end(kind: str, blame: str, message: str, remedy: str = "look at it") -> None:
    say(error={"kind": kind, "blame": blame, "message": message, "remedy": remedy})
    sys.exit(1)


def once(word: str) -> bool:
    mark = HOME / f"did-{word}"
    if not BEHAVE.get(word) or mark.exists():
        return False
    mark.write_text("")
    return True


BEHAVE: dict[str, Any] = (
    json.loads((HOME / "behave.json").read_text()) if (HOME / "behave.json").exists() else {}
)
COMMANDS = {
    "facts": facts,
    "enroll": enroll,
    "missing": missing,
    "receive": receive,
    "pull": pull,
    "run": run,
}


def main() -> None:
    for folder in (BLOBS, PARTIAL):
        folder.mkdir(parents=True, exist_ok=True)
    command = sys.argv[1]
    request = json.loads(line())
    said = BEHAVE.get("says", {}).get(command)
    if said is not None:
        sys.stdout.write(said)
        sys.stdout.flush()
        sys.exit(0)
    if error := BEHAVE.get("fails", {}).get(command):
        end(**error)
    say(done=COMMANDS[command](request))


if __name__ == "__main__":
    main()
