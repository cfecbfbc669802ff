"""What every test needs set before anything is imported."""

import os

from hypothesis import settings

# Before jax is first imported: the tests' numbers are those of the CPU, wherever they run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Before ray is: clusters of tests are closed to strangers, as ours demands, and tell nobody of their use.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = "of-the-tests-alone-" * 2
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"

# A loaded machine must not fail a property, and in CI the same examples must be tried each time.
settings.register_profile("vitscale", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vitscale")


def pytest_collection_modifyitems(items):
    """Slow files first, so that none of them is left for the end, when other processes have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
