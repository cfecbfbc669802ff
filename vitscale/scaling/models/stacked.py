"""Which arrays of a model, or of its optimizer's state, have depth for their first axis."""

from typing import Any


def is_stacked(path: tuple[Any, ...]) -> bool:
    """Whether a path, as `jax.tree_util` gives it, leads into scanned blocks: unrolled ones have numbers."""
    names = [getattr(entry, "key", getattr(entry, "name", None)) for entry in path]
    if "blocks" not in names:
        return False
    return isinstance(names[names.index("blocks") + 1], str)
