"""What the tests of the agent are made of: a device, artifacts, a host, and fake runtimes."""

from __future__ import annotations

import base64
import functools
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from agent.verify import architecture
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from buildkit import canonical, digests
from buildkit.evidence import bundle as bundles
from buildkit.evidence.dsse import Envelope, pae

HOME = Path(__file__).resolve().parents[3] / "device-smoke"
FAKE = Path(__file__).resolve().with_name("fake_runtime.py")
# Of the device: an older one may be named, for its agent has to run there too.
PYTHON = os.environ.get("EDGE_AGENT_PYTHON", sys.executable)
PAYLOAD = "application/vnd.in-toto+json"
POLICY = "sys/devices/system/cpu/cpufreq/policy0"
ARCHITECTURE = architecture(os.uname().machine)
_START = (
    "import sys; from pathlib import Path; from agent.cli import main; "
    "sys.exit(main(sys.argv[2:], Path(sys.argv[1])))"
)


@dataclass(frozen=True)
class Signer:
    """A host's key."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

    @property
    def der(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def pem(self) -> str:
        return (
            self.key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @property
    def hint(self) -> str:
        return base64.b64encode(bytes.fromhex(digests.of_bytes(self.der)[7:])).decode()

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def bundle(self, payload: bytes) -> bytes:
        envelope = Envelope(
            payload=payload, payload_type=PAYLOAD, signature=self.sign(pae(PAYLOAD, payload))
        )
        return bundles.with_key(envelope, self.hint)


@functools.cache
def p256() -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()))


@functools.cache
def other_p256() -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()))


@functools.cache
def ed25519_key() -> Signer:
    return Signer(ed25519.Ed25519PrivateKey.generate())


def provenance(*subjects: str, kind: str = "https://slsa.dev/provenance/v1") -> bytes:
    return canonical.dump(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": str(at), "digest": {"sha256": each[7:]}}
                for at, each in enumerate(subjects)
            ],
            "predicateType": kind,
            "predicate": {},
        }
    )


class Artifacts:
    """Image, model, golden data and evidence as blobs; `order` names them."""

    def __init__(self, signer: Signer | None = None, **changes: Any) -> None:
        """`changes` lies: architecture, config_architecture, model_digest, golden_digest, …"""
        self.blobs: dict[str, bytes] = {}
        self.signer = signer or p256()
        golden, smoke, onnx = (self.put(each) for each in (b"golden", b"smoke", b"onnx"))
        card = {
            "file": {"digest": changes.get("file_digest", onnx)},
            "golden": {"digest": changes.get("golden_digest", golden)},
        }
        manifest = "application/vnd.oci.image.manifest.v1+json"
        model = self.json(
            schemaVersion=2,
            mediaType=manifest,
            config=self.at(self.put(b"{}"), "application/vnd.cncf.model.config.v1+json"),
            layers=[
                self.file(onnx, "model.onnx"),
                self.file(self.put(canonical.dump(card)), "model.json"),
            ],
        )
        listed = changes.get("listed_model", model)
        model_index = self.index({}, {**self.at(model, manifest), "digest": listed})
        self.config = self.json(
            os="linux",
            architecture=changes.get("config_architecture", ARCHITECTURE),
            config={"Entrypoint": ["/usr/bin/python3.11", "/app/main.py"], "User": "65532"},
            rootfs={"type": "layers", "diff_ids": []},
        )
        self.layer = self.put(b"layer" * 1000)
        image = self.json(
            schemaVersion=2,
            mediaType=manifest,
            config=self.at(self.config, "application/vnd.oci.image.config.v1+json"),
            layers=[self.at(self.layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
        )
        platform = {"os": "linux", "architecture": changes.get("architecture", ARCHITECTURE)}
        entry = {**self.at(image, manifest), "platform": platform}
        named = changes.get("model_digest", model_index)
        image_index = self.index(
            {"io.edge-buildkit.model.digest": named},
            {**entry, "digest": changes.get("listed_image", image)},
        )
        self.subjects = (image_index, image, model_index, model)
        self.bundle = self.put(self.signer.bundle(provenance(*self.subjects)))
        self.order: dict[str, Any] = {
            "nonce": "nonce-1",
            "target": "pi5",
            "image": {"index": image_index, "manifest": image},
            "model": {"index": model_index, "manifest": model},
            "golden": golden,
            "smoke": smoke,
            "bundles": [self.bundle],
            "runtime": "docker",
            "limits": {"memory_bytes": 1 << 30, "cpus": 0, "pids": 256},
            "settings": {
                "profile": "quick",
                "providers": [],
                "threads": 0,
                "optimization": "all",
                "deadline_s": 60,
            },
            "governor": "performance",
        }
        self.onnx = onnx

    def put(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        self.blobs[digest] = data
        return digest

    def json(self, **document: Any) -> str:
        return self.put(canonical.dump(document))

    def at(self, digest: str, media_type: str) -> dict[str, Any]:
        size = len(self.blobs[digest])
        return {"digest": digest, "size": size, "mediaType": media_type}

    def file(self, digest: str, name: str) -> dict[str, Any]:
        described = self.at(digest, "application/vnd.cncf.model.weight.v1.raw")
        return {**described, "annotations": {"org.cncf.model.filepath": name}}

    def index(self, annotations: dict[str, str], *entries: dict[str, Any]) -> str:
        return self.json(
            schemaVersion=2,
            mediaType="application/vnd.oci.image.index.v1+json",
            manifests=list(entries),
            annotations=annotations,
        )


def report(order: dict[str, Any], onnx: str) -> dict[str, Any]:
    """As much of a report as the agent looks at."""
    return {
        "schema": "edge-smoke/report/v1",
        "nonce": order["nonce"],
        "model": {"sha256": onnx[7:]},
        "golden": {"sha256": order["golden"][7:]},
        "latency": {"samples": 200, "incomplete_windows": 0},
        "accuracy": {
            "golden": {"samples": 10, "answered": 10, "correct": 9},
            "differing": 0,
            "not_finite": 0,
        },
        "runtime": {"providers": {"asked": ["CPUExecutionProvider"], "missing": []}},
        "placement": {"providers": {"CPUExecutionProvider": {"nodes": 3}}},
        "sensors": {"throttling": {"live": [], "new": []}},
        "clock": {"jumps": []},
        "processes": [{"clock": {"jumps": []}}],
    }


class Device:
    """A device in a folder, whose agent runs as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.root = folder / "home", folder / "root"
        self.state, self.bin = folder / "state", folder / "bin"
        for each in (self.home, self.root, self.state / "containers", self.bin):
            each.mkdir(parents=True)
        for name in ("docker", "podman", "crun", "umoci", "sudo"):
            script = self.bin / name
            script.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
            script.chmod(0o755)
        self.file("proc/sys/kernel/random/boot_id", "boot-1")
        self.file("proc/meminfo", "MemTotal:        8000 kB\n")
        self.file("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        self.file("sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        self.file("etc/edge-standin", "test\n")
        self.file(f"{POLICY}/scaling_governor", "ondemand\n")
        self.file(f"{POLICY}/scaling_available_governors", "ondemand performance\n")
        self.data = self.home / ".local/share/edge-buildkit"

    def file(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    @property
    def governor(self) -> str:
        return (self.root / POLICY / "scaling_governor").read_text().strip()

    @property
    def containers(self) -> list[str]:
        return sorted(each.name for each in (self.state / "containers").iterdir())

    @property
    def runs(self) -> list[str]:
        return sorted(each.name for each in (self.data / "runs").glob("*"))

    def blob(self, digest: str) -> Path:
        return self.data / "blobs/sha256" / digest[7:]

    def fill(self, artifacts: Artifacts) -> None:
        for digest, data in artifacts.blobs.items():
            self.blob(digest).parent.mkdir(parents=True, exist_ok=True)
            self.blob(digest).write_bytes(data)

    def answers(self, document: Any, **modes: Any) -> None:
        """What the fake container says: a report, and how it behaves."""
        (self.state / "mode.json").write_text(json.dumps({"report": document, **modes}))

    def start(self, command: str, request: dict[str, Any] | bytes) -> Call:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
            "HOME": str(self.home),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(HOME),
            "FAKE_STATE": str(self.state),
        }
        process = subprocess.Popen(
            [PYTHON, "-c", _START, str(self.root), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        call = Call(process)
        call.send(request if isinstance(request, bytes) else canonical.dump(request) + b"\n")
        return call

    def ask(
        self, command: str, request: dict[str, Any] | bytes, tail: bytes = b""
    ) -> dict[str, Any]:
        """The last line of the answer; standard input stays open until then."""
        call = self.start(command, request)
        if tail:
            call.send(tail)
        return call.last()

    def enroll(self, *signers: Signer) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("enroll", {"trusted": [each.pem for each in signers]})
        return found["done"]  # type: ignore[no-any-return]


class Call:
    """One call of the agent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def send(self, data: bytes) -> None:
        stdin, _ = self._pipes
        with suppress(BrokenPipeError):
            stdin.write(data)
            stdin.flush()

    def hang_up(self) -> None:
        with suppress(BrokenPipeError):
            self._pipes[0].close()

    def last(self, seconds: float = 60) -> dict[str, Any]:
        """The last line, and that the exit status fits it."""
        _, stdout = self._pipes
        self.lines = [json.loads(line) for line in stdout]
        code = self.process.wait(seconds)
        self.hang_up()
        stdout.close()
        found = self.lines[-1]
        assert code == (0 if "done" in found else 1)
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)
        self.hang_up()
        self._pipes[1].close()


def until(condition: Any, seconds: float = 60) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def statement(answer: dict[str, Any]) -> dict[str, Any]:
    """The statement out of the last line of ``run``."""
    found: dict[str, Any] = json.loads(base64.b64decode(answer["done"]["payload"]))
    return found
