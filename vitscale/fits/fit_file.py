"""fit.json: a star fit with the starting point and the setting that turn it into shapes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from vitscale.fits.answer import Setting
from vitscale.fits.export import replace_text
from vitscale.fits.json_numbers import finite
from vitscale.fits.rule import Rule, StartingPoint, rule_from_fit
from vitscale.fits.star_fit import StarFit
from vitscale.fits.star_start import x0_from_star


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitFile:
    """What `vitscale fit` writes and `vitscale shape --fit` reads.

    `start` is None where no grid was measured; the rule then starts from the star's own optima.
    """

    fit: StarFit
    start: StartingPoint | None
    setting: Setting
    assumed: bool = False

    def rule(self) -> Rule:
        """The joint rule of these exponents from this starting point.

        Without one it starts from the star's optima, with intervals that say how much the choice of
        compute to start at matters (see `vitscale.fits.star_start`).

        Raises `ValueError` where a dimension of the fit gives no optimum to start from.
        """
        return rule_from_fit(self.fit, self.start or x0_from_star(self.fit))

    def measured_flops(self) -> float | None:
        """The most training FLOPs that the fit's data reached, where its unit is known."""
        return None if self.fit.flops_range is None else self.fit.flops_range[1]

    def to_dict(self) -> dict[str, Any]:
        """The keys of `StarFit.to_dict`, `start` (or null), `setting` and `setting_assumed`."""
        return {
            **self.fit.to_dict(),
            "start": None if self.start is None else self.start.to_dict(),
            "setting": dataclasses.asdict(self.setting),
            "setting_assumed": self.assumed,
        }


def read_fit(path: Path) -> FitFile:
    """Read a file that `write_json` made of a `FitFile`.

    Raises `FileNotFoundError` or `ValueError`, naming the file, for anything else.
    """
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".parquet", ".pq"):
        kind = "a table"
        if path.is_dir():
            kind = "a store" if (path / "store.json").exists() else "a folder"
        raise ValueError(
            f"{path} is {kind}, not a fit; run this first: vitscale fit {path} --out fit.json"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist; make it with: vitscale fit STORE --out {path}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not JSON ({error}); write it again with vitscale fit"
        ) from None
    if isinstance(content, dict) and content.get("format") == "vitscale.law_fit":
        law = content.get("law")
        way = "; use vitscale allocate on its table" if law == "chinchilla" else ""
        raise ValueError(f"{path} is a fit of the {law} law, which gives no shape of a ViT{way}")
    try:
        fit = StarFit.from_dict(content)
        start = content.get("start")
        return FitFile(
            fit=fit,
            start=None if start is None else StartingPoint.from_dict(start),
            setting=Setting.from_dict(content.get("setting", {})),
            assumed=bool(content.get("setting_assumed", "setting" not in content)),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all; what is there stays until the new file is complete."""
    text = json.dumps(finite(content), indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
