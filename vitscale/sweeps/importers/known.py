"""What one foreign run says of itself: its sizes and its length, followed from what it does say."""

import re
from typing import Any

from vitscale.scaling.shape import Shape, named_shape
from vitscale.sweeps.importers.fields import FIELDS, BadValue, missing
from vitscale.sweeps.importers.foreign import TRACKED, ForeignRun, Point
from vitscale.sweeps.importers.reading import Reading, Wish

_TIMM = re.compile(
    r"vit_(tiny|small|base|large|huge|so400m|so150m)_patch(\d+)(?:_\w*?(\d{3}))?\b.*"
)
_TIMM_SIZES = {"tiny": "Ti", "small": "S", "base": "B", "large": "L", "huge": "H"}


class Lacking(Exception):
    """Something has to be known of this run and is not; the message says what."""


class Known:
    """What a run says of each field, read when asked for."""

    def __init__(self, run: ForeignRun, reading: Reading) -> None:
        self._run = run
        self._reading = reading

    def get(self, name: str) -> Any:
        """The value of a field; None where nothing is said."""
        if name in self._reading.constants:
            return self._reading.constants[name]
        column = self._reading.columns.get(name)
        value = self._run.values.get(column) if column is not None else None
        if column is None or missing(value):
            return None
        try:
            return FIELDS[name].read(value)
        except BadValue as error:
            raise BadValue(f"{column} {error}") from None

    def lacking(self, name: str) -> Lacking:
        """To raise where `name` has to be known."""
        column = self._reading.columns.get(name)
        return Lacking(f"{column} is empty" if column else f"it does not say its {name}")


def shape_of(known: Known, model: str | None) -> tuple[Shape, int]:
    """The shape of a run and its image size, from sizes, or else from a published model's name."""
    published, image = _published(model)
    sizes = {name: known.get(name) for name in ("width", "depth", "mlp_dim", "heads", "patch")}
    if sizes["mlp_dim"] is None and sizes["width"] and (ratio := known.get("mlp_ratio")):
        mlp_dim = ratio * sizes["width"]
        if abs(mlp_dim - round(mlp_dim)) > 1e-6 * mlp_dim:
            raise BadValue(f"mlp_ratio {ratio:g} of width {sizes['width']} is no whole mlp_dim")
        sizes["mlp_dim"] = round(mlp_dim)
    if sizes["heads"] is None and sizes["width"] and (head_dim := known.get("head_dim")):
        if sizes["width"] % head_dim:
            raise BadValue(f"width {sizes['width']} is no multiple of head_dim {head_dim}")
        sizes["heads"] = sizes["width"] // head_dim
    for name, size in sizes.items():
        if size is None:
            sizes[name] = getattr(published, name, None)
            if sizes[name] is None:
                raise known.lacking(name)
    image_size = known.get("image_size") or image
    if image_size is None:
        raise known.lacking("image_size")
    shape = Shape(**sizes)
    shape.tokens(image_size)
    return shape, image_size


def _published(model: str | None) -> tuple[Shape | None, int | None]:
    """The shape that a published name stands for, and the image size where it says one."""
    if model is None:
        return None, None
    if match := _TIMM.fullmatch(model):
        size = _TIMM_SIZES.get(match[1], match[1].replace("so", "So"))
        return named_shape(f"{size}/{match[2]}"), int(match[3]) if match[3] else None
    try:
        return named_shape(model), None
    except ValueError:
        return None, None


def length_of(known: Known, point: Point | None, run: ForeignRun, wish: Wish) -> int:
    """Examples seen by the model measured at `point` of the run's curves."""
    tracked = TRACKED in run.values
    batch_size = known.get("batch_size")
    if not (tracked or wish.every_point):
        if examples := known.get("examples"):
            return examples
        if (steps := known.get("steps")) and batch_size:
            return steps * batch_size
        if (epochs := known.get("epochs")) and (of := known.get("train_examples")):
            return round(epochs * of)
    if point is not None and point.step > 0:
        if tracked or wish.step_unit == "examples":
            return point.step
        if batch_size:
            return point.step * batch_size
    raise Lacking("it does not say how many examples it saw")
