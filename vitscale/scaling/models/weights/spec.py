"""What decides the parameters of a Vision Transformer, and the parameters as a flat table of arrays."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vitscale.scaling.shape import Readout, Shape

Arrays = Mapping[str, np.ndarray]
"""Arrays by name, in whatever names and forms a layout has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VitSpec:
    """All that decides the names and sizes of a ViT's parameters.

    - `image_size`: pixels of the square image; fixes the number of learned positions.
    - `classes`: outputs of the linear classifier; 0 for none.

    Raises `ValueError` that names the field, its value and what is accepted.
    """

    shape: Shape
    image_size: int
    readout: Readout = "gap"
    channels: int = 3
    classes: int = 0

    def __post_init__(self) -> None:
        self.shape.check_model(
            image_size=self.image_size,
            readout=self.readout,
            channels=self.channels,
            classes=self.classes,
        )

    @property
    def side(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.shape.patch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """A ViT's parameters under vitscale's own names, such as `blocks/0/mlp/up/kernel`.

    - `arrays`: in float32, one for each entry of `parameter_sizes(spec)`, in that order.
    - `notes`: sentences on what the file they come from computes otherwise, or held besides.
    """

    spec: VitSpec
    arrays: Mapping[str, Float[np.ndarray, "..."]]
    notes: tuple[str, ...] = ()


def parameter_sizes(spec: VitSpec) -> dict[str, tuple[int, ...]]:
    """Size of every parameter by name; kernels are (inputs, outputs), blocks one after another."""
    shape, width = spec.shape, spec.shape.width
    tokens = shape.tokens(spec.image_size)
    sizes = _dense("embedding", shape.patch**2 * spec.channels, width)
    sizes["position"] = (1, tokens, width)
    if spec.readout == "tok":
        sizes["class_token"] = (1, 1, width)
    for i in range(shape.depth):
        sizes |= _norm(f"blocks/{i}/attention_norm", width)
        sizes |= _attention(f"blocks/{i}/attention", width)
        sizes |= _norm(f"blocks/{i}/mlp_norm", width)
        sizes |= _mlp(f"blocks/{i}/mlp", shape)
    sizes |= _norm("final_norm", width)
    if spec.readout == "map":
        sizes["readout/probe"] = (1, 1, width)
        sizes |= _attention("readout/attention", width)
        sizes |= _norm("readout/norm", width)
        sizes |= _mlp("readout/mlp", shape)
    if spec.classes:
        sizes |= _dense("head", width, spec.classes)
    return sizes


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/scale": (width,), f"{name}/bias": (width,)}


def _attention(name: str, width: int) -> dict[str, tuple[int, ...]]:
    sizes = {}
    for part in ("query", "key", "value", "out"):
        sizes |= _dense(f"{name}/{part}", width, width)
    return sizes


def _mlp(name: str, shape: Shape) -> dict[str, tuple[int, ...]]:
    up = _dense(f"{name}/up", shape.width, shape.mlp_dim)
    return up | _dense(f"{name}/down", shape.mlp_dim, shape.width)
