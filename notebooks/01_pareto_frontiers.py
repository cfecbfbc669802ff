# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     cell_metadata_filter: -all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 Pareto frontiers: what does more compute buy?
#
# You have trained models of several sizes for several lengths. Which of them are worth their cost, how does the
# best error fall with compute, and where does it stop falling?
#
# Shown on the eleven ViTs of *Scaling Vision Transformers* (arXiv 2106.04560), whose published numbers ship with
# vitscale; nothing is trained or downloaded. To ask the same of your own runs, name them here: a store that
# `vitscale sweep` made, or a table with a run a row.

# %%
SOURCE = None  # or "runs/laptop", "my.csv"
COLUMNS = {}  # of a table: {"compute": "gpu_hours", "error": "val_loss", "model": "name"}

# %%
# %matplotlib inline
import dataclasses

import numpy as np
import pandas as pd

from vitscale import fit_frontier, named_shape, plots, read_source, run_table
from vitscale.fits.datasets import load_scaling_vit_fewshot
from vitscale.fits.laws import SCALING_VIT_FRONTIERS
from vitscale.fits.prediction.backtest import backtest_frontier

if SOURCE is None:
    published = load_scaling_vit_fewshot().dropna(subset=["core_days_fig2"])
    frame = pd.DataFrame(
        {
            "model": published["model"],
            "core_days": published["core_days_fig2"],
            "ImageNet 10-shot error": 1 - published["inet10"] / 100,
            "params": [named_shape(name).params() for name in published["model"]],
        }
    )
    COLUMNS = {"error": "ImageNet 10-shot error"}
else:
    frame = read_source(SOURCE)
runs = run_table(frame, **COLUMNS)
metric, unit = runs.attrs["metric"], runs.attrs["compute_unit"]
runs.describe(include="all").loc[["count", "unique", "min", "max"]]

# %% [markdown]
# ## 1. The runs that no cheaper run beats
#
# They are the frontier. Along it *Scaling Vision Transformers* fits a power law that saturates at both ends,
#
# $$E = a\,(C + d)^{-b} + c,$$
#
# where $c$ is the error that no compute removes and $d$ bends the law where compute is small. The band and the
# intervals come from resampling whole models: a frontier hangs on few of them. The band lies mostly above the law, as a
# frontier without some of the models can only be higher.

# %%
frontier = fit_frontier(runs["compute"], runs["error"], model=runs["model"], resamples=200)
others = {}
if SOURCE is None:
    parameters = SCALING_VIT_FRONTIERS["imagenet-10shot"]
    others["the law as published"] = dataclasses.replace(
        frontier, parameters=parameters, intervals={}, draws={}
    )
plots.frontier_figure(
    runs["compute"],
    runs["error"],
    fit=frontier,
    others=others,
    size=runs.get("size"),
    compute_unit=unit,
    metric=metric,
)

# %%
intervals = {name: (found.low, found.high) for name, found in frontier.intervals.items()}
law = pd.DataFrame(intervals, index=["95% low", "95% high"]).T
law.insert(0, "fitted", frontier.parameters)
if SOURCE is None:
    law["published"] = SCALING_VIT_FRONTIERS["imagenet-10shot"]
law.round(3)

# %% [markdown]
# ## 2. What the next factor of ten buys
#
# The law read beyond the dearest run. What remains above $c$ falls by a factor of $10^b$ for every factor of ten in
# compute; the closer the error is to $c$, the less that is.

# %%
budgets = runs["compute"].max() * np.array([0.1, 1, 10, 100])
low, high = frontier.band(budgets)
outlook = pd.DataFrame(
    {
        "of the dearest run": [f"{times:g}×" for times in (0.1, 1, 10, 100)],
        f"compute ({unit})": budgets,
        metric: frontier.error(budgets),
        "95% low": low,
        "95% high": high,
    }
).set_index("of the dearest run")
outlook.round(3)

# %% [markdown]
# ## 3. Would it have foretold the dearest runs?
#
# The runs that cost most are left out, the law is fitted to the rest, and its predictions are held against what
# was measured: over several cut-offs. This is the test that a law for planning has to pass.

# %%
backtest = backtest_frontier(runs["compute"], runs["error"], compute_name=unit)
plots.backtest_figure(backtest, metric=metric)

# %%
print(backtest.conclusion)

# %% [markdown]
# ## 4. Is the frontier itself too lucky?
#
# Of runs that are about equally good, the luckiest is on the frontier, so it lies below what the same money buys
# again. Smoothing along each model takes that luck off; a large difference says that the runs are noisy.

# %%
smoothed = fit_frontier(
    runs["compute"], runs["error"], model=runs["model"], envelope="smoothed", resamples=0
)
shift = smoothed.error(runs["compute"]) / frontier.error(runs["compute"]) - 1
print(
    f"the frontier without its luck lies {100 * np.median(shift):+.1f}% off the one above (median)"
)

# %% [markdown]
# ## 5. What this is worth
#
# - **Trust** the law between the runs, and up to about as far beyond them as the back-test went. The floor $c$ is an
#   extrapolation even where its interval looks short: models that are not in the table may go lower.
# - **Do not trust** a frontier of runs whose learning rate was not annealed, of one model size alone, or of a data
#   set that the long runs have seen many times: it then shows the recipe, the size or the data, not compute.
# - The frontier says what compute buys, not which shape to buy: that is
#   [02](02_star_to_exponents.ipynb) and [03](03_shape_for_a_budget.ipynb).
#
# The same from the command line, for a store and for a table:
#
# ```sh
# vitscale frontier runs/laptop --figure frontier.png
# vitscale frontier my.csv --compute gpu_hours --error val_loss --model name
# ```
