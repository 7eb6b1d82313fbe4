"""A year that never was: what a team built, tested and promoted. The same for the same seed.

Pure: `history_store` writes it as a signed store.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from buildkit import canonical, digests
from buildkit.evidence.sbom.seen import Seen
from buildkit.lock import codec
from buildkit.lock.types import (
    DebianPin,
    FilePin,
    HostPins,
    Lock,
    ModelPins,
    PlatformPins,
    WheelPin,
)
from buildkit.records import PLATFORMS, architecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGETS = {"pi5": "linux/arm64", "amd64": "linux/amd64"}
CHANNELS = ("canary", "stable")
EPOCH = 1767225600
YEAR = 365 * 86400

# Binary package, source package; the rest of the pool is made up.
_KNOWN = (
    ("libc6", "glibc"),
    ("libssl3", "openssl"),
    ("zlib1g", "zlib"),
    ("libexpat1", "expat"),
    ("libsqlite3-0", "sqlite3"),
    ("libcurl4", "curl"),
    ("libgnutls30", "gnutls28"),
    ("libpython3.11-minimal", "python3.11"),
    ("python3.11-minimal", "python3.11"),
    ("libstdc++6", "gcc-12"),
    ("perl-base", "perl"),
    ("tar", "tar"),
)
_WHEELS = ("numpy", "onnxruntime", "pillow", "requests", "urllib3", "certifi", "protobuf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much happened.

    Attributes:
        recipes: that the team keeps.
        releases: images of all recipes, and as many models.
        devices: boards.
        reports: test results of devices.
        debian: packages in each platform's image; `wheels` likewise.
        wheels: in each platform's image.
        verdicts: for each release; they judge all of its reports.
        countersigned: of so many reports, one is signed by the host too.
        samples: bytes of raw samples in each report, before base64.
    """

    recipes: int = 20
    releases: int = 1000
    devices: int = 1000
    reports: int = 100_000
    debian: int = 48
    wheels: int = 12
    verdicts: int = 2
    countersigned: int = 5
    samples: int = 7000

    @property
    def per_release(self) -> int:
        """Reports of each release."""
        return self.reports // self.releases


