"""Image files to bytes that any reader of TFDS decodes to the same pixels."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vitscale.scaling.data.decode import ERRORS, MODES, in_mode, reason

_QUALITY = 95
_GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
_AS_THEY_ARE = ("JPEG", "PNG")


class Look(NamedTuple):
    """What the images of a set share: height and width, or None where they differ, and channels."""

    image_shape: tuple[int, int] | None
    channels: int


def looked_at(files: Sequence[Path], max_side: int | None) -> Look:
    """The common size and channels of image files, by their headers.

    Channels are 1 where all images are grey, else 3. Damaged files do not count.
    """
    shapes, grey = set(), True
    for path in files:
        try:
            with Image.open(path) as image:
                shapes.add(_shrunk_size(image, max_side))
                grey = grey and image.mode in _GREY_MODES
        except ERRORS:
            continue
        if len(shapes) > 1 and not grey:
            break
    width, height = shapes.pop() if len(shapes) == 1 else (None, None)
    shape = None if width is None or height is None else (height, width)
    return Look(image_shape=shape, channels=1 if grey else 3)


def encoded(path: Path, *, channels: int, max_side: int | None) -> bytes:
    """The image in a file as PNG or JPEG, in grey (1 channel) or colour (3).

    The file's own bytes where they are that already. Raises `ValueError` where it cannot be read,
    is animated, or is of a kind that has no place in 8 bits a channel.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise ValueError("it has several frames; keep one")
            size = _shrunk_size(image, max_side)
            own, kind = image.size, image.format
            image.draft(None, size)
            image.load()
            if own == size and kind in _AS_THEY_ARE and image.mode == MODES[channels]:
                return content
            converted = in_mode(image, channels)
            if converted.size != size:
                converted = converted.resize(size, Image.Resampling.LANCZOS)
            return _bytes(converted, "JPEG" if kind in ("JPEG", "MPO") else "PNG")
    except ERRORS as error:
        raise ValueError(reason(error)) from error


def _bytes(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    options = {"quality": _QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    image.save(out, kind, **options)
    return out.getvalue()


def _shrunk_size(image: Image.Image, max_side: int | None) -> tuple[int, int]:
    width, height = image.size
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return width, height
    return max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))
