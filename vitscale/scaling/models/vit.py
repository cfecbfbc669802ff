"""The Vision Transformer in Flax NNX: the same function as big_vision's and timm's.

Pre-norm blocks, learned positions, biases everywhere, tanh GELU, LayerNorm with epsilon 1e-6, and a
readout by mean ("gap"), attention pooling ("map") or class token ("tok"). Query, key and value have
separate 2-D projections, which measure 10-13 % faster on CPU than a fused one.

`split_vit` builds a model and splits it once into a pure function and a pytree of parameters; training
works on those under `jax.jit`, because an `nnx.jit` step costs Python time that grows with depth.
"""

from collections.abc import Callable
from typing import Literal, assert_never

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from vitscale.scaling.execution import AttentionKernel, Remat
from vitscale.scaling.models.attention import attend
from vitscale.scaling.models.layers import DENSE_RESULT, Dense, gelu, norm
from vitscale.scaling.models.noise import (
    PLACES_OF_BLOCK,
    BlockNoise,
    draw_words,
    drop_elements,
    drop_examples,
    linear_drop_rates,
)
from vitscale.scaling.shape import Readout, Shape

BlockLayout = Literal["unrolled", "scanned"]
"""Unrolled blocks run faster for shallow nets on CPU; scanned ones keep compile time flat in depth."""


_UNROLL_UP_TO_DEPTH = 16
"""On CPU an unrolled step is 5-25 % faster at every depth, but compiles longer by half a second for each
block, which 430-1,400 steps make up for (docs/speed.md); deeper nets keep the time to compile flat."""


def default_layout(shape: Shape, backend: str) -> BlockLayout:
    """Unrolled for shallow nets on CPU, else scanned, with the time to compile counted."""
    shallow = shape.depth <= _UNROLL_UP_TO_DEPTH
    return "unrolled" if backend == "cpu" and shallow else "scanned"


class Attention(nnx.Module):
    """Multi-head attention of `queries` to `tokens`, both of shape (batch, ., width)."""

    def __init__(self, width: int, heads: int, *, kernel: AttentionKernel, dtype):
        self.heads = heads
        self.kernel: AttentionKernel = kernel
        self.query = Dense(width, width, dtype)
        self.key = Dense(width, width, dtype)
        self.value = Dense(width, width, dtype)
        self.out = Dense(width, width, dtype)

    def __call__(self, queries: Array, tokens: Array) -> Array:
        query, key, value = self.query(queries), self.key(tokens), self.value(tokens)
        return self.out(attend(query, key, value, self.heads, self.kernel))


class Mlp(nnx.Module):
    """Two dense layers with a tanh GELU between: (batch, ., width) to the same."""

    def __init__(self, width: int, mlp_dim: int, *, dtype):
        self.up = Dense(width, mlp_dim, dtype)
        self.down = Dense(mlp_dim, width, dtype)

    def __call__(self, x: Array, drop_hidden: Callable[[Array], Array] = lambda x: x) -> Array:
        return self.down(drop_hidden(gelu(self.up(x))))


class Block(nnx.Module):
    """Pre-norm encoder block: x + attention(norm(x)), then x + mlp(norm(x)).

    `noise` drops elements at rate `dropout` after every dense layer but query, key and value (An Image
    is Worth 16x16 Words, Appendix B.1), and whole branches at the rate that it brings.
    """

    def __init__(self, shape: Shape, *, attention: AttentionKernel, dtype):
        self.attention_norm = norm(shape.width, dtype)
        self.attention = Attention(shape.width, shape.heads, kernel=attention, dtype=dtype)
        self.mlp_norm = norm(shape.width, dtype)
        self.mlp = Mlp(shape.width, shape.mlp_dim, dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        noise: BlockNoise | None = None,
        dropout: float = 0.0,
    ) -> Float[Array, "batch tokens width"]:
        normed = self.attention_norm(x)
        if noise is None:
            x = x + self.attention(normed, normed)
            return x + self.mlp(self.mlp_norm(x))
        after_attention, hidden, after_mlp, attention_branch, mlp_branch = noise.words
        y = drop_elements(self.attention(normed, normed), dropout, after_attention)
        x = x + drop_examples(y, noise.drop_rate, attention_branch)
        y = self.mlp(self.mlp_norm(x), lambda h: drop_elements(h, dropout, hidden))
        y = drop_elements(y, dropout, after_mlp)
        return x + drop_examples(y, noise.drop_rate, mlp_branch)


