"""Settings for every test."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports it: official builds of ONNX Runtime report to their maker unless told not
# to, and leave files in the home of whoever runs the tests.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The machines are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what one process of several (pytest-xdist) has to itself: the board, or this machine."""
    boards = {item.path for item in items if "board" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "board" if item.path in boards else "machine"
        if "integration" not in item.path.parts:
            group = str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
