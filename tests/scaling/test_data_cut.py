"""Crops, resizing and what varies images, against Pillow, numpy and the papers' definitions."""

import math
import random

import numpy as np
import pytest
from data_samples import photo_tiles, recipe
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images

from vitscale.scaling.data.boxes import Boxes, central, inception, whole
from vitscale.scaling.data.randaugment import OPERATIONS, randaugmented
from vitscale.scaling.data.resize import resized
from vitscale.scaling.data.vary import varied

BYTES = np.random.default_rng(0).integers(0, 256, (6, 24, 20, 3), np.uint8)


def pillow(pixels: np.ndarray, box: tuple[float, ...], size: int) -> np.ndarray:
    left, top, width, height = box
    part = (left, top, left + width, top + height)
    return np.asarray(
        Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=part)
    )


@given(
    st.integers(1, 40),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=6, max_size=6),
)
def test_parts_are_resized_as_pillow_does(size, corners):
    left, top, width, height = np.array(corners).T
    width, height = 0.5 + width * 19.5, 0.5 + height * 23.5
    boxes = Boxes(left * (20 - width), top * (24 - height), width, height)
    ours = resized(BYTES, boxes, size)
    for pixels, result, *box in zip(BYTES, ours, *boxes, strict=True):
        theirs = pillow(pixels, tuple(box), size)
        # Pillow rounds between its passes and has weights of 8 bits and a half.
        assert np.abs(theirs.astype(int) - result).max() <= 1


def test_a_whole_image_at_its_size_stays_as_it_is():
    square = BYTES[:, :20]
    sides = np.full(6, 20)
    np.testing.assert_array_equal(resized(square, whole(sides, sides), 20), square)


@given(
    st.integers(0, 100),
    st.integers(1, 500),
    st.integers(1, 500),
    st.floats(0.01, 1),
)
def test_parts_lie_inside_and_have_the_area_and_shape_asked_for(seed, height, width, min_area):
    heights, widths = np.full(64, height), np.full(64, width)
    boxes = inception(seed, np.arange(64), heights, widths, min_area=min_area)
    assert (boxes.left >= 0).all() and (boxes.left + boxes.width <= width).all()
    assert (boxes.top >= 0).all() and (boxes.top + boxes.height <= height).all()
    partial = (boxes.width < width) | (boxes.height < height)
    w, h = boxes.width[partial], boxes.height[partial]
    # Sides are rounded by up to half a pixel.
    assert ((w + 0.5) * (h + 0.5) >= min_area * height * width * (1 - 1e-9)).all()
    assert ((w + 0.5) / np.maximum(h - 0.5, 1e-9) >= 3 / 4).all()
    assert (np.maximum(w - 0.5, 0) / (h + 0.5) <= 4 / 3).all()


def test_parts_are_distributed_as_by_the_definition():
    """Against drawing one number after the other, until a part fits."""
    height, width, count = 300, 200, 4000
    rng, drawn = random.Random(0), []
    while len(drawn) < count:
        area = rng.uniform(0.05, 1) * height * width
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            drawn.append((rng.randint(0, width - w), rng.randint(0, height - h), w, h))
    boxes = inception(
        1, np.arange(count), np.full(count, height), np.full(count, width), min_area=0.05
    )
    for ours, theirs in zip(boxes, np.array(drawn).T, strict=True):
        assert np.asarray(stats.ks_2samp(ours, theirs))[1] > 1e-3


def test_an_image_that_no_part_fits_is_taken_whole():
    boxes = inception(0, np.arange(50), np.full(50, 2), np.full(50, 400), min_area=0.5)
    assert set(zip(*boxes, strict=True)) == {(0, 0, 400, 2)}


