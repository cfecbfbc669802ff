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
# # 02 From a star sweep to exponents: how should each dimension grow?
#
# With ten times the compute, how much wider, how much deeper, and with how much larger an MLP should a ViT be? A
# *star* sweep answers with few runs: width, depth and MLP size are varied one at a time through one large centre.
#
# Shown on the star of *Getting ViT in Shape* (arXiv 2305.13035), recovered from its figures; nothing is trained or
# downloaded. To fit your own, name it here: a store, or a table with the columns `dimension`, `x`, `error`,
# compute (`train_flops`, `forward_gflops`, ...) and, if you have it, `is_center`.

# %%
SOURCE = None  # or "runs/laptop", "my.csv"
COLUMNS = {}  # of a table: {"x": "hidden", "compute": "gpu_hours", "error": "val_loss"}

# %%
# %matplotlib inline
import pandas as pd

from vitscale import fit_frame, plots, published_rule, read_source
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.prediction.backtest import backtest_star
from vitscale.fits.report import fit_lines, isoflop_lines
from vitscale.fits.shape_law import fit_star

frame = load_sovit_star() if SOURCE is None else read_source(SOURCE)
fit_file, star = fit_frame(frame, columns=COLUMNS, resamples=0)
fit = fit_file.fit
if SOURCE is None:
    star = star.assign(examples=frame["images"].to_numpy())  # names the training lengths in figures

# %% [markdown]
# ## 1. The star and its law
#
# Along each arm error follows eq. (2),
#
# $$f(x, t) = \alpha x^{-a} + (\beta x^{b} + \xi)\,t^{-c} + \varepsilon,$$
#
# for a size $x$ trained with compute $t$: larger models have a lower floor and need more compute to reach it. For
# every $t$ there is one best size, $x^*(t) \propto t^s$ with $s = c/(a+b)$, the diamonds. Below: what the law leaves over.

# %%
plots.star_figure(star, fit)

# %% [markdown]
# ## 2. The exponents
#
# The paper states its exponents three times, and not alike. Its text rounds, its Figure 1 is drawn with another set,
# and Figure 5 with a third; all come from a search over a coarse lattice. Least squares over all values gives those of
# the first columns, with intervals that allow for the noise which the durations of one network share.

# %%
paper = {"Figure 1": "sovit-figure1", "text": "sovit-text", "Figure 5": "sovit-figure5"}
exponents = pd.DataFrame(
    {
        name: {
            "s": f"{found.s.estimate:.3f}",
            "95% low": f"{found.s.low:.3f}",
            "95% high": f"{found.s.high:.3f}",
            "alone, doubles with": f"{2 ** (1 / found.s.estimate):.3g}× compute",
            "identified": found.identified,
            "networks": found.models,
            "rms error": f"{found.rms:.2%}",
            **{
                f"paper, {where}": f"{published_rule(key).exponents[name].estimate:.3f}"
                for where, key in paper.items()
                if SOURCE is None
            },
        }
        for name, found in fit.dimensions.items()
    }
).T
exponents

# %% [markdown]
# ## 3. How well is each exponent known?
#
# The profile says how much worse the best fit gets with $s$ held at a value. A narrow valley is a decided exponent, a
# flat one is not decided, however good the fit looks.

# %%
plots.profile_figure(fit)

# %%
print("\n".join(fit_lines(fit, isoflop_lines(star, fit))))

# %% [markdown]
# ## 4. What the centre is worth
#
# The paper trained the centre and kept it out of its fits. Without it no MLP of its star is larger than 3072, the right
# side of that valley is hardly seen, and the data no longer decide how MLPs should grow: anything from a slow to a fast
# exponent fits. Keep the centre in.

# %%
without_center = fit_star(star, include_center=False, resamples=0)
plots.star_figure(star, without_center)

# %%
for flag in without_center.flags:
    print(flag.sentence)

# %% [markdown]
# ## 5. Would it have foretold the longest runs?
#
# The longest run of every network is left out and predicted from the shorter ones.

# %%
backtest = backtest_star(star, leave_out="duration")
plots.backtest_figure(backtest, metric=fit.metric)

# %%
print(backtest.conclusion)

# %% [markdown]
# ## 6. What this is worth
#
# - **Trust** an exponent that is identified, within its interval, for the recipe and the data that were measured. The
#   best size at the measured compute is far better known than how it grows.
# - **Do not trust** an exponent that a caution names: sizes that do not straddle $x^*(t)$ at every duration, a parameter
#   at its bound, one network on which all hangs. [05](05_what_to_run_next.ipynb) says which runs would settle it.
# - The exponents are of one dimension at a time, the others at the centre. To grow all together, the joint rule takes a
#   third of each: [03](03_shape_for_a_budget.ipynb).
#
# The same from the command line:
#
# ```sh
# vitscale sweep star laptop --store runs/laptop
# vitscale fit runs/laptop --out fit.json --figures figures --backtest
# vitscale fit my.csv --x hidden --compute gpu_hours --error val_loss
# vitscale reproduce sovit
# ```