class MapReadout(nnx.Module):
    """Multi-head attention pooling by one learned probe, then an MLP with a residual.

    Scaling Vision Transformers (arXiv 2106.04560), Section 3.2.
    """

    def __init__(self, shape: Shape, *, attention: AttentionKernel, dtype):
        self.probe = nnx.Param(jnp.zeros((1, 1, shape.width)))
        self.attention = Attention(shape.width, shape.heads, kernel=attention, dtype=dtype)
        self.norm = norm(shape.width, dtype)
        self.mlp = Mlp(shape.width, shape.mlp_dim, dtype=dtype)

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        probe = jnp.broadcast_to(self.probe[...], (tokens.shape[0], 1, tokens.shape[-1]))
        pooled = self.attention(probe.astype(tokens.dtype), tokens)
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]


class Vit(nnx.Module):
    """A Vision Transformer that maps images to features and, with `classes`, to logits.

    - `shape`, `readout`, `image_size`, `channels`: as counted by `Shape.params`.
    - `classes`: outputs of the linear classifier; 0 leaves it out.
    - `layout`: whether the blocks are unrolled or scanned; the function is the same.
    - `remat`: what blocks compute again for their gradient, to save memory; the function is the same.
    - `attention`: the kernel of the blocks' attention.
    - `dtype`: of the computation; parameters stay float32.

    A new model has zeros for kernels: `models/initial.py` draws the parameters to start from, or
    they are loaded.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        image_size: int,
        channels: int = 3,
        readout: Readout = "gap",
        classes: int = 0,
        layout: BlockLayout = "unrolled",
        remat: Remat = "none",
        attention: AttentionKernel = "auto",
        dtype=jnp.float32,
    ):
        self.patch, self.readout_kind = shape.patch, readout
        self.depth = shape.depth
        self.remat: Remat = remat
        self.embedding = Dense(channels * shape.patch**2, shape.width, dtype)
        self.position = nnx.Param(jnp.zeros((1, shape.tokens(image_size), shape.width)))
        if readout == "tok":
            self.class_token = nnx.Param(jnp.zeros((1, 1, shape.width)))
        self.blocks = _stack_blocks(shape, layout=layout, attention=attention, dtype=dtype)
        self.final_norm = norm(shape.width, dtype)
        if readout == "map":
            self.readout = MapReadout(shape, attention=attention, dtype=dtype)
        if classes:
            self.head = Dense(shape.width, classes, jnp.float32)

    def features(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        noise: Key[Array, ""] | None = None,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> Float[Array, "batch features"]:
        """Frozen-feature view: what few-shot probes read (the input of the classifier).

        - `noise`: the random key of dropout and stochastic depth, in training; None to evaluate.
        - `dropout`: rate after the positions and after every dense layer of the blocks but query, key
          and value.
        - `stochastic_depth`: rate at which the branches of the last block are dropped; it rises
          linearly from 0 in the first.

        Raises `ValueError` where a rate is given without `noise`.
        """
        _check_noise(noise, dropout=dropout, stochastic_depth=stochastic_depth)
        x = self.embedding(patches(images, self.patch)) + self.position[...]
        blocks_noise = None
        if noise is not None and (dropout or stochastic_depth):
            words = draw_words(noise, 1 + self.depth * PLACES_OF_BLOCK)
            x = drop_elements(x, dropout, words[0])
            blocks_noise = BlockNoise(
                words[1:].reshape(self.depth, PLACES_OF_BLOCK, 2),
                linear_drop_rates(self.depth, stochastic_depth),
            )
        if self.readout_kind == "tok":
            token = jnp.broadcast_to(self.class_token[...], (len(x), 1, x.shape[-1]))
            x = jnp.concatenate([token.astype(x.dtype), x], axis=1)
        x = self.final_norm(self._run_blocks(x, blocks_noise, dropout))
        match self.readout_kind:
            case "gap":
                return x.mean(axis=1)
            case "tok":
                return x[:, 0]
            case "map":
                return self.readout(x)
            case kind:
                raise ValueError(f"readout={kind!r} is unknown; choose from gap, map, tok")

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        noise: Key[Array, ""] | None = None,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> Float[Array, "batch classes"]:
        """Logits, in float32; arguments as those of `features`."""
        features = self.features(
            images, noise=noise, dropout=dropout, stochastic_depth=stochastic_depth
        )
        return self.classify(features)

    def classify(self, features: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Logits of features, in float32."""
        return self.head(features.astype(jnp.float32))

    def _run_blocks(self, x: Array, noise: BlockNoise | None, dropout: float) -> Array:
        def run(graph: nnx.GraphDef):
            def block(x: Array, params: PyTree[Array], noise: BlockNoise | None) -> Array:
                return nnx.merge(graph, params)(x, noise, dropout)

            return _rematerialized(block, self.remat)

        if isinstance(self.blocks, nnx.List):
            for index, block in enumerate(self.blocks):
                of_block = jax.tree.map(lambda leaf, i=index: leaf[i], noise)
                x = run(nnx.graphdef(block))(x, nnx.state(block), of_block)
            return x
        block = run(nnx.graphdef(self.blocks))
        step = lambda x, layer: (block(x, *layer), None)  # noqa: E731
        return jax.lax.scan(step, x, (nnx.state(self.blocks), noise))[0]


