"""`vitscale shape`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from vitscale.commands.options import Groups
from vitscale.commands.output import output

if TYPE_CHECKING:
    from vitscale.fits.answer import Setting
    from vitscale.fits.device.capacity import Capacity


@dataclasses.dataclass(frozen=True)
class ShapeFor:
    """The compute-optimal shape for a budget, from a fit or from the paper's own rule.

    Examples:  vitscale shape --flops 1e21
               vitscale shape --fit fit.json --like "ViT-g/14 x 16e9" --emit my-vit
               vitscale shape --flops 1e21 --fits shapefinder.jsonl
    """

    groups: ClassVar[Groups] = {
        "The budget, as one of": ("flops", "like"),
        "The rule and the device": ("fit", "rule", "fits"),
        "The model": ("patch", "image_size", "readout", "heads", "head_dim"),
        "Rounding": ("width_multiple", "mlp_multiple"),
    }

    flops: float | None = None
    """Budget in training FLOPs: 3 x forward FLOPs x images."""
    like: str | None = None
    """Budget of a known training run, as "ViT-g/14 x 16e9" (model x images seen)."""
    fit: Path | None = None
    """What `vitscale fit --out` wrote. Without it, the published rule."""
    rule: str = "sovit-figure1"
    """Published exponents to use without --fit: sovit-figure1, sovit-text, sovit-figure5 or
    sovit-multitask."""
    fits: Path | None = None
    """What `vitscale shapefinder --out` wrote: take the nearest shape that fits that device, and say
    how long it trains there. Without --fit, the model is the one that was measured there."""
    emit: Path | None = None
    """Folder to write the configs for timm, Hugging Face and big_vision into."""
    classes: int = 0
    """Outputs of the classifier in the emitted configs; 0 for none."""
    patch: int | None = None
    """Patch size in pixels (default: that of --fit, else of --fits, else 14)."""
    image_size: int | None = None
    """Image size in pixels (default: that of --fit, else of --fits, else 224)."""
    readout: Literal["gap", "map", "tok"] | None = None
    """Mean over tokens, attention pooling, or class token (default: that of --fit, else of --fits, else
    gap)."""
    heads: int | None = None
    """Number of attention heads; the width becomes a multiple of it."""
    head_dim: int | None = None
    """Channels of a head; the width becomes a multiple of it."""
    width_multiple: int | None = None
    """Round the width to a multiple of this too."""
    mlp_multiple: int | None = None
    """Round mlp_dim to a multiple of this (default: the fit's, or 16)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: ShapeFor) -> int:
    from vitscale.fits.answer import answer, emit_answer
    from vitscale.fits.device.capacity import read_capacity
    from vitscale.fits.fit_file import read_fit
    from vitscale.fits.rule import flops_like, published_rule

    if (command.flops is None) == (command.like is None):
        raise ValueError('give the budget either as --flops 1e21 or as --like "ViT-g/14 x 16e9"')
    measured = None
    capacity = None if command.fits is None else read_capacity(command.fits)
    if command.fit is None:
        rule, setting = published_rule(command.rule), _published_setting(capacity)
    else:
        content = read_fit(command.fit)
        rule, setting, measured = content.rule(), content.setting, content.measured_flops()
    budget = command.flops if command.flops is not None else flops_like(str(command.like))
    found = answer(
        rule,
        budget,
        _changed(setting, command),
        measured_flops=measured,
        capacity=capacity,
    )
    written = []
    if command.emit is not None:
        written = emit_answer(found, command.emit, classes=command.classes)
    lines = [*found.lines(), *(f"wrote {path}" for path in written)]
    output(command.json, found.to_dict() | {"written": list(map(str, written))}, lambda: lines)
    return 0


def _published_setting(capacity: "Capacity | None") -> "Setting":
    """The paper's setting, for the model that the device was measured with."""
    from vitscale.fits.answer import Setting

    setting = Setting(heads=16)
    if capacity is None:
        return setting
    conditions = capacity.conditions
    return dataclasses.replace(
        setting,
        patch=conditions.patch,
        image_size=conditions.image_size,
        channels=conditions.channels,
        readout=conditions.readout,
    )


def _changed(setting: "Setting", command: ShapeFor) -> "Setting":
    """The setting with what the command's flags say otherwise."""
    flags = ("patch", "image_size", "readout", "width_multiple", "mlp_multiple")
    changes = {name: getattr(command, name) for name in flags}
    if command.heads is not None or command.head_dim is not None:
        setting = dataclasses.replace(setting, heads=command.heads, head_dim=command.head_dim)
    return dataclasses.replace(
        setting, **{name: value for name, value in changes.items() if value is not None}
    )
