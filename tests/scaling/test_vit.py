"""The real module against the closed forms: parameters, FLOPs, and two ways to lay out its blocks."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp

from vitscale.scaling.models.initial import POSITION_STD, draw_parameters
from vitscale.scaling.models.vit import Vit, merge_vit, patches, split_vit
from vitscale.scaling.shape import Shape, named_shape

SMALL = Shape(width=32, depth=3, mlp_dim=56, heads=4, patch=4)
READOUTS = ("gap", "map", "tok")
HEAD_BIAS = -10.0


def drawn(shape: Shape, *, key: int = 0, **settings) -> Vit:
    """A model with its parameters drawn."""
    graph, params = split_vit(Vit(shape, **settings))
    return merge_vit(graph, draw_parameters(params, jax.random.key(key), head_bias=HEAD_BIAS))


def count(vit) -> int:
    return sum(x.size for x in jax.tree.leaves(nnx.state(vit, nnx.Param)))


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["Ti/16", "B/32", "So400m/14"])
@pytest.mark.parametrize("layout", ["unrolled", "scanned"])
def test_parameters_equal_the_closed_form(name, readout, layout):
    shape = named_shape(name)
    vit = nnx.eval_shape(
        lambda: Vit(
            shape,
            image_size=224,
            readout=readout,
            classes=10,
            layout=layout,
        )
    )
    assert count(vit) == shape.params(image_size=224, readout=readout, classes=10)


@settings(max_examples=8)
@given(
    heads=st.integers(1, 5),
    head_dim=st.integers(3, 20),
    depth=st.integers(1, 3),
    mlp_dim=st.integers(5, 90),
    patch=st.sampled_from([2, 4, 5]),
    readout=st.sampled_from(READOUTS),
    classes=st.sampled_from([0, 11]),
    channels=st.sampled_from([1, 3]),
)
def test_forward_flops_equal_xla(
    heads, head_dim, depth, mlp_dim, patch, readout, classes, channels
):
    shape = Shape(width=heads * head_dim, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=patch)
    vit = Vit(
        shape,
        image_size=17,
        channels=channels,
        readout=readout,
        classes=classes,
    )
    graph, params = split_vit(vit)

    def forward(params, images):
        vit = merge_vit(graph, params)
        return vit(images) if classes else vit.features(images)

    images = jnp.zeros((1, 17, 17, channels))
    cost: Any = jax.jit(forward).lower(params, images).cost_analysis()
    counted = cost["flops"]
    closed = shape.forward_flops(
        image_size=17, readout=readout, classes=classes, channels=channels, counting="xla"
    )
    # XLA's own count rounds the 1/sqrt(head_dim) of a pooled query by a FLOP or two.
    assert abs(counted - closed) <= (3 if readout == "map" else 0)


@pytest.mark.parametrize("readout", READOUTS)
def test_scanned_and_unrolled_are_the_same_function(readout):
    images = jax.random.normal(jax.random.key(1), (5, 16, 16, 3))
    unrolled, scanned = (
        drawn(SMALL, image_size=16, readout=readout, classes=6, layout=layout)
        for layout in ("unrolled", "scanned")
    )
    weights = jax.random.normal(jax.random.key(2), (SMALL.width, 6))
    for vit in (unrolled, scanned):  # a zero classifier would make any two models agree
        nnx.update(vit.head, {"kernel": weights})
    np.testing.assert_allclose(unrolled(images), scanned(images), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("layout", ["unrolled", "scanned"])
def test_rematerialisation_computes_again_what_it_should(layout):
    """Nothing, the two products of attention, or those and query, key, value, out and up.

    The last dense layer of a block is needed only by what comes after it.
    """
    images = jnp.zeros((2, 8, 8, 3))
    shape = Shape(width=8, depth=1, mlp_dim=12, heads=2, patch=4)
    products = []
    for remat in ("none", "dots", "full"):
        graph, params = split_vit(Vit(shape, image_size=8, layout=layout, remat=remat))

        def loss(params, graph=graph):
            return merge_vit(graph, params).features(images).sum()

        program = jax.jit(jax.grad(loss)).lower(params).as_text()
        products.append(program.count("stablehlo.dot_general"))
    assert [count - products[0] for count in products] == [0, 2, 7]


def test_bfloat16_computes_the_same_to_its_precision():
    images = jax.random.normal(jax.random.key(1), (5, 16, 16, 3))
    full, half = (
        drawn(SMALL, image_size=16, dtype=dtype).features(images)
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(full, half.astype(jnp.float32), atol=0.1)


def test_patches_are_read_row_by_row():
    images = jnp.arange(2 * 7 * 6 * 2).reshape(2, 7, 6, 2)
    cut = np.asarray(patches(images, 3))
    for row in range(2):
        for column in range(2):
            expected = images[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            np.testing.assert_array_equal(cut[:, 2 * row + column], expected.reshape(2, -1))


def test_a_model_starts_knowing_nothing():
    images = jax.random.normal(jax.random.key(1), (3, 16, 16, 3))
    vit = drawn(SMALL, image_size=16, classes=6)
    np.testing.assert_array_equal(vit(images), -10.0)


def test_drawn_parameters_have_the_sizes_they_should():
    shape = Shape(width=96, depth=2, mlp_dim=160, heads=4, patch=4)
    params: Any = split_vit(drawn(shape, image_size=32, readout="map", classes=3))[1]
    up = params["blocks"][1]["mlp"]["up"]["kernel"]
    # Glorot and Bengio 2010: variance 2 / (inputs + outputs), for a uniform on a symmetric range.
    assert float(up.std()) == pytest.approx((2 / (96 + 160)) ** 0.5, rel=0.02)
    assert float(jnp.abs(up).max()) == pytest.approx((6 / (96 + 160)) ** 0.5, rel=0.01)
    assert float(params["position"].std()) == pytest.approx(POSITION_STD, rel=0.03)
    first, second = (params["blocks"][i]["attention"]["query"]["kernel"] for i in (0, 1))
    assert not np.array_equal(first, second)
    assert float(params["final_norm"]["scale"].min()) == 1.0
    np.testing.assert_array_equal(params["head"]["kernel"], 0.0)
