"""vitscale: compute-optimal Vision Transformer shapes, with error bars, from a few cheap experiments."""

from importlib.metadata import version as _version

__version__ = _version("vitscale")
