"""Debian packages, chosen and verified by APT itself in a root of its own.

The root has no installed packages, one architecture (not that of the machine), no recommended
packages, and the machine's own mirrors, proxies and credentials. APT checks the archive's
signature as always; only a signed index can name a package.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import disk, scratch
from buildkit.errors import ResolveError, ToolError
from buildkit.lock import cache
from buildkit.lock.resolve import sources
from buildkit.lock.types import DebianPin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from buildkit.run import Result, Runner

ARCHITECTURES = ("amd64", "arm64")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_URI = re.compile(r"'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_UNSIGNED = re.compile(
    r"NO_PUBKEY|not signed|signature|EXPKEYSIG|BADSIG|not authenticated", re.IGNORECASE
)
_UNREACHABLE = "check the network, the proxy and the mirrors in APT's own configuration"
_DEADLINE = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AptRoot:
    """A private APT root.

    Attributes:
        folder: on disk.
        suite: release; its security suite is in it too.
        arch: the one architecture it knows.
        etc: APT's configuration of this machine.
        environ: of this machine.
    """

    folder: Path
    suite: str
    arch: str
    etc: Path
    environ: Mapping[str, str]


def open_root(
    suite: str,
    arch: str,
    home: Path,
    *,
    etc: Path = Path("/etc/apt"),
    environ: Mapping[str, str] = os.environ,
) -> AptRoot:
    """Write the configuration of a private APT root below `home`; asks nobody.

    Raises:
        ResolveError: this machine knows no Debian archive.
    """
    folder = (home / "apt" / f"{suite}-{arch}").absolute()
    root = AptRoot(folder=folder, suite=suite, arch=arch, etc=etc, environ=environ)
    for name in ("etc/sources.list.d", "etc/preferences.d", "state/lists/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    listed = sources.machine_sources(suite, arch, etc=etc, environ=environ)
    for name, text in (
        ("status", ""),
        ("etc/sources.list.d/debian.sources", listed),
        ("first.conf", _first(folder, etc)),
        ("last.conf", _last(arch)),
    ):
        disk.replace(folder / name, text.encode())
    return root


def _first(folder: Path, etc: Path) -> str:
    """What APT reads before the machine's own configuration: where everything is."""
    places = {
        "Dir": f"{folder}/",
        "Dir::Etc": f"{folder}/etc",
        "Dir::Etc::main": f"{etc}/apt.conf",
        "Dir::Etc::parts": f"{etc}/apt.conf.d",
        "Dir::Etc::netrc": f"{etc}/auth.conf",
        "Dir::Etc::netrcparts": f"{etc}/auth.conf.d",
        "Dir::State": f"{folder}/state",
        "Dir::State::status": f"{folder}/status",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Log": f"{folder}/log",
    }
    return "".join(f"{name} {_quote(value)};\n" for name, value in places.items())


