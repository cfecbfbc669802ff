"""Sentences of a report."""

from vitscale.scaling.shape import DIMENSIONS


def as_sentence(text: str) -> str:
    """`text` as a sentence; a name at its beginning, such as mlp_dim, stays as it is."""
    first = text.split(maxsplit=1)[0].rstrip(":")
    start = text if first in DIMENSIONS else text[0].upper() + text[1:]
    return start if text.endswith(".") else f"{start}."
