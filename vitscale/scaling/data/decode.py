"""Encoded images to pixels, with Pillow."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from vitscale.scaling.data.stored import Record

DECODING_VERSION = 1
"""Raised with every change here that gives other pixels for the same file: it names what is kept decoded."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for each number of channels."""

_MODES_READ = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_MODES_READ |= {"I;16", "I;16L", "I;16B", "I;16N"}


def opened(record: Record) -> Image.Image:
    """The image of a record, of which an encoded one is not decoded yet.

    Raises what Pillow raises for bytes that are no image: `unreadable` names it.
    """
    if not isinstance(record.image, bytes):
        pixels = record.image
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return Image.open(io.BytesIO(record.image))


def in_mode(image: Image.Image, channels: int) -> Image.Image:
    """The decoded image in grey (1 channel) or in colour (3).

    Transparent pixels keep the colour stored under them, and 16-bit grey is scaled to 8 bits. Raises
    `ValueError` for other modes, such as floating point.
    """
    if image.mode not in _MODES_READ:
        raise ValueError(f"its mode is {image.mode}; convert it to 8-bit grey or RGB")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = MODES[channels]
    if image.mode == mode:
        return image
    # A palette goes to its colours first: Pillow's direct way to grey would warn of transparency.
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert(mode)


def pixels(image: Image.Image, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """The image as bytes."""
    array = np.asarray(in_mode(image, channels))
    return array.reshape(*array.shape[:2], channels)


ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for damaged images (`SyntaxError` for PNG chunks)."""


def reason(error: Exception) -> str:
    """Why an image cannot be read: what Pillow says, where that is of use to a reader."""
    if isinstance(error, UnidentifiedImageError):
        # Pillow names what it was given, which is bytes somewhere in memory.
        return "its bytes are of no image format that Pillow knows"
    return str(error)


def unreadable(data: str, example: str, error: Exception) -> ValueError:
    """The error that names a damaged image."""
    return ValueError(
        f"data={data!r}: {example} is not a readable image ({reason(error)}); repair it or take it "
        f"away, or prepare the set again with `vitscale data prepare --skip-corrupt`"
    )
