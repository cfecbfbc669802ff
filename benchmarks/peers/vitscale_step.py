"""vitscale's own ViT in the race of `train_step.py`."""

import sys

from benchmarks.peers.jax_step import limit_threads, prepare_step
from benchmarks.peers.step_server import Cell, Prepared, serve


def prepare(cell: Cell) -> Prepared:
    """The step of `vitscale.scaling.models.vit.Vit`, with its own initial parameters."""
    limit_threads(cell.threads)
    import jax
    from flax import nnx

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
    layout = sys.argv[1] if len(sys.argv) > 1 else "unrolled"
    settings = {"image_size": cell.image_size, "classes": cell.classes, "layout": layout}
    graph, template = split_vit(nnx.eval_shape(lambda: Vit(shape, **settings)))
    return prepare_step(
        lambda: draw_parameters(template, jax.random.key(0)),
        lambda params, images: merge_vit(graph, params)(images),
        cell,
    )


if __name__ == "__main__":
    serve(prepare)
