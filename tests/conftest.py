"""Settings for every test."""

import os

from hypothesis import HealthCheck, settings

# Before anything imports it: official builds of ONNX Runtime report to their maker unless told not
# to, and leave files in the home of whoever runs the tests.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The machines are shared: how long one example takes says nothing. Every run draws the same
# examples, so that what it says is about the change and not about luck; `--hypothesis-profile=new`
# draws others.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.register_profile("new", settings.get_profile("shared"), derandomize=False)
settings.load_profile("shared")
