"""The spec of a model from the sizes of its arrays, and from what is said beside them."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

from vitscale.scaling.models.weights.spec import Arrays, VitSpec
from vitscale.scaling.shape import NAMED_VARIANTS, Readout, Shape, named_shape

EXACT_GELU = (
    "the config asks for the exact GELU and vitscale computes its tanh approximation, as JAX does: "
    "logits move by some 3e-4"
)
"""What to say of a model that was trained with another GELU than ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stated:
    """What a config or a user says of weights beside the arrays; None where nothing is said.

    - `notes`: sentences on what the config says that vitscale computes otherwise.
    """

    heads: int | None = None
    image_size: int | None = None
    readout: Readout | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("heads", "image_size"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name}={value!r} is not a whole number from 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What the sizes of a framework's arrays say.

    - `patch`: rows and columns of the patches' kernel.
    - `tokens`: positions, without that of a class token.
    - `heads`: None where the framework's arrays do not show them.
    """

    width: int
    depth: int
    mlp_dim: int
    heads: int | None = None
    patch: tuple[int, int]
    channels: int
    tokens: int
    readout: Readout
    classes: int


def spec_of(framework: str, found: Found, stated: Stated) -> VitSpec:
    """The spec that the arrays and what is said of them agree on.

    Raises `ValueError` where they disagree, where the heads are known from neither, and for
    patches or grids of positions that are not square.
    """
    rows, columns = found.patch
    if rows != columns:
        raise ValueError(
            f"{framework}'s weights have patches of {rows} x {columns} pixels; expected square ones"
        )
    side = math.isqrt(found.tokens)
    if not side or side * side != found.tokens:
        raise ValueError(
            f"{framework}'s weights have {found.tokens} positions, which is no square grid; expected "
            f"those of a square image, such as 14 x 14 = 196"
        )
    if stated.readout not in (None, found.readout):
        raise ValueError(
            f"the config says readout {stated.readout}, but {framework}'s weights are those of "
            f"{found.readout}; give the config and the weights of one model"
        )
    shape = Shape(
        width=found.width,
        depth=found.depth,
        mlp_dim=found.mlp_dim,
        heads=_heads(framework, found, stated.heads),
        patch=rows,
    )
    image_size = side * rows if stated.image_size is None else stated.image_size
    if shape.tokens(image_size) != found.tokens:
        raise ValueError(
            f"image_size={image_size} has {shape.tokens(image_size)} patches of {rows} pixels, but "
            f"{framework}'s weights have {found.tokens} positions; give an image size from "
            f"{side * rows} to {side * rows + rows - 1}"
        )
    return VitSpec(
        shape=shape,
        image_size=image_size,
        readout=found.readout,
        channels=found.channels,
        classes=found.classes,
    )


def sizes_of(framework: str, arrays: Arrays, name: str, axes: int) -> tuple[int, ...]:
    """Sizes of the array `name`, which must be there and have so many axes."""
    if name not in arrays:
        raise ValueError(
            f"{framework}'s weights lack {name}; expected all the arrays of a plain ViT"
        )
    size = arrays[name].shape
    if len(size) != axes:
        raise ValueError(f"{name} has the sizes {size}; expected {axes} axes")
    return size


def one_side(name: str, value: Any) -> Any:
    """The size of a square image that a config gives as one number or as two equal ones."""
    if not isinstance(value, list):
        return value
    if len(value) != 2 or value[0] != value[1]:
        raise ValueError(f"the config says {name} {value}; expected that of a square image")
    return value[0]


def classes_of(framework: str, arrays: Arrays, bias: str) -> int:
    """Outputs of the classifier whose bias has this name; 0 where there is none."""
    return sizes_of(framework, arrays, bias, 1)[0] if bias in arrays else 0


def depth_of(framework: str, names: Iterable[str], pattern: str) -> int:
    """One more than the largest number that `pattern`, a regular expression, finds in `names`."""
    found = [int(match[1]) for name in names if (match := re.match(pattern, name))]
    if not found:
        raise ValueError(
            f"{framework}'s weights have no blocks; expected names that match {pattern}"
        )
    return max(found) + 1


def _heads(framework: str, found: Found, stated: int | None) -> int:
    if found.heads is not None and stated not in (None, found.heads):
        raise ValueError(
            f"heads={stated}, but {framework}'s weights have {found.heads}; leave the heads out"
        )
    heads = stated if found.heads is None else found.heads
    if heads is None:
        shapes = {name: named_shape(f"{name}/16") for name in NAMED_VARIANTS}
        alike = [f"{s.heads} in {name}" for name, s in shapes.items() if s.width == found.width]
        hint = f" (width {found.width} has {', '.join(alike)})" if alike else ""
        raise ValueError(
            f"{framework}'s weights do not show the number of attention heads; give it as heads, "
            f"or the config.json of the weights beside them{hint}"
        )
    return heads
