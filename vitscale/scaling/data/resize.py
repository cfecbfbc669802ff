"""Bilinear resizing of parts of many small images at once, as Pillow does one.

The filter is a triangle that widens where the image shrinks (antialiasing), and reaches beyond the
part into the image around it. Results are within one grey level of Pillow's, which rounds to bytes
between its two passes.
"""

import numpy as np
from jaxtyping import Float, UInt8

from vitscale.scaling.data.boxes import Boxes


def resized(
    images: UInt8[np.ndarray, "n height width channels"], boxes: Boxes, size: int
) -> UInt8[np.ndarray, "n size size channels"]:
    """The part of each image that is in its box, as a square of `size` pixels."""
    n, height, width, channels = images.shape
    rows = _weights(boxes.top, boxes.height, height, size)
    columns = _weights(boxes.left, boxes.width, width, size)
    wide = rows @ images.reshape(n, height, width * channels).astype(np.float32)
    tall = wide.reshape(n, size, width, channels).transpose(0, 2, 1, 3)
    square = columns @ tall.reshape(n, width, size * channels)
    square = square.reshape(n, size, size, channels).transpose(0, 2, 1, 3)
    return np.clip(np.rint(square), 0, 255).astype(np.uint8)


def _weights(
    start: Float[np.ndarray, " n"], length: Float[np.ndarray, " n"], pixels: int, size: int
) -> Float[np.ndarray, "n size pixels"]:
    """How much each pixel along one side counts in each resized one."""
    scale = (length / size)[:, None, None]
    centres = start[:, None, None] + (np.arange(size)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(pixels) + 0.5 - centres) / np.maximum(scale, 1)
    weights = np.maximum(1 - distance, 0).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)