def _last(arch: str) -> str:
    """What APT reads after the machine's own configuration, so that it wins over it.

    Cleared: the hooks of the machine, which are about the machine's own packages.
    """
    cleared = (
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "APT::Default-Release",
        "APT::Architectures",
        "APT::Solver",
        "DPkg",
    )
    values = {
        "APT::Architecture": arch,
        "APT::Architectures::": arch,
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Get::AllowUnauthenticated": "false",
        "APT::Update::Error-Mode": "any",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    if os.geteuid() == 0:
        # APT's download user may not enter the home of root, where the cache is.
        values["APT::Sandbox::User"] = "root"
    lines = [f"#clear {name};\n" for name in cleared]
    return "".join(lines) + "".join(f"{name} {_quote(value)};\n" for name, value in values.items())


def _quote(value: str) -> str:
    if '"' in value or "\n" in value:
        msg = f"{value!r} cannot stand in APT's configuration"
        raise ResolveError(msg, "set XDG_CACHE_HOME to a folder with a plain name")
    return f'"{value}"'


def call(
    runner: Runner,
    root: AptRoot,
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    check: bool = True,
) -> Result:
    """Run ``apt-get`` or ``apt-cache``, the first of `words`, in the root.

    Raises:
        ToolError: APT is missing, or failed and `check` is set.
    """
    with scratch.folder() as folder:
        variables = {
            "APT_CONFIG": str(root.folder / "first.conf"),
            "LC_ALL": "C.UTF-8",
            # For what it checks signatures with, and leaves behind when it is killed.
            "TMPDIR": str(folder),
        }
        return runner(
            [words[0], "-c", root.folder / "last.conf", *words[1:]],
            cwd=cwd or root.folder,
            env=variables,
            deadline=_DEADLINE,
            check=check,
        )


def update(runner: Runner, root: AptRoot) -> None:
    """Bring the index of packages up to date, its signature checked.

    Raises:
        ResolveError: a mirror does not answer, or the index is not signed by the archive's key.
    """
    result = call(runner, root, ["apt-get", "-q", "update"], check=False)
    said = [line for line in result.stderr.splitlines() if line.startswith(("E:", "W:"))]
    if result.code == 0 and not any(_UNSIGNED.search(line) for line in said):
        return
    what = "\n  ".join(said[-8:]) or f"exit status {result.code}"
    if any(_UNSIGNED.search(line) for line in said):
        msg = f"the index of {root.suite} is not signed by the archive's key:\n  {what}"
        raise ResolveError(
            msg, "update the package debian-archive-keyring, or use another mirror; never trust it"
        )
    msg = f"the index of {root.suite} for {root.arch} cannot be brought here:\n  {what}"
    raise ResolveError(msg, _UNREACHABLE)


def known(runner: Runner, root: AptRoot, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """What the index has: name → version → suite, the release before its security suite.

    Names that the index does not have are absent.
    """
    wanted = sorted(set(names))
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        result = call(runner, root, ["apt-cache", "madison", "--", *part], check=False)
        for line in result.text.splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != 3 or cells[0] not in part:
                continue
            suite = next(
                (word.split("/")[0] for word in cells[2].split()[1:] if "/" in word), root.suite
            )
            versions = found.setdefault(cells[0], {})
            if versions.get(cells[1]) != root.suite:
                versions[cells[1]] = suite
    return found


def solve(
    runner: Runner,
    root: AptRoot,
    packages: Sequence[str],
    *,
    exclude: Collection[str] = (),
    hold: Mapping[str, str] | None = None,
) -> tuple[DebianPin, ...]:
    """`packages` and all they depend on, as APT would install them on an empty system.

    Args:
        runner: starts APT.
        root: with an index that is up to date.
        packages: names.
        exclude: names left out of the answer; what only they depend on stays.
        hold: name → version to prefer while the index still has it.

    Raises:
        ResolveError: a package does not exist, not for this architecture, or they contradict.
    """
    if not packages:
        return ()
    _refuse_odd(packages)
    have = known(runner, root, packages)
    lacking = [name for name in packages if name not in have]
    if lacking:
        raise _lacking(runner, root, lacking)
    _write_preferences(root, hold or {})
    result = call(
        runner,
        root,
        [
            "apt-get",
            "-qq",
            "-y",
            "--no-install-recommends",
            "--print-uris",
            "install",
            "--",
            *packages,
        ],
        check=False,
    )
    if result.code != 0:
        said = "\n  ".join(line for line in (result.text + result.stderr).splitlines()[-12:])
        msg = f"APT cannot install {', '.join(packages)} on {root.suite}/{root.arch}:\n  {said}"
        raise ResolveError(msg, "run `lock --update` to move every pin, or change the packages")
    return _pins(runner, root, result, frozenset(exclude))


def resolve(
    runner: Runner,
    suite: str,
    arch: str,
    packages: Sequence[str],
    exclude: Collection[str] = (),
    *,
    hold: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> tuple[DebianPin, ...]:
    """Pins for `packages` of a release, with a fresh index; sorted.

    See `solve` for the arguments and errors; `home` is the cache, `cache.home()` when absent.
    """
    root = open_root(suite, arch, home or cache.home())
    with disk.exclusive(root.folder):
        update(runner, root)
        return solve(runner, root, packages, exclude=exclude, hold=hold)


def file_name(name: str) -> str:
    """A file name that may name a Nix store path: what APT escapes and ``~`` become ``_``."""
    return re.sub(r"[^A-Za-z0-9+._-]", "_", re.sub(r"%[0-9A-Fa-f]{2}", "_", name))


def _pins(
    runner: Runner, root: AptRoot, result: Result, exclude: frozenset[str]
) -> tuple[DebianPin, ...]:
    lines = [line for line in result.text.splitlines() if line.startswith("'")]
    rows: list[tuple[str, str, str, re.Match[str]]] = []
    for line in lines:
        found = _URI.fullmatch(line.strip())
        words = found["file"].removesuffix(".deb").split("_") if found else []
        if found is None or len(words) != 3:
            msg = f"apt-get: an answer that cannot be read: {line}"
            raise ToolError(msg, "use the apt of Debian 12 or later")
        name, version, arch = words
        rows.append((name, version.replace("%3a", ":"), arch, found))
    have = known(runner, root, [name for name, *_ in rows])
    pins = [
        DebianPin(
            name=name,
            version=version,
            architecture=arch,
            suite=have.get(name, {}).get(version, root.suite),
            file=file_name(found["file"]),
            sha256=found["sha256"],
            size=int(found["size"]),
        )
        for name, version, arch, found in rows
        if name not in exclude
    ]
    if not pins:
        msg = "apt-get: nothing to install, which cannot be"
        raise ToolError(msg)
    return tuple(sorted(pins))


def _write_preferences(root: AptRoot, hold: Mapping[str, str]) -> None:
    """Prefer the held versions; APT ignores those that the index no longer has."""
    text = "\n".join(
        f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
        for name, version in sorted(hold.items())
    )
    disk.replace(root.folder / "etc/preferences.d/hold.pref", text.encode())


def _refuse_odd(packages: Sequence[str]) -> None:
    """APT reads other words as options, patterns or requests to remove."""
    odd = [name for name in packages if _NAME.fullmatch(name) is None]
    if odd:
        msg = f"not the name of a Debian package: {', '.join(map(repr, odd))}"
        raise ResolveError(msg, "use lower-case letters, digits, `+`, `-` and `.`")


def _lacking(runner: Runner, root: AptRoot, names: Sequence[str]) -> ResolveError:
    """Say for each name what is wrong: not for this processor, virtual, or unknown everywhere."""
    elsewhere = _elsewhere(runner, root, names)
    every = call(runner, root, ["apt-cache", "pkgnames"], check=False).text.split()
    lines = []
    for name in names:
        if name in elsewhere:
            lines.append(
                f"Debian package {name} of {root.suite} is not built for {root.arch}, "
                f"only for {elsewhere[name]}"
            )
            continue
        providers = _providers(runner, root, name)
        if providers:
            lines.append(
                f"Debian package {name} of {root.suite} is virtual: name one that provides it "
                f"({', '.join(providers[:5])})"
            )
            continue
        near = [word for word in every if word[:1] == name[:1]]
        close = difflib.get_close_matches(name, near, n=3, cutoff=0.75)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        lines.append(f"Debian package {name} does not exist in {root.suite}{hint}")
    return ResolveError("\n  ".join(lines), "correct the names under [image.debian] in the recipe")


def _providers(runner: Runner, root: AptRoot, name: str) -> list[str]:
    """Packages that provide a virtual one."""
    text = call(runner, root, ["apt-cache", "showpkg", "--", name], check=False).text
    _, _, after = text.partition("Reverse Provides:")
    return sorted({line.split()[0] for line in after.splitlines() if line.strip()})


def _elsewhere(runner: Runner, root: AptRoot, names: Sequence[str]) -> dict[str, str]:
    """Which of `names` another processor has.

    It looks in roots of its own, below this one: two that wait for each other would never end.
    """
    found: dict[str, str] = {}
    for arch in ARCHITECTURES:
        if arch == root.arch:
            continue
        other = open_root(
            root.suite, arch, root.folder / "elsewhere", etc=root.etc, environ=root.environ
        )
        with disk.exclusive(other.folder):
            try:
                update(runner, other)
            except ResolveError:
                continue
            for name in known(runner, other, names):
                found[name] = arch
    return found
