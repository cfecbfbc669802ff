"""What of a model no law decides, as commands take it: patches, image, readout and heads."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from vitscale.commands.options import Groups

if TYPE_CHECKING:
    from vitscale.fits.answer import Setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Models:
    """Fields of every command that answers with a shape."""

    patch: int | None = None
    """Patch size in pixels (default: that of the fit, else 14)."""
    image_size: int | None = None
    """Image size in pixels (default: that of the fit, else 224)."""
    readout: Literal["gap", "map", "tok"] | None = None
    """Mean over tokens, attention pooling, or class token (default: that of the fit, else gap)."""
    heads: int | None = None
    """Number of attention heads; the width becomes a multiple of it."""
    head_dim: int | None = None
    """Channels of a head; the width becomes a multiple of it."""


MODEL_GROUP: Groups = {"The model": tuple(field.name for field in dataclasses.fields(Models))}
"""Their heading in helps."""


def changed(setting: "Setting", flags: Models) -> "Setting":
    """The setting with what the flags say otherwise."""
    if flags.heads is not None or flags.head_dim is not None:
        setting = dataclasses.replace(setting, heads=flags.heads, head_dim=flags.head_dim)
    given = {name: getattr(flags, name) for name in ("patch", "image_size", "readout")}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(setting, **changes)


def tells_images(flags: Models) -> bool:
    """Whether the flags say what images and patches the model takes."""
    return flags.patch is not None or flags.image_size is not None
