"""What a report says of a star: the shape for a budget, and everything that speaks for or against it."""

import shlex
from collections.abc import Callable
from pathlib import Path

from vitscale.emit import answer_texts
from vitscale.fits.answer import Answer, TooSmallError, answer, show_interval
from vitscale.fits.confidence import confidence
from vitscale.fits.export import TARGETS
from vitscale.fits.prediction.backtest_result import Backtest
from vitscale.fits.report import conclusion
from vitscale.fits.rule import Rule
from vitscale.fits.star_fit import StarFit
from vitscale.report.cost import cost, runs_of, total, trial_table
from vitscale.report.numbers import exact, power, short
from vitscale.report.page import Check, Config, Page, Table
from vitscale.report.provenance import provenance
from vitscale.report.sentences import as_sentence
from vitscale.report.source import StarSource
from vitscale.report.star_checks import star_checks
from vitscale.report.star_pictures import star_pictures
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.plan import StarSweep

TIMES = (1.0, 10.0, 100.0)
"""Budgets that a report answers besides, as multiples of the most compute measured in one run."""


def star_page(
    source: StarSource,
    *,
    flops: float | None = None,
    backtest: Backtest | None = None,
    price: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Page:
    """The report of `source`.

    - `flops`: the budget asked about, in training FLOPs; by default ten times the most that one run measured.
    - `backtest`: of the same star, where one was made. `price`: of an hour of one device, for the cost.
    - `say`: told what is being done.

    Raises `ValueError` where `flops` is no budget that the rule can answer.
    """
    fit, measured = source.fit_file.fit, source.fit_file.measured_flops()
    rule, why_not = _rule(source)
    budget = flops if flops is not None else 10 * measured if measured else None
    found = None
    if rule is not None and budget is not None:
        try:
            found = answer(
                rule,
                budget,
                source.fit_file.setting,
                measured_flops=measured,
                fit=fit,
                assumed=source.fit_file.assumed,
            )
        except TooSmallError as error:
            if flops is not None:
                raise
            why_not = str(error)
    say("drawing the figures")
    pictures = tuple(star_pictures(source, rule, found, backtest))
    parts = {
        "title": f"vitscale report: {source.name}",
        "pictures": pictures,
        "checks": (*star_checks(source, found, backtest), *_start(rule)),
        "cost": cost(source, price=price),
        "tables": (_exponents(fit), *trial_table(source)),
        "provenance": provenance(source),
        "commands": _commands(source, budget, shaped=found is not None),
        "files": tuple(
            Config(f"{name}.toml", plan_to_toml(plan)) for name, plan in source.plans.items()
        ),
    }
    if found is None or rule is None:
        return _without_answer(fit, why_not, parts)
    sure = confidence(found, fit, measured_flops=measured)
    return Page(
        asked=f"Which Vision Transformer should be trained with {power(found.flops)} training FLOPs? By the measurements in {source.name}:",
        headline=f"Width {found.shape.width}, depth {found.shape.depth}, MLP size {found.shape.mlp_dim}",
        answer=(_described(found), _rounding(found)),
        sizes=_sizes(found, rule),
        confidence=sure.standing,
        reasons=sure.reasons,
        more=_budgets(rule, source, measured),
        configs=_configs(found),
        **parts,
    )


def _rule(source: StarSource) -> tuple[Rule | None, str]:
    """The rule of the fit, or why there is none."""
    try:
        return source.fit_file.rule(), ""
    except ValueError as error:
        return None, str(error)


def _without_answer(fit: StarFit, why: str, parts: dict) -> Page:
    reason = why or "the unit of compute is not known in FLOPs, so no budget can be answered"
    return Page(
        asked="Which Vision Transformer should be trained?",
        headline="These measurements do not give a shape",
        answer=(as_sentence(reason), as_sentence(conclusion(fit))),
        sizes=None,
        confidence="poor",
        reasons=("There is no shape to trust.",),
        more=None,
        configs=(),
        **parts,
    )


def _described(found: Answer) -> str:
    shape, setting = found.shape, found.setting
    return (
        f"{shape.heads} heads of {shape.head_dim} channels, patches of {shape.patch} on images of "
        f"{setting.image_size} pixels: {short(found.params)} parameters, {short(found.forward_flops)} FLOPs an image "
        f"forward. Train on {short(found.images)} images (training FLOPs = 3 × forward FLOPs × images)."
    )


def _rounding(found: Answer) -> str:
    """What the whole sizes cost, as a sentence."""
    cost = found.rounding
    if cost.total is None:
        farthest = max(abs(move - 1) for move in cost.moves.values())
        return f"Rounding moved no size by more than {100 * farthest:.2g}%."
    return (
        f"Rounding to whole sizes costs {cost.total.estimate:.1g} of {cost.metric} at the same compute, by "
        f"the fitted laws."
    )


def _sizes(found: Answer, rule: Rule) -> Table:
    rows = [
        (
            name,
            f"{getattr(found.shape, name):,}",
            *_ends(show_interval(size)),
            f"{10 ** (rule.exponents[name].estimate * rule.weights[name]):.3g}×",
            f"{show_interval(rule.exponents[name])}",
        )
        for name, size in found.sizes.items()
    ]
    level = next(iter(found.sizes.values())).level
    header = (
        "dimension",
        "take",
        "the rule says",
        f"{100 * level:g}% interval",
        "per 10× compute",
        "exponent s (this size alone)",
    )
    return Table(header, tuple(rows), "What the rule says, before rounding to what hardware likes")


def _start(rule: Rule | None) -> tuple[Check, ...]:
    """Why the sizes of the rule are others than those of the fitted laws."""
    if rule is None:
        return ()
    sizes = " × ".join(f"{size.estimate:.4g}" for size in rule.start.sizes.values())
    origin = (
        f"read off the star ({sizes})"
        if rule.start.fallback
        else f"of a grid of small shapes ({sizes})"
    )
    said = (
        f"The rule grows all sizes together from a start {origin}; a size that grows alone, the others "
        f"as in the centre, has another optimum. From another start it gives other sizes."
    )
    return (Check("note", said),)


def _ends(shown: str) -> tuple[str, str]:
    """An interval as it is shown, as the estimate and the rest."""
    estimate, _, rest = shown.partition(" ")
    return estimate, rest.strip("[]()").replace(", ", " to ") or "exact"


def _budgets(rule: Rule, source: StarSource, measured: float | None) -> Table | None:
    if not measured:
        return None
    rows = []
    for times in TIMES:
        try:
            found = answer(rule, times * measured, source.fit_file.setting, measured_flops=measured)
        except ValueError:
            continue
        sure = confidence(found, source.fit_file.fit, measured_flops=measured)
        shape = found.shape
        rows.append(
            (
                power(found.flops),
                f"{times:g}×",
                f"{shape.width} × {shape.depth} × {shape.mlp_dim}",
                short(found.params),
                short(found.images),
                {"good": "well determined", "care": "with care", "poor": "poorly"}[sure.standing],
            )
        )
    header = (
        "training FLOPs",
        "of the most measured",
        "width × depth × MLP",
        "parameters",
        "images",
        "trust",
    )
    return Table(header, tuple(rows), "Shapes for other budgets, by the same rule")


def _configs(found: Answer) -> tuple[Config, ...]:
    """What `vitscale shape --emit all` would write, each with who reads it."""
    texts, _ = answer_texts(found, ["all"], Path(), lies_in=Path("FOLDER"))
    readers = {target.folder: target.reader for target in TARGETS.values() if target.folder}
    return tuple(
        Config(str(path), text, readers.get(path.parts[0], "")) for path, text in texts.items()
    )


def _exponents(fit: StarFit) -> Table:
    rows = tuple(
        (
            name,
            _ends(show_interval(found.s))[0],
            _ends(show_interval(found.s))[1],
            "yes" if found.identified else "no",
            "none" if found.x_star is None else show_interval(found.x_star.x),
            f"{found.n} of {found.models} networks",
            f"{100 * found.rms:.2g}%",
        )
        for name, found in fit.dimensions.items()
    )
    unit = "training FLOPs" if fit.compute_unit == "train_flops" else fit.compute_unit
    header = (
        "dimension",
        "exponent s",
        f"{100 * fit.level:g}% interval",
        "identified",
        f"best size alone, the others as in the centre, at {power(fit.t_ref)} {unit}",
        "points",
        "off by (rms)",
    )
    return Table(header, rows, "The fitted laws")


def _commands(
    source: StarSource, budget: float | None, *, shaped: bool
) -> tuple[tuple[str, str], ...]:
    """What makes the report again; `shaped`: whether there is a shape to ask for."""
    if source.commands:
        return source.commands
    where = shlex.quote(source.name)
    columns, model = (
        "".join(f" {shlex.quote(word)}" for word in words)
        for words in (source.columns, source.model)
    )
    found = []
    for name, plan in source.plans.items():
        kind = "star" if isinstance(plan.sweep, StarSweep) else "grid"
        found.append(
            (
                f"vitscale sweep {kind} {shlex.quote(name)}.toml --store {where}",
                f"Train it (again), from the plan below saved as {name}.toml; what is measured is not trained again.",
            )
        )
    found.append((f"vitscale fit {where}{columns} --out fit.json", "Fit the laws."))
    if budget is not None and shaped:
        found.append(
            (
                f"vitscale shape --fit fit.json --flops {exact(budget)}{model} --emit all --out my-vit",
                "The shape for this budget, and its configs.",
            )
        )
    if budget is not None:
        found.append(
            (
                f"vitscale report {where}{columns} --flops {exact(budget)}{model} --out report.html",
                "This report.",
            )
        )
    if source.rows is not None:
        spent = total(runs_of(source.rows), "spent_flops")
        found.append(
            (
                f"vitscale advise {where}{columns} --budget {power(spent / 2)} --out more.toml",
                "What to measure next, for half of what was spent.",
            )
        )
    return tuple(found)
