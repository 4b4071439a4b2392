"""One profile for all properties: the same examples on every run, and no clock that a busy machine could miss."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "retina_monai",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("retina_monai")
