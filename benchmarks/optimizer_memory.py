"""How much memory does each optimizer take beside the parameters?

Counts the state of every optimizer for SoViT-400m/14, from the shapes alone, and checks the sum against
what XLA reserves for the arguments of the compiled update, which has parameters, gradients and state.

    uv run python -m benchmarks.optimizer_memory            # half a minute
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx

from benchmarks.markdown import table
from vitscale.scaling.models.vit import Vit, split_vit
from vitscale.scaling.optimizer import gradient_transformation
from vitscale.scaling.optimizers.sgd import sgd_momentum
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import named_shape

RESULTS = Path(__file__).parent / "results" / "optimizer_memory.json"
MODEL = "So400m/14"
_RECIPE = RECIPES["sovit"]

OPTIMIZERS: dict[str, optax.GradientTransformation] = {
    "AdamW": gradient_transformation(
        dataclasses.replace(_RECIPE, optimizer="adamw", momentum_dtype="float32")
    ),
    "AdamW, first moment in bfloat16": gradient_transformation(
        dataclasses.replace(_RECIPE, optimizer="adamw", momentum_dtype="bfloat16")
    ),
    "Adafactor, momentum in float32": gradient_transformation(
        dataclasses.replace(_RECIPE, momentum_dtype="float32")
    ),
    "Adafactor, momentum in bfloat16": gradient_transformation(_RECIPE),
    "SGD, momentum in bfloat16": sgd_momentum(dtype="bfloat16"),
}


def parameter_shapes() -> Any:
    """Shapes of the float32 parameters of `MODEL`, without a classifier."""
    shape = named_shape(MODEL)
    return split_vit(
        nnx.eval_shape(lambda: Vit(shape, image_size=224, readout="map", layout="scanned"))
    )[1]


def size_bytes(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def reserved_bytes(optimizer: optax.GradientTransformation, params: Any, state: Any) -> int:
    """Bytes that XLA reserves for the state among the arguments of a compiled update."""
    compiled = jax.jit(optimizer.update, keep_unused=True).lower(params, state, params).compile()
    analysis: Any = compiled.memory_analysis()
    return analysis.argument_size_in_bytes - 2 * size_bytes(params)


def main() -> None:
    """Count, print the table, and keep it."""
    params = parameter_shapes()
    rows = []
    for name, optimizer in OPTIMIZERS.items():
        state = jax.eval_shape(optimizer.init, params)
        counted = size_bytes(state)
        reserved = reserved_bytes(optimizer, params, state)
        if abs(reserved - counted) > 0.001 * counted:
            raise SystemExit(f"{name}: counted {counted} bytes, XLA reserves {reserved}")
        rows.append({"optimizer": name, "bytes": counted, "ratio": counted / size_bytes(params)})
    RESULTS.write_text(json.dumps({"model": MODEL, "rows": rows}, indent=1) + "\n")
    header = ("optimizer", "state, GB", "of the parameters")
    cells = [(r["optimizer"], f"{r['bytes'] / 1e9:.2f}", f"{r['ratio']:.3f}") for r in rows]
    print(f"{MODEL}: parameters {size_bytes(params) / 1e9:.2f} GB in float32")
    print("\n".join(table(header, cells)))


if __name__ == "__main__":
    main()
