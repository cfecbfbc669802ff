"""Models beside the shape that a rule gives for their compute: what the same training could have bought.

At equal training compute a smaller shape sees more images and costs less in use, a larger one sees fewer
and costs more. Getting ViT in Shape (arXiv 2305.13035) compares SoViT-400m/14 with ViT-g/14 so.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vitscale.fits.answer import Answer, Setting, answer, show_interval
from vitscale.fits.rounding import round_shape
from vitscale.fits.rule import Rule
from vitscale.scaling.shape import DIMENSIONS, Shape, named_shape

VIT_FAMILY = ("Ti", "S", "B", "L", "H", "g", "G")
"""The standard models, from the smallest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A model trained on `images`, and the `answer` of a rule for the same training FLOPs.

    - `params`, `forward_flops`: of the model, counted as the answer's are.
    - `low`, `high`: the answer's shape with all sizes at the low, and at the high ends of their
      intervals; None where those are not known.
    """

    name: str
    model: Shape
    images: float
    params: int
    forward_flops: int
    answer: Answer
    low: Shape | None
    high: Shape | None

    @property
    def params_ratio(self) -> float:
        """Parameters of the answer's shape over the model's."""
        return self.answer.params / self.params

    @property
    def forward_ratio(self) -> float:
        """FLOPs of the answer's shape for one image over the model's: what it costs in use."""
        return self.answer.forward_flops / self.forward_flops

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the model, and how the answer's shape compares with it."""
        return {
            "name": self.name,
            "images": self.images,
            "shape": dataclasses.asdict(self.model),
            "params": self.params,
            "forward_flops": self.forward_flops,
            "params_ratio": self.params_ratio,
            "forward_ratio": self.forward_ratio,
        }

    def sentence(self) -> str:
        """What the same training buys instead of the model, in words."""
        return (
            f"beside {self.name} ({_short(self.params)} parameters, {_short(self.images)} images), which "
            f"costs as much to train: {self.params_ratio:.2g} times the parameters, "
            f"{self.forward_ratio:.2g} times the FLOPs of an image in use"
        )


def vit_family(*, patch: int = 14) -> dict[str, Shape]:
    """ViT-Ti to ViT-G with one patch size, by name."""
    return {f"ViT-{name}/{patch}": named_shape(f"{name}/{patch}") for name in VIT_FAMILY}


def compare_models(
    models: Mapping[str, Shape],
    images: float,
    rule: Rule,
    setting: Setting,
    *,
    measured_flops: float | None = None,
) -> tuple[Compared, ...]:
    """Each of `models`, trained on `images`, beside the shape that `rule` gives for its training FLOPs.

    - `setting`: image size, channels and readout of both; patch and heads of the rule's shapes alone.
    - `measured_flops`: as for `vitscale.fits.answer.answer`.

    Raises `ValueError` where `images` is not positive, and as `answer`.
    """
    if not 0 < images < 1e30:
        raise ValueError(f"images={images} is not a number of images seen; give one such as 16e9")
    found = []
    for name, model in models.items():
        flops = 3.0 * images * model.forward_flops(**setting.counted)
        best = answer(rule, flops, setting, measured_flops=measured_flops)
        found.append(compared(name, model, images, best))
    return tuple(found)


def compared(name: str, model: Shape, images: float, best: Answer) -> Compared:
    """`model`, called `name` and trained on `images`, beside the answer for as many training FLOPs."""
    setting = best.setting
    ends = [{k: getattr(size, end) for k, size in best.sizes.items()} for end in ("low", "high")]
    known = all(0 < size < math.inf for end in ends for size in end.values())
    low, high = (_rounded(end, setting) if known else None for end in ends)
    return Compared(
        name=name,
        model=model,
        images=images,
        params=model.params(**setting.counted),
        forward_flops=model.forward_flops(**setting.counted),
        answer=best,
        low=low,
        high=high,
    )


def _rounded(sizes: Mapping[str, float], setting: Setting) -> Shape:
    return round_shape({name: max(size, 1.0) for name, size in sizes.items()}, **setting.rounding)


def comparison_table(found: tuple[Compared, ...]) -> pd.DataFrame:
    """Models beside the shapes for their compute, one a row, to be read: sizes with their intervals."""
    rows = []
    for each in found:
        best = each.answer
        rows.append(
            {
                "model": each.name,
                "training FLOPs": f"{best.flops:.3g}",
                **{
                    name: f"{getattr(each.model, name)} → {show_interval(best.sizes[name])}"
                    for name in DIMENSIONS
                },
                "parameters": f"{_short(each.params)} → {_short(best.params)}",
                "cost in use": f"× {each.forward_ratio:.2f}",
                "images": f"{_short(each.images)} → {_short(best.images)}",
            }
        )
    return pd.DataFrame(rows).set_index("model")


def _short(count: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"
