from __future__ import annotations

from typing import TYPE_CHECKING

import audit_world as worlds
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit_world import World

    from buildkit.audit import Index


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small history, which nobody may change: `world` is for that."""
    return worlds.history(tmp_path_factory.mktemp("audit") / "world")


@pytest.fixture(scope="session")
def index(built: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The index of `built`, to be asked."""
    with worlds.opened(tmp_path_factory.mktemp("index") / "audit.sqlite") as found:
        built.sync(found)
        yield found


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """The same history, to be changed, and without an index."""
    return built.copied(tmp_path / "world")
