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
# # 05 What to run next: which runs are worth their cost?
#
# The intervals are too wide, or an exponent is not decided. Which runs, for how much, would change that most? And
# before the first run: can this plan answer at all?
#
# Shown on the published star of *Getting ViT in Shape* (arXiv 2305.13035), and, for the loop that buys its own runs, on a
# simulated one whose truth is known; nothing is trained. For your own, name a store, or a table of a star.

# %%
SOURCE = None  # or "runs/laptop", "my.csv"
COLUMNS = {}  # of a table: {"x": "hidden", "compute": "train_flops", "error": "val_loss"}
BUDGET = None  # training FLOPs to spend; by default a fifth of what was measured

# %%
# %matplotlib inline
import math
import tempfile
from pathlib import Path

import pandas as pd

from vitscale import Shape, Store, advise_path, fit_frame, plots, preset, read_source
from vitscale.auto import goal_of, run_auto
from vitscale.extend import runner
from vitscale.fits.datasets import path as path_of
from vitscale.fits.report import fit_lines
from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.affordable import flops_of
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.display import preview_lines
from vitscale.sweeps.engines.laws import SMALL_EXPONENTS, law_around
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.preview import preview

pd.set_option("display.max_colwidth", None)
source = path_of("sovit_star_sweep") if SOURCE is None else SOURCE
columns = {"compute": "forward_gflops"} if SOURCE is None else COLUMNS
fit_file, star = fit_frame(read_source(source), columns=columns, resamples=0)
longest = star.loc[star.groupby("model")["compute"].idxmax()].drop_duplicates("model")
measured = longest["compute"].sum() * (star.attrs["flops_per_unit"] or 1)
budget = BUDGET or measured / 5

# %% [markdown]
# ## 1. What is known now

# %%
print("\n".join(fit_lines(fit_file.fit)))

# %% [markdown]
# ## 2. What would shrink the intervals most
#
# Each run that could be made is worth what it adds to the Fisher information of eq. (2), averaged over laws that the data
# leave plausible; noise that the durations of one network share, and what training really spends, are counted. The list
# is in order of gain per FLOP, so that you may stop anywhere.

# %%
advice, plan = advise_path(source, budget, columns=columns, fit=fit_file.fit)
print("\n".join(advice.lines()))

# %%
plots.advice_figure(advice)

# %% [markdown]
# ## 3. How much to spend
#
# The same question for other budgets. Where the expected gain flattens, more runs of this kind do not help, and a wider
# star or another centre is the better buy.

# %%
outlook = []
for share in (0.1, 0.3, 3):
    bought, _ = advise_path(source, share * budget, columns=columns, fit=fit_file.fit)
    outlook.append(
        {
            "budget (FLOPs)": f"{share * budget:.3g}",
            "of what was measured": f"{share * budget / measured:.1%}",
            "networks": len(bought.trials),
            **{
                f"{e.dimension}: {e.quantity} known to a factor of": round(e.ratio_after, 2)
                for e in bought.expectations
            },
        }
    )
pd.DataFrame(outlook).set_index("budget (FLOPs)")

# %% [markdown]
# ## 4. The plan that does it
#
# For a store, or where a table holds the paper's own star, the advice is a plan: price it, save it, run it with
# `vitscale sweep star`. A bare table does not say how its networks were trained, so there the advice is a list alone.

# %%
if plan is None:
    print("no plan: the table does not say how its networks were trained, or nothing is worth it")
else:
    print("\n".join(preview_lines(preview(plan))))
    print(plan_to_toml(plan)[:900], "...", sep="\n")

# %% [markdown]
# ## 5. Before the first run
#
# A plan can be judged before it costs anything: what shared trunks save, and where its values cannot identify the law.
# Here a star that is too narrow: its MLPs lie close together, and its durations too.

# %%
narrow = Plan(
    name="narrow",
    sweep=StarSweep(
        center=Shape(width=96, depth=8, mlp_dim=384, heads=12, patch=4),
        arms={"width": (32, 48, 64), "depth": (2, 3, 4), "mlp_dim": (256, 288, 320)},
        recipe=RECIPES["glyphs"],
        durations=(64_000, 128_000),
        head_dim=8,
    ),
)
print("\n".join(preview_lines(preview(narrow))))

# %% [markdown]
# ## 6. A star that buys its own runs
#
# `vitscale sweep auto` repeats run, fit and advice until the best sizes are known well enough. Here with a simulated engine
# that measures by a made-up law with 0.7% noise, in seconds, so that the truth is known: the quickstart's star, and up to
# three times its cost for more, until every best size is known to within a factor of 1.3.

# %%
first = preset("quickstart-star")
goal = goal_of(first, budget=4 * flops_of(first), target=1.3)
best = {"width": 16, "depth": 2, "mlp_dim": 32}  # at 1e11 training FLOPs
with tempfile.TemporaryDirectory() as folder:
    store = Store.open(Path(folder) / "auto", create=True)
    engine = SimulatedEngine(law_around(best, 1e11), noise=Noise(own=0.006, shared=0.004))
    auto = run_auto(first, runner(engine, store), store, goal)
rounds = pd.DataFrame(
    [
        {
            "round": look.round - 1,
            "spent, in first stars": round(look.spent_flops / flops_of(first), 2),
            **{
                f"{known.dimension}, known to a factor of": round(known.factor, 2)
                if math.isfinite(known.factor)
                else "not bounded"
                for known in look.known
            },
            "next": look.why or look.ended,
        }
        for look in auto.looks
    ]
).set_index("round")
rounds[[*rounds.columns.drop("next"), "next"]].astype(object).fillna("")

# %%
print(auto.lines()[0])
pd.DataFrame(
    [
        {
            "dimension": known.dimension,
            "best size": round(known.size.estimate, 2),
            "95% low": round(known.size.low, 2),
            "95% high": round(known.size.high, 2),
            "truth": round(
                best[known.dimension] * (goal.compute / 1e11) ** SMALL_EXPONENTS[known.dimension], 2
            ),
        }
        for known in auto.looks[-1].known
    ]
).set_index("dimension")

# %% [markdown]
# ## 7. What this is worth
#
# - **Trust** the order of the advice and the kind of runs that it names: smaller sizes where the optimum of the short runs
#   lies below the arm, the centre where it is missing. On simulated stars the intervals became about as short as promised.
# - **Do not trust** it far outside of the measured sizes (its cautions say so): it believes eq. (2) down to the sizes that it
#   names, so take large steps in parts. Where an exponent is not identified, take the cheapest runs first, and ask again.
#
# The same from the command line:
#
# ```sh
# vitscale advise runs/mine --budget 1e18 --out more.toml
# vitscale sweep star more.toml --store runs/mine
# vitscale sweep star my.toml                                  # price and warnings; trains nothing
# vitscale sweep auto laptop --budget 1e15 --store runs/auto
# ```
