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
# # 04 Bring your own results: any model, any size, any loss
#
# You have a table of runs: language models, CNNs, ViTs of another codebase, in a CSV or in W&B. What do they say about
# how large the next model should be and how long it should be trained?
#
# Shown on the 234 language models of *Training Compute-Optimal Large Language Models* (Chinchilla, arXiv 2203.15556,
# Figure 4), which ship with vitscale, and on an export as W&B makes it. For your own runs, name a table and what it calls
# parameters, training tokens (or images), and loss.

# %%
SOURCE = None  # or "my.csv", "my.parquet", a store: "runs/laptop"
# What it calls parameters, tokens and loss; a store calls them params, examples and value.
COLUMNS = {"N": "N", "D": "D", "loss": "loss"}
BUDGETS = (1e21, 5.76e23)  # training FLOPs to divide; the second is Gopher's and Chinchilla's

# %%
# %matplotlib inline
import json
import tempfile
from pathlib import Path

import pandas as pd

from vitscale import allocate, fit_frame, plots, read_source
from vitscale.fits.allocation import FLOPS_PER_PARAMETER_AND_TOKEN, best_parameters
from vitscale.fits.datasets import load_chinchilla, load_sovit_star
from vitscale.fits.laws import CHINCHILLA_FITS
from vitscale.fits.prediction.backtest import backtest
from vitscale.fits.report import allocation_lines, fit_lines, isoflop_lines
from vitscale.fits.shape_law import fit_star
from vitscale.fits.tables import star_table
from vitscale.sweeps.importers.into_store import import_runs
from vitscale.sweeps.importers.reading import Wish

frame = load_chinchilla() if SOURCE is None else read_source(SOURCE)
runs = pd.DataFrame({name: frame[column] for name, column in COLUMNS.items()})
runs["flops"] = FLOPS_PER_PARAMETER_AND_TOKEN * runs["N"] * runs["D"]
runs.describe().loc[["count", "min", "max"]]

# %% [markdown]
# ## 1. Parameters and tokens for a budget
#
# Chinchilla's law $L(N, D) = E + A N^{-\alpha} + B D^{-\beta}$, fitted with Huber's loss on logarithms, and each budget
# $C = 6 N D$ divided so that it is least. The intervals come from refits to resampled runs.

# %%
found = allocate(runs[["N", "D"]], runs["loss"], BUDGETS)
print("\n".join(allocation_lines(found, target="loss")))

# %% [markdown]
# ## 2. Beside what was published
#
# The paper's own constants (its third approach) disagree with its other two approaches and with Chinchilla itself, 70
# billion parameters on 1.4 trillion tokens; the replication (arXiv 2404.10102) found the fit to have stopped early.

# %%
published = pd.DataFrame(
    {
        "these runs": {**found.fit.parameters, "a = beta/(alpha+beta)": found.exponent.estimate},
        **{
            name: {**law, "a = beta/(alpha+beta)": law["beta"] / (law["alpha"] + law["beta"])}
            for name, law in CHINCHILLA_FITS.items()
        },
    }
)
for budget in BUDGETS:
    published.loc[f"best N for {budget:.3g} FLOPs (billions)"] = [
        float(best_parameters(law, budget)) / 1e9
        for law in (found.fit.parameters, *CHINCHILLA_FITS.values())
    ]
published.round(4)

# %% [markdown]
# ## 3. The same question as a star of one dimension
#
# Eq. (2) of *Getting ViT in Shape* asks for one size $x$, compute and a loss, whatever these are. With $x = N$ it gives
# the exponent of the best size by another law, $s = c/(a+b)$; where both agree, neither form of the law decided it.
# The check below assumes no law of the loss at all: parabolas at equal compute (Chinchilla's second approach).

# %%
star = star_table(runs, x="N", compute="flops", error="loss")
size_fit = fit_star(star, resamples=0)
print("\n".join(fit_lines(size_fit, isoflop_lines(star, size_fit))))

# %%
plots.profile_figure(size_fit)

# %% [markdown]
# ## 4. Would the small runs have foretold the large ones?
#
# The runs that cost most are left out, Chinchilla's law is fitted to the rest and predicts them.

# %%
test = backtest(
    "chinchilla",
    {"N": runs["N"], "D": runs["D"]},
    runs["loss"],
    along=runs["flops"],
    along_name="training FLOPs",
    cutoffs=2,
)
plots.backtest_figure(test, metric="loss")

# %%
print(test.conclusion)

# %% [markdown]
# ## 5. ViTs from W&B, or from any tracker
#
# Runs that W&B, MLflow or TensorBoard recorded become measurements of a store: names of columns are guessed and every
# guess is told, shapes are checked, FLOPs are counted. Here an export of W&B's runs, written from the published star of
# *Getting ViT in Shape*: one run for each network and length, accuracy in percent as a trainer logs it.

# %%
published_star = load_sovit_star().drop_duplicates(["width", "depth", "mlp_dim", "images"])
export = [
    {
        "id": f"run{number}",
        "name": f"w{run.width}-d{run.depth}-m{run.mlp_dim}-{run.images // 1_000_000}M",
        "state": "finished",
        "config": {
            "model": {
                "hidden_size": run.width,
                "num_hidden_layers": run.depth,
                "intermediate_size": run.mlp_dim,
                "num_attention_heads": 16,
            },
            "patch_size": 14,
            "image_size": 224,
            "batch_size": 128,
            "max_steps": run.images // 128,
        },
        "summary": {"val/top1_10shot": 100 * (1 - run.error)},
    }
    for number, run in enumerate(published_star.itertuples())
]
temporary = tempfile.TemporaryDirectory()  # gone with the kernel
folder = Path(temporary.name)
(folder / "wandb.json").write_text(json.dumps(export), encoding="utf-8")
reading, brought = import_runs(
    folder / "wandb.json",
    folder / "store",
    Wish(accuracies=["imagenet_10shot_error=val/top1_10shot"]),
)
print(f"{brought.written} models written")
pd.Series(reading.columns, name="read from").to_frame()

# %%
imported, _ = fit_frame(read_source(folder / "store"), resamples=0)
direct, _ = fit_frame(load_sovit_star(), resamples=0)
pd.DataFrame(
    {
        "s, from the export": {k: d.s.estimate for k, d in imported.fit.dimensions.items()},
        "95% low": {k: d.s.low for k, d in imported.fit.dimensions.items()},
        "95% high": {k: d.s.high for k, d in imported.fit.dimensions.items()},
        "s, from the paper's table": {k: d.s.estimate for k, d in direct.fit.dimensions.items()},
    }
).round(4)

# %% [markdown]
# ## 6. What this is worth
#
# - **Trust** an allocation inside the runs' range of $N$ and $D$ (a caution says where it is beyond), and an exponent on
#   which both laws agree. Multiples of the compute are safer than the constants: the floor $E$ moves with the tokenizer.
# - **Do not trust** runs whose learning rate was not annealed at the length that they are entered with, half-way points of
#   a cosine schedule, runs of several recipes in one table, or $N$ counted with embeddings in one place and without in another.
# - $C = 6 N D$ is for dense transformers of long width and short context. Anything else: count, and give the number of FLOPs
#   for each parameter and token, or use eq. (2) with your own compute column.
#
# The same from the command line:
#
# ```sh
# vitscale allocate my.csv --flops 1e21 5.76e23 --inputs N=params D=tokens
# vitscale fit my.csv --law chinchilla --inputs N=params D=tokens --backtest
# vitscale fit my.csv --x params --compute train_flops --error loss
# vitscale import wandb --accuracy error=val/top1 --store runs/mine
# ```
