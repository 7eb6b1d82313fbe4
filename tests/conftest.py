"""Settings for every test."""

from hypothesis import HealthCheck, settings

# The machines are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
