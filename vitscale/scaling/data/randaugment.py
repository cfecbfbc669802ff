"""RandAugment as the papers ran it: operations in sequence, each drawn from sixteen, at one magnitude.

E. Cubuk et al., RandAugment, 2019 (arXiv 1909.13719), in the TensorFlow version that AugReg used, whose
magnitudes run from 0 to 10 and beyond, and where magnitude 0 is not the identity. Differences: lengths
in pixels (cutout 40, translation 100, made for 224 pixels) shrink with the image; `contrast` mixes with
the mean grey, where that version divides the number of pixels by 256 in its place; bits stay within 8.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageEnhance, ImageOps

from vitscale.scaling.data.decode import MODES
from vitscale.scaling.data.draws import uniforms

_GREY = 128
_DRAWS_A_LAYER = 4
_FIRST_DRAW = 64  # beyond those of crops, shifts and flips (`boxes.py`)

Operation = Callable[[Image.Image, float, tuple[float, float, float]], Image.Image]
"""An image, the magnitude over 10, and three uniform draws, to the image changed."""


def randaugmented(
    images: UInt8[np.ndarray, "n size size channels"],
    seed: int,
    examples: Int[np.ndarray, " n"],
    *,
    layers: int,
    magnitude: int,
) -> UInt8[np.ndarray, "n size size channels"]:
    """Each image after `layers` operations drawn for its example, grey (1 channel) or colour (3)."""
    draws = uniforms(seed, examples, _FIRST_DRAW, layers * _DRAWS_A_LAYER)
    changed = np.empty_like(images)
    mode = MODES[images.shape[-1]]
    for number, pixels in enumerate(images):
        image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels)
        for chance, *rest in draws[number].reshape(layers, _DRAWS_A_LAYER):
            operation = OPERATIONS[int(chance * len(OPERATIONS))]
            image = operation(image, magnitude / 10, (rest[0], rest[1], rest[2]))
        changed[number] = np.asarray(image).reshape(changed.shape[1:])
    return changed


def _enhanced(enhance: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, level, _: enhance(image).enhance(level * 1.8 + 0.1)


def _affine(a: float, b: float, c: float, d: float, e: float, f: float, image: Image.Image):
    fill = _GREY if image.mode == "L" else (_GREY,) * 3
    coefficients = (a, b, c, d, e, f)
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=fill)


def _signed(value: float, draw: float) -> float:
    return value if draw < 0.5 else -value


def _rotate(image: Image.Image, level: float, draws: tuple[float, float, float]) -> Image.Image:
    fill = _GREY if image.mode == "L" else (_GREY,) * 3
    return image.rotate(_signed(level * 30, draws[0]), fillcolor=fill)


def _shear_x(image: Image.Image, level: float, draws: tuple[float, float, float]) -> Image.Image:
    return _affine(1, _signed(level * 0.3, draws[0]), 0, 0, 1, 0, image)


def _shear_y(image: Image.Image, level: float, draws: tuple[float, float, float]) -> Image.Image:
    return _affine(1, 0, 0, _signed(level * 0.3, draws[0]), 1, 0, image)


def _translate_x(
    image: Image.Image, level: float, draws: tuple[float, float, float]
) -> Image.Image:
    return _affine(1, 0, _signed(level * _pixels(100, image), draws[0]), 0, 1, 0, image)


def _translate_y(
    image: Image.Image, level: float, draws: tuple[float, float, float]
) -> Image.Image:
    return _affine(1, 0, 0, 0, 1, _signed(level * _pixels(100, image), draws[0]), image)


def _pixels(at_224: float, image: Image.Image) -> float:
    return at_224 * image.size[0] / 224


def _mapped(image: Image.Image, change: Callable[[int], int]) -> Image.Image:
    return image.point([change(value) for value in range(256)] * len(image.getbands()))


def _posterize(image: Image.Image, level: float, _: tuple[float, float, float]) -> Image.Image:
    kept = min(int(level * 4), 8)
    return _mapped(image, lambda value: value >> (8 - kept) << (8 - kept))


def _solarize(image: Image.Image, level: float, _: tuple[float, float, float]) -> Image.Image:
    threshold = int(level * 256)
    return _mapped(image, lambda value: value if value < threshold else 255 - value)


def _solarize_add(image: Image.Image, level: float, _: tuple[float, float, float]) -> Image.Image:
    addition = int(level * 110)
    return _mapped(image, lambda value: min(value + addition, 255) if value < 128 else value)


def _cutout(image: Image.Image, level: float, draws: tuple[float, float, float]) -> Image.Image:
    """A grey square, centred anywhere, of which what is outside of the image is cut off."""
    half, size = int(level * _pixels(40, image)), image.size[0]
    x, y = math.floor(draws[0] * size), math.floor(draws[1] * size)
    if half:
        box = (max(x - half, 0), max(y - half, 0), min(x + half, size), min(y + half, size))
        image = image.copy()
        image.paste(_GREY if image.mode == "L" else (_GREY,) * 3, box)
    return image


OPERATIONS: tuple[Operation, ...] = (
    lambda image, level, draws: ImageOps.autocontrast(image),
    lambda image, level, draws: ImageOps.equalize(image),
    lambda image, level, draws: ImageOps.invert(image),
    _rotate,
    _posterize,
    _solarize,
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    _cutout,
    _solarize_add,
)
"""The sixteen, each as likely as the others."""