def _stack_blocks(
    shape: Shape, *, layout: BlockLayout, attention: AttentionKernel, dtype
) -> nnx.List[Block] | Block:
    """Blocks as a list, or as one block whose parameters have a leading depth axis."""

    def build(_: object) -> Block:
        return Block(shape, attention=attention, dtype=dtype)

    if layout == "scanned":
        return nnx.vmap(build)(jnp.arange(shape.depth))
    return nnx.List([build(index) for index in range(shape.depth)])


def _rematerialized(block: Callable[..., Array], remat: Remat) -> Callable[..., Array]:
    match remat:
        case "none":
            return block
        case "dots":
            policy = jax.checkpoint_policies.save_only_these_names(DENSE_RESULT)
            return jax.checkpoint(block, policy=policy)
        case "full":
            return jax.checkpoint(block)
        case _:
            assert_never(remat)


def _check_noise(noise: Key[Array, ""] | None, **rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"{name}={rate!r} is not a rate; expected a number from 0 to 1")
        if rate and noise is None:
            raise ValueError(
                f"{name}={rate!r} needs random numbers; give a key as noise, or leave the rate at 0 "
                f"to evaluate"
            )


def patches(
    images: Float[Array, "batch height width channels"], patch: int
) -> Float[Array, "batch tokens pixels"]:
    """Cut images into flattened square patches, row by row; what does not fill a patch is cut off."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    x = images[:, : rows * patch, : columns * patch]
    x = x.reshape(batch, rows, patch, columns, patch, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, patch * patch * channels)


def split_vit(vit: Vit) -> tuple[nnx.GraphDef, PyTree[Array]]:
    """Split a model, once, into its static definition and its parameters as nested dicts of arrays.

    `merge_vit` puts them together again, inside a jitted function or out of it.
    """
    graph, params = nnx.split(vit)
    return graph, nnx.to_pure_dict(params)


def merge_vit(graph: nnx.GraphDef, params: PyTree[Array]) -> Vit:
    """The model with these parameters; the inverse of `split_vit`."""
    return nnx.merge(graph, params)
