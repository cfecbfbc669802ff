"""vitscale's own ViT in the race of `train_step.py`."""

from typing import Any

from benchmarks.peers.jax_step import limit_threads, prepare_step
from benchmarks.peers.step_server import Cell, Prepared, serve
from vitscale.scaling.host_memory import keep_freed_memory


def prepare(cell: Cell) -> Prepared:
    """The step of `vitscale.scaling.models.vit.Vit`, in a process set up as for training."""
    limit_threads(cell.threads)
    keep_freed_memory()
    return prepare_layout(cell, "unrolled")


def prepare_layout(
    cell: Cell, layout: str, *, remat: str = "none", dtype: str = "float32"
) -> Prepared:
    """The step with blocks laid out as asked, in this process as it is."""
    import jax
    from flax import nnx
    from jax import numpy as jnp

    from vitscale.scaling.models.initial import draw_parameters
    from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
    from vitscale.scaling.shape import Shape

    shape = Shape(
        width=cell.width,
        depth=cell.depth,
        mlp_dim=cell.mlp_dim,
        heads=cell.heads,
        patch=cell.patch,
    )
    settings: Any = {
        "image_size": cell.image_size,
        "classes": cell.classes,
        "layout": layout,
        "remat": remat,
        "dtype": jnp.dtype(dtype),
    }
    graph, template = split_vit(nnx.eval_shape(lambda: Vit(shape, **settings)))
    return prepare_step(
        lambda: draw_parameters(template, jax.random.key(0)),
        lambda params, images: merge_vit(graph, params)(images),
        cell,
    )


if __name__ == "__main__":
    serve(prepare)
