"""Positions and patch kernels for other sizes, against Pillow, a brute force and the definitions."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from PIL import Image
from scipy.ndimage import gaussian_filter

from vitscale.scaling.models.resize import resize_params, resize_patch_kernel, resize_positions
from vitscale.scaling.models.vit import Vit, merge_vit, patches, split_vit
from vitscale.scaling.models.weights import VitSpec, Weights, parameter_sizes, params_from_weights
from vitscale.scaling.shape import Shape

SHAPE = Shape(width=24, depth=2, mlp_dim=40, heads=2, patch=4)


def field(side: int, width: int = 3, seed: int = 0) -> np.ndarray:
    numbers = np.random.default_rng(seed).standard_normal((1, side * side, width))
    return numbers.astype(np.float32)


def keys_cubic(distance: float) -> float:
    """Keys 1981, eq. (15): the cubic kernel with a = -1/2."""
    s = abs(distance)
    if s < 1:
        return 1.5 * s**3 - 2.5 * s**2 + 1
    return -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2 if s < 2 else 0.0


def brute_force(positions: np.ndarray, to_side: int) -> np.ndarray:
    """Every new position as its own weighted mean over the whole grid; nothing is separated."""
    side = int(len(positions[0]) ** 0.5)
    centres = (np.arange(to_side) + 0.5) * side / to_side - 0.5
    resized = []
    for row in centres:
        for column in centres:
            weights = np.array(
                [
                    keys_cubic(row - r) * keys_cubic(column - c)
                    for r in range(side)
                    for c in range(side)
                ]
            )
            resized.append(weights @ positions[0] / weights.sum())
    return np.array(resized)[None]


@pytest.mark.parametrize(("side", "to_side"), [(14, 24), (14, 10), (5, 1), (1, 3)])
def test_positions_equal_a_brute_force(side, to_side):
    positions = field(side)
    resized = resize_positions(positions, to_side)
    np.testing.assert_allclose(resized, brute_force(positions, to_side), atol=1e-5)


@pytest.mark.parametrize(("side", "to_side"), [(14, 24), (3, 11)])
def test_enlarged_positions_equal_pillows(side, to_side):
    # Pillow has the same cubic kernel; shrinking, it always antialiases.
    positions = field(side, width=1)
    image = Image.fromarray(positions.reshape(side, side))
    expected = np.asarray(image.resize((to_side, to_side), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(
        np.asarray(resize_positions(positions, to_side)).reshape(to_side, to_side),
        expected,
        atol=1e-5,
    )


def test_positions_of_the_same_grid_stay_bit_for_bit():
    positions = field(14)
    np.testing.assert_array_equal(resize_positions(positions, 14), positions)


@pytest.mark.parametrize("to_side", [24, 10])
def test_a_constant_stays_and_a_slope_goes_on(to_side):
    constant = np.full((1, 14 * 14, 2), 0.7, np.float32)
    np.testing.assert_allclose(resize_positions(constant, to_side), 0.7, rtol=1e-6)
    rows, columns = np.mgrid[:14, :14].astype(np.float32)
    slope = (2 * rows - columns).reshape(1, -1, 1)
    rows, columns = (np.mgrid[:to_side, :to_side] + 0.5) * 14 / to_side - 0.5
    inside = (np.minimum(rows, columns) >= 1) & (np.maximum(rows, columns) <= 12)
    resized = np.asarray(resize_positions(slope, to_side)).reshape(to_side, to_side)
    np.testing.assert_allclose(resized[inside], (2 * rows - columns)[inside], atol=2e-5)


def smooth_field(sigma: float) -> np.ndarray:
    """14 x 14 positions whose values vary over `sigma` patches; drawn larger, so that no edge shows."""
    grid = np.random.default_rng(0).standard_normal((40, 40, 256))
    smoothed = gaussian_filter(grid, (sigma, sigma, 0)) if sigma else grid
    return smoothed[13:27, 13:27].reshape(1, 196, 256).astype(np.float32)


# How the mean norm of positions changes: Keys's cubic kernel gives 0.829 on independent ones by its own
# algebra (the mean over offsets of its sum of squares, 0.8286 a plane). Bilinear gives 0.68 there.
@pytest.mark.parametrize(
    ("sigma", "to_side", "ratio"), [(0, 24, 0.82), (1, 24, 0.987), (2, 24, 0.999), (0, 10, 0.79)]
)
def test_norms_are_about_kept(sigma, to_side, ratio):
    positions = smooth_field(sigma)
    norms = [
        np.linalg.norm(grid[0], axis=-1).mean()
        for grid in (positions, np.asarray(resize_positions(positions, to_side)))
    ]
    assert norms[1] / norms[0] == pytest.approx(ratio, abs=0.012)


def bilinear(images: np.ndarray, size: int) -> np.ndarray:
    """Images enlarged by Pillow, channel by channel."""
    planes = [
        [
            np.asarray(
                Image.fromarray(image[..., c]).resize((size, size), Image.Resampling.BILINEAR)
            )
            for c in range(image.shape[-1])
        ]
        for image in images
    ]
    return np.array(planes).transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("old", "new", "channels"), [(8, 16, 1), (7, 10, 3), (4, 4, 3), (1, 5, 2)])
def test_enlarged_patches_have_the_same_embedding(old, new, channels):
    # FlexiViT, eq. (3): <x, w> = <B x, w'>, for every patch x.
    random = np.random.default_rng(old)
    seen = random.standard_normal((6, old, old, channels)).astype(np.float32)
    kernel = random.standard_normal((old * old * channels, 5)).astype(np.float32)
    resized = resize_patch_kernel(kernel, from_patch=old, to_patch=new, channels=channels)
    embedded = bilinear(seen, new).reshape(6, -1) @ np.asarray(resized)
    np.testing.assert_allclose(embedded, seen.reshape(6, -1) @ kernel, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("old", "new"), [(16, 8), (7, 5)])
def test_shrunk_kernels_are_the_least_squares_ones(old, new):
    # FlexiViT, eq. (4), over white noise: the mean of (<x, w> - <B x, w'>)^2 is |w - B' w'|^2.
    kernel = np.random.default_rng(0).standard_normal((old * old, 3)).astype(np.float32)
    basis = np.eye(old * old, dtype=np.float32).reshape(-1, old, old)
    resize = jax.image.resize(basis, (old * old, new, new), "linear", antialias=False)
    transposed = np.asarray(resize, np.float64).reshape(old * old, new * new)
    expected = np.linalg.lstsq(transposed, kernel, rcond=None)[0]
    resized = resize_patch_kernel(kernel, from_patch=old, to_patch=new, channels=1)
    np.testing.assert_allclose(resized, expected, atol=1e-4)


def random_params(spec: VitSpec, layout: Any) -> Any:
    random = np.random.default_rng(0)
    arrays = {
        name: random.standard_normal(size).astype(np.float32) * 0.2
        for name, size in parameter_sizes(spec).items()
    }
    return params_from_weights(Weights(spec=spec, arrays=arrays), layout=layout)


@pytest.mark.parametrize(
    ("readout", "layout"), [("gap", "unrolled"), ("map", "scanned"), ("tok", "unrolled")]
)
def test_a_model_for_larger_patches_sees_the_same_in_an_enlarged_image(readout, layout):
    spec = VitSpec(shape=SHAPE, image_size=12, readout=readout, classes=5)
    larger = VitSpec(
        shape=Shape(width=24, depth=2, mlp_dim=40, heads=2, patch=6),
        image_size=18,
        readout=readout,
        classes=5,
    )
    params = random_params(spec, layout)
    images = np.random.default_rng(1).standard_normal((2, 12, 12, 3)).astype(np.float32)
    # Patch by patch, as a whole image would be enlarged across the edges of patches.
    cut = np.asarray(patches(jnp.asarray(images), 4)).reshape(2, 3, 3, 4, 4, 3)
    enlarged = bilinear(cut.reshape(-1, 4, 4, 3), 6).reshape(2, 3, 3, 6, 6, 3)
    enlarged = enlarged.transpose(0, 1, 3, 2, 4, 5).reshape(2, 18, 18, 3)
    logits = []
    for of, tree, seen in (
        (spec, params, images),
        (larger, resize_params(params, spec, larger), enlarged),
    ):
        vit = Vit(of.shape, image_size=of.image_size, readout=readout, classes=5, layout=layout)
        graph = split_vit(vit)[0]
        logits.append(jax.jit(lambda tree, x, graph=graph: merge_vit(graph, tree)(x))(tree, seen))
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)


def test_only_positions_change_with_the_image_size():
    spec = VitSpec(shape=SHAPE, image_size=16, readout="tok", classes=5)
    larger = VitSpec(shape=SHAPE, image_size=27, readout="tok", classes=5)
    params = random_params(spec, "unrolled")
    resized: Any = resize_params(params, spec, larger)
    assert resized["position"].shape == (1, 36, 24)
    np.testing.assert_array_equal(resized["position"], resize_positions(params["position"], 6))
    for tree in (params, resized):
        tree.pop("position")
    same = jax.tree.map(np.array_equal, params, resized)
    assert all(jax.tree.leaves(same)) and "class_token" in resized


def test_resizing_works_inside_a_jitted_function():
    spec = VitSpec(shape=SHAPE, image_size=16)
    patch_8 = VitSpec(shape=Shape(width=24, depth=2, mlp_dim=40, heads=2, patch=8), image_size=48)
    params = random_params(spec, "scanned")
    outside: Any = resize_params(params, spec, patch_8)
    inside: Any = jax.jit(lambda params: resize_params(params, spec, patch_8))(params)
    np.testing.assert_allclose(
        inside["embedding"]["kernel"], outside["embedding"]["kernel"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resize_positions(np.zeros((1, 197, 4)), 20), "197 positions are no square grid"),
        (lambda: resize_positions(np.zeros((1, 0, 4)), 20), "0 positions are no square grid"),
        (lambda: resize_positions(np.zeros((1, 4, 4)), 0), "to_side=0 is not a size"),
        (
            lambda: resize_patch_kernel(np.zeros((48, 4)), from_patch=4, to_patch=8, channels=1),
            "the kernel has 48 pixels, but from_patch=4 and channels=1 make 16",
        ),
        (
            lambda: resize_patch_kernel(np.zeros((48, 4)), from_patch=4, to_patch=True, channels=3),
            "to_patch=True is not a size",
        ),
        (
            lambda: resize_params(
                {},
                VitSpec(shape=SHAPE, image_size=16),
                VitSpec(shape=SHAPE, image_size=32, classes=3),
            ),
            "in more than image size and patch",
        ),
    ],
)
def test_refusals_say_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
