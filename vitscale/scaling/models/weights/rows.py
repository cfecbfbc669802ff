"""How the arrays of a framework hold ours: one row an array, read in both directions."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Float

from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights, parameter_sizes

Form = Literal["reshaped", "transposed", "convolution"]

_SHOWN = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One array of a framework and what it holds.

    - `theirs`, `size`: its name and sizes.
    - `ours`: names of our arrays; several follow one another along the framework's first axis.
    - `form`: "reshaped" is the same numbers in the same order, "transposed" a dense kernel as torch
      has it (outputs, inputs), "convolution" the kernel of the patches as torch has it (width,
      channels, rows, columns).
    """

    theirs: str
    size: tuple[int, ...]
    ours: tuple[str, ...]
    form: Form = "reshaped"


def to_theirs(rows: Sequence[Row], weights: Weights) -> dict[str, Float[np.ndarray, "..."]]:
    """The weights under the names and in the forms of a framework."""
    return {row.theirs: _joined(row, [weights.arrays[name] for name in row.ours]) for row in rows}


def to_ours(
    framework: str, rows: Sequence[Row], arrays: Arrays, spec: VitSpec, notes: Sequence[str] = ()
) -> Weights:
    """The arrays of a framework as weights, in float32 whatever floats they are.

    Raises `ValueError` that names what is missing, unexpected, of another size or not a float.
    """
    require_names(f"{framework}'s weights", arrays, [row.theirs for row in rows])
    sizes, found = parameter_sizes(spec), {}
    for row in rows:
        array = arrays[row.theirs]
        require_size(row.theirs, array, row.size, spec)
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(
                f"{row.theirs} holds {array.dtype}; expected floats: give weights that are not "
                f"quantised"
            )
        for name, piece in zip(row.ours, np.split(array, len(row.ours)), strict=True):
            found[name] = _piece(row.form, piece, sizes[name])
    return Weights(spec=spec, arrays={name: found[name] for name in sizes}, notes=tuple(notes))


def dense(
    theirs: str, ours: Sequence[str], inputs: int, outputs: int, *, joint: str = "."
) -> list[Row]:
    """Rows of a dense layer of torch, which may hold several of ours side by side."""
    fused = outputs * len(ours)
    kernels, biases = (tuple(f"{name}/{kind}" for name in ours) for kind in ("kernel", "bias"))
    return [
        Row(theirs=f"{theirs}{joint}weight", size=(fused, inputs), ours=kernels, form="transposed"),
        Row(theirs=f"{theirs}{joint}bias", size=(fused,), ours=biases),
    ]


def norm(theirs: str, ours: str, width: int) -> list[Row]:
    """Rows of a LayerNorm of torch."""
    return [
        Row(theirs=f"{theirs}.weight", size=(width,), ours=(f"{ours}/scale",)),
        Row(theirs=f"{theirs}.bias", size=(width,), ours=(f"{ours}/bias",)),
    ]


def mlp(theirs: str, ours: str, spec: VitSpec) -> list[Row]:
    """Rows of an MLP whose layers are called fc1 and fc2, as in timm and SigLIP."""
    width, mlp_dim = spec.shape.width, spec.shape.mlp_dim
    up = dense(f"{theirs}.fc1", [f"{ours}/up"], width, mlp_dim)
    return up + dense(f"{theirs}.fc2", [f"{ours}/down"], mlp_dim, width)


def patch_convolution(theirs: str, spec: VitSpec) -> list[Row]:
    """Rows of torch's convolution that embeds the patches."""
    width, patch = spec.shape.width, spec.shape.patch
    return [
        Row(
            theirs=f"{theirs}.weight",
            size=(width, spec.channels, patch, patch),
            ours=("embedding/kernel",),
            form="convolution",
        ),
        Row(theirs=f"{theirs}.bias", size=(width,), ours=("embedding/bias",)),
    ]


def require_names(what: str, found: Collection[str], expected: Collection[str]) -> None:
    """Refuse names that are missing or unexpected, each said by name."""
    missing = [name for name in expected if name not in found]
    unexpected = sorted(set(found) - set(expected))
    if missing or unexpected:
        complaints = [
            f"{title} {_listed(names)}"
            for title, names in (("lack", missing), ("also hold", unexpected))
            if names
        ]
        raise ValueError(
            f"{what} {' and '.join(complaints)}; expected the {len(expected)} arrays of a plain "
            f"ViT, no more and no fewer"
        )


def require_size(name: str, array: np.ndarray, size: tuple[int, ...], spec: VitSpec) -> None:
    """Refuse an array whose sizes are not those that `spec` gives it."""
    if array.shape != size:
        raise ValueError(
            f"{name} has the sizes {array.shape}, but the model ({spec.shape}, image_size "
            f"{spec.image_size}, readout {spec.readout}) has {size} there; give the weights of one "
            f"model"
        )


def _joined(row: Row, arrays: list[np.ndarray]) -> np.ndarray:
    match row.form:
        case "reshaped":
            joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            return np.ascontiguousarray(joined).reshape(row.size)
        case "transposed":
            return np.ascontiguousarray(np.concatenate([array.T for array in arrays]))
        case "convolution":
            width, channels, rows, columns = row.size
            kernel = arrays[0].reshape(rows, columns, channels, width)
            return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        case _:
            assert_never(row.form)


def _piece(form: Form, piece: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    match form:
        case "reshaped":
            ours = piece.reshape(size)
        case "transposed":
            ours = piece.T
        case "convolution":
            ours = piece.transpose(2, 3, 1, 0).reshape(size)
        case _:
            assert_never(form)
    return np.ascontiguousarray(ours, np.float32)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
