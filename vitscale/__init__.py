"""Compute-optimal Vision Transformer shapes, with error bars, from a few cheap experiments."""

__version__ = "0.1.0"
