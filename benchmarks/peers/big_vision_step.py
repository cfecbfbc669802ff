"""The layout of google-research/big_vision's ViT (0127fb6, models/vit.py) in Flax Linen.

Restated, because the repository is no package and pins old versions: separate query, key and value
kernels of shape (width, heads, head width) in `nn.MultiHeadDotProductAttention`, `nn.LayerNorm`, tanh
GELU, patches by a strided convolution, blocks unrolled, readout by mean.
"""

import sys
from typing import Any

from benchmarks.peers.jax_step import limit_threads, prepare_step
from benchmarks.peers.step_server import Cell, Prepared, serve
from vitscale.scaling.host_memory import keep_freed_memory


def prepare(cell: Cell) -> Prepared:
    """Its step, with its own initial parameters; with `keep-memory` as argument, as if it were ours."""
    limit_threads(cell.threads)
    if "keep-memory" in sys.argv[1:]:
        keep_freed_memory()
    import jax
    from jax import numpy as jnp

    model = linen_vit(cell)
    images = jnp.zeros((1, cell.image_size, cell.image_size, 3))
    return prepare_step(
        lambda: model.init(jax.random.key(0), images), lambda p, x: model.apply(p, x), cell
    )


def linen_vit(cell: Cell) -> Any:
    """The model as a Linen module: images to logits."""
    import flax.linen as nn
    from jax import numpy as jnp

    xavier = nn.initializers.xavier_uniform()
    dense_settings: Any = {
        "kernel_init": xavier,
        "bias_init": nn.initializers.normal(stddev=1e-6),
    }

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            y = nn.LayerNorm()(x)
            attention = nn.MultiHeadDotProductAttention(
                num_heads=cell.heads, kernel_init=xavier, deterministic=True
            )
            x = x + attention(y, y)
            y = nn.Dense(cell.mlp_dim, **dense_settings)(nn.LayerNorm()(x))
            return x + nn.Dense(cell.width, **dense_settings)(nn.gelu(y))

    class Vit(nn.Module):
        @nn.compact
        def __call__(self, images: Any) -> Any:
            patch = (cell.patch, cell.patch)
            x = nn.Conv(cell.width, patch, strides=patch, padding="VALID")(images)
            x = x.reshape(len(x), -1, cell.width)
            positions = nn.initializers.normal(stddev=cell.width**-0.5)
            x = x + self.param("pos_embedding", positions, (1, x.shape[1], cell.width))
            for _ in range(cell.depth):
                x = Block()(x)
            x = jnp.mean(nn.LayerNorm()(x), axis=1)
            return nn.Dense(cell.classes, kernel_init=nn.initializers.zeros)(x)

    return Vit()


if __name__ == "__main__":
    serve(prepare)
