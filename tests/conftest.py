"""Shared set-up of the suite: the kernel cache is chosen before anything imports Numba."""

from engine import kernel_cache

kernel_cache.configure()

from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "de39", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("de39")
