"""A made-up report, good or hostile, without an index."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import random
from typing import Any

from buildkit.audit.report.types import (
    Artifact,
    Build,
    Card,
    Cut,
    Gap,
    Material,
    Package,
    Promotion,
    Refused,
    Report,
    Run,
    Signed,
    Signer,
    Verdict,
)

NOW = 1_795_262_400
DAY = 86_400
COMMIT = "041d2313aa11b77ad419e358a015fde3974dd6a0"
KEY = Signer(kind="key", subject="9d5fc5b1850b2bba", label="release", state="active")
WORKFLOW = Signer(
    kind="identity",
    subject="https://example.org/shop/digits/.github/workflows/build.yml@refs/heads/main",
    issuer="https://token.example.org",
    state="named",
)
DEVICES = ("shelf-1", "shelf-2", "till-7")


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def artifact(role: str, variant: str = "", *, size: int = 900) -> Artifact:
    names = ("digits:1.0.0 in store",) if role == "image" else ()
    return Artifact(
        digest=digest(f"{role} {variant}"),
        role=role,
        name="digits",
        version="1.0.0",
        variant=variant,
        size=size,
        lock=digest("lock"),
        names=names,
    )


def packages() -> tuple[Package, ...]:
    found = [
        Package(
            type="deb",
            name=name,
            version=f"{at % 3}.{at}-1+deb12u{at % 4}",
            licence=("MIT", "GPL-2.0-or-later", "BSD-3-Clause", "")[at % 4],
            purl=f"pkg:deb/debian/{name}@1",
            sha256=digest(f"{name} {platform}"),
            inside=(f"platform {platform}",),
        )
        for at, name in enumerate(("libc6", "libgcc-s1", "zlib1g", "python3.11-minimal", "bash"))
        for platform in ("linux/amd64", "linux/arm64")
    ]
    found += [
        Package(
            type="pypi",
            name=name,
            version="2.4.6",
            licence="BSD-3-Clause",
            inside=("platform linux/amd64", "platform linux/arm64"),
        )
        for name in ("numpy", "onnxruntime")
    ]
    return tuple(found)


def runs(count: int = 40) -> tuple[Run, ...]:
    chance = random.Random(7)  # noqa: S311 - made-up times are no secret
    found = []
    for at in range(count):
        failed = at % 17 == 5
        median = int(1e6 * (4.8 + chance.random() * 0.6))
        device = DEVICES[at % 3]
        found.append(
            Run(
                at=NOW - at * 9 * 3600,
                target="pi5",
                device=device,
                key=digest(device)[7:23],
                result="FAILED" if failed else "PASSED",
                mark="",
                board="Raspberry Pi 5 Model B Rev 1.0",
                kernel="6.6.51+rpt-rpi-2712",
                firmware="2026-05-12",
                p50_ns=None if failed else median,
                p95_ns=None if failed else int(median * 1.3),
                profile="smoke",
                image="platform linux/arm64",
                model="model pi5",
                evidence=digest(f"run {at}"),
            )
        )
    found.append(
        Run(
            at=NOW - 3 * DAY,
            target="amd64",
            device="",
            key="",
            result="PASSED",
            mark="local",
            p50_ns=210_000,
            p95_ns=260_000,
            profile="quick",
            image="platform linux/amd64",
            model="model amd64",
            evidence=digest("local"),
        )
    )
    return tuple(found)


def card(target: str) -> Card:
    return Card(
        target=target,
        digest=digest(f"card {target}"),
        task="image-classification",
        engine="onnxruntime-cpu",
        mode="static-int8",
        settings=(
            ("calibration method", "minmax"),
            ("calibration way", "exact"),
            ("per_channel", "true"),
        ),
        size=14_767,
        float_size=40_560,
        parameters=9_930,
        opset=17,
        samples=500,
        float_accuracy=98.4,
        accuracy=98.2,
        agreement=99.8,
        drop=0.2,
        same_on_every_cpu=True,
        why="every sum is one of whole numbers",
        seed=1,
        commit=COMMIT,
        data=digest("data"),
    )


def materials() -> tuple[Material, ...]:
    return (
        Material(
            name="source",
            uri="git+https://example.org/shop/digits",
            commit=COMMIT,
            uses=("source",),
        ),
        Material(name="recipe.lock", digest=digest("lock"), uses=("lock",)),
        Material(name="recipe.toml", digest=digest("recipe"), uses=("source",)),
        Material(name="digits.npz", digest=digest("npz"), uses=("model",)),
        Material(name="train.py", digest=digest("train"), uses=("model",)),
        *(
            Material(
                name=name,
                uri=f"pkg:deb/debian/{name}@1.0",
                digest=digest(name),
                uses=("platform linux/arm64 debian", "host amd64 builder"),
            )
            for name in ("libc6", "zlib1g")
        ),
    )


def report() -> Report:
    """A report in which every section has something to show."""
    all_runs, all_packages, all_materials = runs(), packages(), materials()
    key = digest("shelf-1")[7:23]
    return Report(
        top=artifact("image"),
        parts=(
            artifact("platform", "linux/amd64", size=34_800_000),
            artifact("platform", "linux/arm64", size=31_900_000),
            artifact("models"),
            artifact("model", "amd64", size=14_767),
            artifact("model", "pi5", size=14_767),
        ),
        builds=(
            Build(
                recipe="digits",
                version="1.0.0",
                recipe_digest=digest("recipe"),
                lock=digest("lock"),
                builder="urn:edge-buildkit:builder:pinned:v1",
                revision=COMMIT,
                evidence=(digest("provenance"),),
            ),
        ),
        materials=all_materials,
        packages=all_packages,
        runs=all_runs,
        verdicts=(
            Verdict(
                at=NOW - DAY,
                outcome="PASS",
                devices=(("pi5", "shelf-1", key),),
                about=("platform linux/arm64", "model pi5"),
                evidence=digest("verdict"),
            ),
            Verdict(
                at=NOW - 2 * DAY,
                outcome="INCONCLUSIVE",
                devices=(("pi5", "shelf-2", digest("shelf-2")[7:23]),),
                about=("platform linux/arm64", "model pi5"),
                evidence=digest("verdict 2"),
            ),
        ),
        promotions=(
            Promotion(
                channel="canary",
                place="registry.example.org/shop/digits",
                number=7,
                at=NOW - DAY // 2,
                restores=0,
                until=None,
                signer=KEY.text,
                evidence=digest("canary"),
            ),
            Promotion(
                channel="stable",
                place="registry.example.org/shop/digits",
                number=4,
                at=NOW - 9 * DAY,
                restores=2,
                until=NOW - 3 * DAY,
                signer=WORKFLOW.text,
                evidence=digest("stable"),
            ),
        ),
        signed=tuple(
            Signed(
                kind=kind,
                signer=signer,
                about=about,
                count=count,
                first=first,
                last=NOW - DAY,
                evidence=tuple(digest(f"{kind} {at}") for at in range(min(count, 3))),
            )
            for kind, signer, about, count, first in (
                ("cyclonedx", KEY, ("platform linux/amd64", "platform linux/arm64"), 2, None),
                ("provenance", KEY, ("image", "models"), 1, None),
                ("provenance", WORKFLOW, ("image", "models"), 1, None),
                ("test-result", KEY, ("platform linux/arm64", "model pi5"), 41, NOW - 15 * DAY),
                ("verdict", KEY, ("platform linux/arm64", "model pi5"), 2, NOW - DAY),
            )
        ),
        refused=(
            Refused(
                reason="signature",
                message="bundle sha256:0123: the signature does not fit what it signs",
                kind="verdict",
                signer="",
                about=("model pi5",),
                evidence=digest("forged"),
            ),
        ),
        gaps=(
            Gap(what="nobody says that they made it again", about=("image", "model pi5")),
            Gap(what="no gate decided about it", about=("model amd64",)),
        ),
        total=Cut(
            runs=len(all_runs),
            verdicts=2,
            packages=len(all_packages),
            materials=len(all_materials),
            refused=1,
        ),
        cards=(card("amd64"), card("pi5")),
    )


def hostile(*told: str, but: frozenset[str] = frozenset({"role"})) -> Report:
    """The same report in which somebody wrote one of `told` wherever there is any text.

    Args:
        told: to be everywhere, one after the other.
        but: names of fields that stay as they are.
    """
    rest = itertools.cycle(told)

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return next(rest)
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [each.name for each in dataclasses.fields(value) if each.name not in but]
            return dataclasses.replace(
                value, **{name: changed(getattr(value, name)) for name in fields}
            )
        return value

    found: Report = changed(report())
    return found
