"""The rules of the house, read from the sources: who may import whom, and what nobody may do.

A rule that must give way gets a row in one of the tables below, with its reason; a row that
nothing uses any more fails as well.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "buildkit"

# A room imports from lower floors only. A new room needs a floor here.
FLOORS = (
    (
        *("errors", "digests", "canonical", "media", "records", "run", "conversation", "scratch"),
        *("tools", "assets", "markup", "homes", "amounts", "distributions", "disk"),
    ),
    ("recipe", "lock", "store"),
    ("evidence",),
    (
        *("nix", "engine", "model", "image", "registry", "doctor", "why", "device", "gate"),
        *("standin", "audit"),
    ),
    ("pipeline",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND = FLOORS[0]

SIDEWAYS = {
    ("lock", "recipe"): "a lock is made from a recipe's frozen records",
}

STARTS_PROGRAMS = {
    "buildkit.run": "the one runner",
    "buildkit.engine.launch": "becomes the engine inside its namespaces: fork and exec, no runner",
    "buildkit.audit.workers": "copies of this process judge evidence on all processors: no program",
}

# Run inside the Nix sandbox, where the rest of buildkit is not.
SANDBOX = ("buildkit.model.prepare", "buildkit.image.pack")

ALSO_OUTSIDE = {
    "buildkit.image.pack.view": "syft is shown layers in one way only, in the sandbox and outside",
}

# Costs 0.1 s and more to import, so only code of the sandbox does so at the top of a module.
HEAVY = {"docker", "numpy", "onnx", "onnx_ir", "onnxruntime", "pydantic"}
HEAVY |= {"cryptography", "cyclonedx", "sigstore_models"}
HEAVY |= {"python_on_whales", "requests", "sigstore", "urllib3"}

PRINTERS = ("buildkit.cli", *SANDBOX)
LONGEST_MODULE = 450

# In parts, so that this file is not its own finding.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("debian", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("registry-1", "docker"),
        ("index", "docker"),
        ("hub", "docker"),
        ("ghcr", "io"),
        ("gcr", "io"),
        ("quay", "io"),
        ("registry", "k8s"),
        ("pkg", "dev"),
        ("cache", "nixos"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One import statement's target.

    Attributes:
        module: absolute dotted name; for ``from package import name`` with the name.
        line: where it stands.
        at_top: runs when the module is imported.
        relative: written with leading dots.
    """

    module: str
    line: int
    at_top: bool
    relative: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    name: str
    file: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        return room_of(self.name)

    def at(self, line: int) -> str:
        return f"{self.file.relative_to(ROOT)}:{line}"


def room_of(name: str) -> str:
    """``buildkit.model.prepare.cli`` → ``model``; ``buildkit`` itself → empty."""
    return [*name.split("."), ""][1]


def is_inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def read(file: Path) -> Module:
    parts = file.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    package = name if parts[-1] == "__init__" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text(), str(file))
    return Module(name=name, file=file, tree=tree, imports=tuple(imports(tree, package)))


def imports(tree: ast.AST, package: str, *, at_top: bool = True) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module=alias.name, line=node.lineno, at_top=at_top, relative=False)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                [*(above if node.level else []), *([node.module] if node.module else [])]
            )
            for alias in node.names:
                yield Import(
                    module=f"{base}.{alias.name}",
                    line=node.lineno,
                    at_top=at_top,
                    relative=node.level > 0,
                )
        else:
            inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            inner = inner or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            )
            yield from imports(node, package, at_top=at_top and not inner)


MODULES = tuple(read(file) for file in sorted(PACKAGE.rglob("*.py")))


def edges() -> Iterator[tuple[Module, Import, str]]:
    """Every import of one room by another."""
    for module in MODULES:
        for found in module.imports:
            room = room_of(found.module)
            if not found.module.startswith("buildkit.") or room.startswith("__version"):
                continue
            if room != module.room:
                yield module, found, room


def test_every_room_has_a_floor() -> None:
    rooms = {module.room for module in MODULES} - {""}
    assert sorted(rooms - FLOOR.keys()) == []


def test_rooms_import_downwards_only() -> None:
    wrong = [
        f"{module.at(found.line)}: {module.room or 'buildkit'} imports {room}"
        for module, found, room in edges()
        if module.room not in GROUND or room not in GROUND
        if FLOOR.get(room, 99) >= FLOOR.get(module.room, 0)
        if (module.room, room) not in SIDEWAYS
    ]
    assert wrong == []


def test_no_two_rooms_need_each_other() -> None:
    needs: dict[str, set[str]] = {}
    for module, _, room in edges():
        needs.setdefault(module.room, set()).add(room)
    TopologicalSorter(needs).prepare()


def test_sideways_imports_are_still_used() -> None:
    used = {(module.room, room) for module, _, room in edges()}
    assert sorted(SIDEWAYS.keys() - used) == []


def test_only_the_runner_starts_programs() -> None:
    starters = {"subprocess", "multiprocessing", "pty"}
    calls = ("system", "popen", "fork", "forkpty", "exec", "spawn", "posix_spawn")
    found = set()
    for module in MODULES:
        if any(one.module.split(".")[0] in starters for one in module.imports):
            found.add(module.name)
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in {"os", "asyncio"}
                and node.attr.startswith((*calls, "create_subprocess"))
            ):
                found.add(module.name)
    assert found == STARTS_PROGRAMS.keys()


def test_sandbox_code_stands_alone() -> None:
    wrong = [
        f"{module.at(found.line)}: {found.module}"
        for module in MODULES
        for package in SANDBOX
        if is_inside(module.name, (package,))
        for found in module.imports
        if found.relative or found.module.startswith("buildkit")
        if not (found.relative and is_inside(found.module, (package,)))
    ]
    assert wrong == []


def test_nobody_outside_imports_sandbox_code() -> None:
    wrong = [
        f"{module.at(found.line)}: {found.module}"
        for module in MODULES
        if not is_inside(module.name, SANDBOX)
        for found in module.imports
        if is_inside(found.module, SANDBOX) and found.module not in ALSO_OUTSIDE
    ]
    used = {found.module for module in MODULES for found in module.imports}
    assert wrong == []
    assert used >= ALSO_OUTSIDE.keys()


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    wrong = [
        f"{module.at(found.line)}: {found.module}"
        for module in MODULES
        if not is_inside(module.name, SANDBOX)
        for found in module.imports
        if found.at_top and found.module.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_command_line_starts_light() -> None:
    program = "import json, sys, buildkit.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run([sys.executable, "-c", program], cwd=ROOT).text)
    assert "buildkit.cli" in loaded
    assert sorted(HEAVY & set(loaded)) == []


def test_modules_stay_short() -> None:
    lengths = {module.at(1): len(module.file.read_text().splitlines()) for module in MODULES}
    assert {file: count for file, count in lengths.items() if count > LONGEST_MODULE} == {}


def test_only_the_command_line_prints() -> None:
    wrong = [
        module.at(node.lineno)
        for module in MODULES
        if not is_inside(module.name, PRINTERS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert wrong == []


def test_no_file_names_a_registry_host() -> None:
    listed = run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    ).text.split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert PACKAGE / "errors.py" in files
    wrong = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in files
        for host in HOSTS
        if host.encode() in file.read_bytes()
    ]
    assert wrong == []
