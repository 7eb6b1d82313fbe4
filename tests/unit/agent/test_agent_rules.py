"""The package stands alone: it runs where only Python 3.9 and ``openssl`` are."""

from __future__ import annotations

import ast
import sys

import agent
from agent_parts import HOME

MODULES = sorted((HOME / "agent").glob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module).split(".")[0])
    return found


def test_it_imports_the_standard_library_alone() -> None:
    allowed = set(sys.stdlib_module_names) | {"agent"}
    for module in MODULES:
        # Refuses what Python 3.9 does not know: `match`, for one.
        tree = ast.parse(module.read_text(), feature_version=(3, 9))
        found = imports(tree)
        assert found <= allowed, module
        assert "tomllib" not in found, module
        assert ("subprocess" in found) == (module.name == "programs.py"), module
        assert len(module.read_text().splitlines()) < 300, module


def test_annotations_are_not_evaluated() -> None:
    # So they may be written as Python 3.10 does.
    for module in MODULES:
        if module.name not in {"__init__.py", "__main__.py"}:
            assert "from __future__ import annotations" in module.read_text(), module


def test_the_pure_core_starts_nothing_and_writes_nothing() -> None:
    effects = {"os", "pathlib", "shutil", "socket", "subprocess", "time", "http"}
    for name in ("verify", "dsse", "strict", "order", "outcome", "container"):
        tree = ast.parse((HOME / "agent" / f"{name}.py").read_text())
        typing_only = [
            node
            for node in tree.body
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ]
        for node in typing_only:
            tree.body.remove(node)
        assert not imports(tree) & effects, name


def test_it_says_its_version() -> None:
    assert agent.VERSION