@pytest.mark.parametrize(("size", "ratio"), [(28, 0.875), (32, 1.0), (20, 0.625), (16, 0.5)])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (120, 80), (64, 64), (32, 48)])
def test_the_central_crop_is_that_of_two_steps(size, ratio, height, width):
    """Resizing the short side (here to 32 pixels) and then cutting, as the papers do."""
    tile = load_sample_images().images[1][100 : 100 + height, 200 : 200 + width]
    scaled = (width * 32 // min(height, width), height * 32 // min(height, width))
    image = Image.fromarray(tile).resize(scaled, Image.Resampling.BILINEAR)
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    theirs = np.asarray(image.crop((left, top, left + size, top + size)))
    box = central(np.array([height]), np.array([width]), image_size=size, crop_ratio=ratio)
    assert np.abs(theirs.astype(int) - resized(tile[None], box, size)[0]).max() <= 1


def test_padded_crops_are_windows_of_the_mirrored_image():
    images = BYTES[:, :20]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    shifts = set()
    for places in np.arange(300).reshape(50, 6):
        shifted = varied(recipe(image_size=20, channels=3, crop="pad"), places, images)
        for number in range(6):
            windows = {
                (top, left): padded[number, top : top + 20, left : left + 20]
                for top in range(5)
                for left in range(5)
            }
            matches = [at for at, w in windows.items() if np.array_equal(w, shifted[number])]
            assert len(matches) == 1
            shifts |= set(matches)
    assert len(shifts) == 25


def test_half_of_the_images_are_flipped():
    images = np.repeat(BYTES[:1], 2000, 0)
    flipped = varied(recipe(image_size=24, channels=3, flip=True), np.arange(2000), images)
    same, mirrored = (
        (flipped == images).all((1, 2, 3)),
        (flipped == images[:, :, ::-1]).all((1, 2, 3)),
    )
    assert (same ^ mirrored).all()
    assert 900 < mirrored.sum() < 1100


# The tables of the papers' TensorFlow version, written again for numpy, of which all but
# rotations and enhancements are exact.
def _affine(pixels: np.ndarray, column_of, row_of) -> np.ndarray:
    size = pixels.shape[0]
    y, x = np.mgrid[:size, :size] + 0.5
    columns, rows = np.floor(column_of(x, y)).astype(int), np.floor(row_of(x, y)).astype(int)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    moved = pixels[rows.clip(0, size - 1), columns.clip(0, size - 1)]
    return np.where(inside[..., None], moved, 128)


def _cutout(pixels: np.ndarray, m: float, y: float, x: float) -> np.ndarray:
    size, half = pixels.shape[0], int(m / 10 * 40 * pixels.shape[0] / 224)
    rows, columns = np.mgrid[:size, :size]
    row, column = int(y * size), int(x * size)
    near = (rows >= row - half) & (rows < row + half)
    near &= (columns >= column - half) & (columns < column + half)
    return np.where(near[..., None], 128, pixels)


BY_HAND = {
    2: lambda p, m, d: 255 - p,
    4: lambda p, m, d: p >> (8 - min(int(m / 10 * 4), 8)) << (8 - min(int(m / 10 * 4), 8)),
    5: lambda p, m, d: np.where(p < int(m / 10 * 256), p, 255 - p),
    8: lambda p, m, d: np.clip(np.floor(p * np.float32(m / 10 * 1.8 + 0.1)), 0, 255),
    10: lambda p, m, d: _affine(p, lambda x, y: x + d * m / 10 * 0.3 * y, lambda x, y: y),
    11: lambda p, m, d: _affine(p, lambda x, y: x, lambda x, y: y + d * m / 10 * 0.3 * x),
    12: lambda p, m, d: _affine(p, lambda x, y: x + d * m / 10 * 100, lambda x, y: y),
    13: lambda p, m, d: _affine(p, lambda x, y: x, lambda x, y: y + d * m / 10 * 100),
    15: lambda p, m, d: np.where(p < 128, np.minimum(p + int(m / 10 * 110), 255), p),
}


@pytest.mark.parametrize("number", BY_HAND)
@pytest.mark.parametrize("magnitude", [0, 3, 10, 17])
@pytest.mark.parametrize("sign", [1, -1])
def test_operations_are_those_of_the_papers(number, magnitude, sign):
    tile = photo_tiles(1)["china"][0]
    pixels = np.asarray(Image.fromarray(tile).resize((224, 224)))
    draws = (0.2 if sign > 0 else 0.7, 0.0, 0.0)
    ours = np.asarray(OPERATIONS[number](Image.fromarray(pixels), magnitude / 10, draws))
    by_hand = BY_HAND[number](pixels.astype(int), magnitude, sign)
    # A pixel in a thousand may fall to the other side of a rounding.
    assert np.mean(np.abs(ours.astype(int) - by_hand) > 1) < 2e-3


@pytest.mark.parametrize("magnitude", [0, 10, 20])
def test_cutout_greys_a_square(magnitude):
    pixels = np.repeat(BYTES[0, :20], 5, 0).repeat(5, 1)
    ours = np.asarray(OPERATIONS[14](Image.fromarray(pixels), magnitude / 10, (0.3, 0.9, 0.0)))
    np.testing.assert_array_equal(ours, _cutout(pixels, magnitude, 0.9, 0.3))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_operations_are_drawn_alike_and_keep_size_and_kind(channels):
    images = BYTES[:, :20, :, :channels].repeat(20, 0)
    places = np.arange(len(images))
    once = randaugmented(images, 0, places, layers=2, magnitude=9)
    assert once.shape == images.shape and once.dtype == np.uint8
    # By example, whatever else is in the batch.
    again = randaugmented(images[50:60], 0, places[50:60], layers=2, magnitude=9)
    np.testing.assert_array_equal(once[50:60], again)
    assert len({image.tobytes() for image in once}) > 80


def test_there_are_sixteen_operations():
    assert len(OPERATIONS) == 16
