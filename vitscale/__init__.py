"""Compute-optimal Vision Transformer shapes, with error bars, from a few cheap experiments.

The names that a notebook or a script needs, from where they live; each is loaded when it is first used, so that
`import vitscale` takes no time and none of them imports jax:

| name | what it does |
| --- | --- |
| `read_source` | all rows of a store, a CSV or a Parquet file |
| `datasets` | the published measurements that ship with the package |
| `Store` | the measurements of a sweep, in a folder or an object store |
| `fit_frame` | the scaling law of each dimension of a star, from any rows |
| `run_table`, `fit_frontier` | runs of any kind, and the law along their Pareto frontier |
| `fit_law`, `allocate` | any law on any table; parameters and tokens for a budget |
| `published_rule`, `flops_like` | the rule of Getting ViT in Shape; the compute of a known model |
| `answer`, `Setting`, `emit_answer` | the shape for a budget, what does not scale with it, its configs |
| `compare_models` | models beside the shapes for their compute |
| `Shape`, `named_shape` | sizes of a ViT, its parameters and FLOPs; the published ones |
| `advise_path`, `preset` | what to train next; named sweeps |
| `plots` | every figure |

`from vitscale import answer` gives the function; `vitscale.fits.answer` is its module.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vitscale.advise import advise_path as advise_path
    from vitscale.emit import emit_answer as emit_answer
    from vitscale.fits import datasets as datasets
    from vitscale.fits import plots as plots
    from vitscale.fits.allocation import allocate as allocate
    from vitscale.fits.answer import Setting as Setting
    from vitscale.fits.answer import answer as answer
    from vitscale.fits.comparison import compare_models as compare_models
    from vitscale.fits.frame_fit import fit_frame as fit_frame
    from vitscale.fits.frontier import fit_frontier as fit_frontier
    from vitscale.fits.law_fit import fit_law as fit_law
    from vitscale.fits.rule import flops_like as flops_like
    from vitscale.fits.rule import published_rule as published_rule
    from vitscale.fits.run_table import run_table as run_table
    from vitscale.scaling.shape import Shape as Shape
    from vitscale.scaling.shape import named_shape as named_shape
    from vitscale.sources import read_source as read_source
    from vitscale.sweeps.presets import preset as preset
    from vitscale.sweeps.store import Store as Store

_HOMES = {
    "Setting": "vitscale.fits.answer",
    "Shape": "vitscale.scaling.shape",
    "Store": "vitscale.sweeps.store",
    "advise_path": "vitscale.advise",
    "allocate": "vitscale.fits.allocation",
    "answer": "vitscale.fits.answer",
    "compare_models": "vitscale.fits.comparison",
    "datasets": "vitscale.fits",
    "emit_answer": "vitscale.emit",
    "fit_frame": "vitscale.fits.frame_fit",
    "fit_frontier": "vitscale.fits.frontier",
    "fit_law": "vitscale.fits.law_fit",
    "flops_like": "vitscale.fits.rule",
    "named_shape": "vitscale.scaling.shape",
    "plots": "vitscale.fits",
    "preset": "vitscale.sweeps.presets",
    "published_rule": "vitscale.fits.rule",
    "read_source": "vitscale.sources",
    "run_table": "vitscale.fits.run_table",
}
"""The module that each name is from; `datasets` and `plots` are modules themselves."""

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"vitscale has no name {name!r}; it has {', '.join(_HOMES)}, and its modules"
        )
    home = importlib.import_module(_HOMES[name])
    if name in ("datasets", "plots"):
        return importlib.import_module(f"{home.__name__}.{name}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