SMALL = Size(
    recipes=2, releases=6, devices=5, reports=30, debian=5, wheels=3, countersigned=2, samples=90
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One image and one model, built together.

    Attributes:
        number: 0 is the oldest.
        name: of the recipe.
        version: of the recipe.
        at: when it was built, seconds since 1970.
        revision: commit.
        lock: all that went in.
    """

    number: int
    name: str
    version: str
    at: int
    revision: str
    lock: Lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one device saw of one release.

    Attributes:
        device: number of it.
        target: kind of device.
        nonce: of the order.
        ended: seconds since 1970.
        result: PASSED, WARNED or FAILED.
        p50_ns: of the latency; `p95_ns` likewise.
        p95_ns: of the latency.
        countersigned: whether the host signed it too.
    """

    device: int
    target: str
    nonce: str
    ended: int
    result: str
    p50_ns: int
    p95_ns: int
    countersigned: bool


def hexadecimal(*parts: object) -> str:
    """64 hex digits that these parts always have."""
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


class History:
    """All that happened.

    Args:
        size: how much.
        seed: another one is another history.
    """

    def __init__(self, size: Size, seed: int = 1) -> None:
        self.size = size
        self.seed = seed

    def release(self, number: int) -> Release:
        """One release; recipes take turns."""
        recipe = number % self.size.recipes
        name, version = f"app-{recipe:02}", f"1.{number // self.size.recipes}.0"
        at = EPOCH + number * YEAR // self.size.releases
        return Release(
            number=number,
            name=name,
            version=version,
            at=at,
            revision=hexadecimal(self.seed, "commit", number)[:40],
            lock=self._lock(name, version, number),
        )

    def reports(self, release: Release) -> tuple[Report, ...]:
        """What devices saw of a release, one after the other."""
        size = self.size
        chance = random.Random(f"{self.seed} reports {release.number}")  # noqa: S311 - no secret
        found = []
        for at, device in enumerate(chance.sample(range(size.devices), size.per_release)):
            p50 = chance.randrange(4_000_000, 9_000_000)
            found.append(
                Report(
                    device=device,
                    target="amd64" if device % 5 == 0 else "pi5",
                    nonce=hexadecimal(self.seed, "nonce", release.number, device)[:32],
                    ended=release.at + 600 + 60 * at,
                    result=chance.choices(("PASSED", "WARNED", "FAILED"), (90, 7, 3))[0],
                    p50_ns=p50,
                    p95_ns=p50 * 3 // 2,
                    countersigned=at % size.countersigned == 0,
                )
            )
        return tuple(found)

    def verdicts(self, release: Release) -> Iterator[tuple[str, str, int, Sequence[Report]]]:
        """(target, outcome, when, reports) of each verdict about a release."""
        reports = self.reports(release)
        for target in TARGETS:
            rows = [each for each in reports if each.target == target]
            for part in range(self.size.verdicts):
                judged = rows[part :: self.size.verdicts]
                if not judged:
                    continue
                failed = sum(each.result == "FAILED" for each in judged)
                outcome = "FAIL" if failed * 10 > len(judged) else "PASS"
                yield target, outcome, judged[-1].ended + 3600, judged

    def promoted(self, channel: str, number: int) -> bool:
        """Whether a release came into a channel."""
        return channel == "canary" or (number // self.size.recipes) % 2 == 0

    def seen(self, pins: Sequence[DebianPin], wheels: Sequence[WheelPin]) -> tuple[Seen, ...]:
        """What syft would see of them in an image."""
        return tuple(_seen_debian(pin) for pin in pins) + tuple(map(_seen_wheel, wheels))

    @cached_property
    def debian_names(self) -> list[str]:
        """All Debian packages that there are."""
        return [name for name, _ in _KNOWN] + [f"libpart{at}-{at % 7}" for at in range(288)]

    @cached_property
    def wheel_names(self) -> list[str]:
        """All wheels that there are."""
        return [*_WHEELS, *(f"wheel-{at}" for at in range(113))]

    def _lock(self, name: str, version: str, number: int) -> Lock:
        size = self.size
        chance = random.Random(f"{self.seed} lock {name}")  # noqa: S311 - no secret
        debian = sorted(chance.sample(self.debian_names, size.debian))
        wheels = sorted(chance.sample(self.wheel_names, size.wheels))
        builder = sorted(chance.sample(self.debian_names, size.debian * 2 // 3))
        tools = sorted(chance.sample(self.debian_names, size.debian * 2 // 3))
        makers = sorted(chance.sample(self.wheel_names, size.wheels * 5 // 3))
        document = {
            "name": name,
            "version": version,
            "description": "One of many that watch a shelf",
            "platforms": list(PLATFORMS),
            "targets": sorted(TARGETS),
            "schema": 1,
            "license": "Apache-2.0",
            "model": {"license": "Apache-2.0", "task": "image-classification"},
        }
        host = HostPins(
            seed=_debian("busybox-static", "amd64", 0),
            seed_nar_sha256=hexadecimal("seed"),
            builder_debian=tuple(_debian(each, "amd64", number) for each in builder),
            builder_wheels=tuple(_wheel(each, "amd64", number) for each in makers),
            engine_debian=tuple(_debian(each, "amd64", 0, "trixie") for each in tools[::2]),
            tools_debian=tuple(_debian(each, "amd64", 0, "trixie") for each in tools[1::2]),
        )
        return Lock(
            recipe_name=name,
            recipe_digest=digests.of_bytes(canonical.dump(document)),
            recipe=document,
            hosts={"amd64": host},
            platforms={
                platform: PlatformPins(
                    debian=tuple(_debian(each, architecture(platform), number) for each in debian),
                    wheels=tuple(_wheel(each, architecture(platform), number) for each in wheels),
                )
                for platform in PLATFORMS
            },
            model=ModelPins(
                files=tuple(
                    FilePin(path=path, sha256=hexadecimal(name, path, number // 40), size=8000)
                    for path in ("calibration.npz", "golden.npz", "train.py")
                ),
                artifact="",
                commit=hexadecimal(self.seed, "commit", number)[:40],
                seed=1,
                onnxruntime="1.31.1",
                float_sha256=hexadecimal("float", name, version),
                calibration="exact",
                ranges={},
                quantized_sha256=hexadecimal("weight", name, version),
            ),
        )


def source_of(name: str) -> str:
    """The source package of a Debian package."""
    return dict(_KNOWN).get(name, name.partition("-")[0])


def lock_bytes(lock: Lock) -> bytes:
    """The file ``recipe.lock``."""
    return codec.dump(lock)


def _turn(name: str, number: int) -> int:
    """How often a package had changed when a release was built: each has a pace of its own."""
    pace = 60 + int(hexadecimal("pace", name)[:4], 16) % 400
    return number // pace


def _debian(name: str, arch: str, number: int, suite: str = "bookworm") -> DebianPin:
    return _debian_pin(name, arch, _turn(name, number), suite)


@cache
def _debian_pin(name: str, arch: str, turn: int, suite: str) -> DebianPin:
    version = f"2.{int(hexadecimal(name)[:2], 16) % 40}.1-{3 + turn}+deb12u{1 + turn}"
    file = f"{name}_{version}_{arch}.deb"
    return DebianPin(
        name=name,
        version=version,
        architecture=arch,
        suite=suite,
        file=file,
        sha256=hexadecimal(file, suite),
        size=100_000,
    )


def _wheel(name: str, arch: str, number: int) -> WheelPin:
    return _wheel_pin(name, arch, _turn(name, number))


@cache
def _wheel_pin(name: str, arch: str, turn: int) -> WheelPin:
    version = f"{1 + int(hexadecimal(name)[:2], 16) % 5}.{turn}.2"
    file = f"{name.replace('-', '_')}-{version}-cp311-cp311-manylinux_2_28_{arch}.whl"
    return WheelPin(name=name, version=version, file=file, sha256=hexadecimal(file))


@cache
def _seen_debian(pin: DebianPin) -> Seen:
    return Seen(
        name=pin.name,
        version=pin.version,
        kind="deb",
        architecture=pin.architecture,
        purl="",
        licences=("BSD-3-Clause", "Expat", "GPL-2.0-or-later"),
        cpes=(f"cpe:2.3:a:{pin.name}:{pin.name}:{pin.version}:*:*:*:*:*:*:*",),
        locations=(f"/var/lib/dpkg/status.d/{pin.name}", f"/usr/share/doc/{pin.name}/copyright"),
        layer="",
        source=source_of(pin.name),
    )


@cache
def _seen_wheel(pin: WheelPin) -> Seen:
    folder = f"/usr/lib/python3/dist-packages/{pin.name}-{pin.version}.dist-info"
    return Seen(
        name=pin.name,
        version=pin.version,
        kind="python",
        architecture="",
        purl=f"pkg:pypi/{pin.name}@{pin.version}",
        licences=("BSD-3-Clause",),
        cpes=(f"cpe:2.3:a:{pin.name}:{pin.name}:{pin.version}:*:*:*:*:*:*:*",),
        locations=(f"{folder}/METADATA", f"{folder}/RECORD"),
        layer="",
    )
