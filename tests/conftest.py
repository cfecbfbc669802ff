"""What every test needs set before anything is imported."""

import os

from hypothesis import settings

# Before jax is first imported: the tests' numbers are those of the CPU, wherever they run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A loaded machine must not fail a property, and in CI the same examples must be tried each time.
settings.register_profile("vitscale", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vitscale")
