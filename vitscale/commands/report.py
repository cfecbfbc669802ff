"""`vitscale report` and `vitscale demo`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tyro.conf import Positional, arg

from vitscale.commands.model_setting import (
    MODEL_GROUP,
    Models,
    changed,
    tells_images,
)
from vitscale.commands.options import Groups, given_words
from vitscale.commands.output import output
from vitscale.commands.pairs import flops_of_a_pair, refuse_pairs_of_a_star
from vitscale.commands.price import check_price
from vitscale.commands.saying import note, working
from vitscale.commands.star_source import COLUMN_GROUPS, Columns, fit_source
from vitscale.fits.option_error import in_flags

if TYPE_CHECKING:
    from vitscale.report.page import Page


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Columns, Models):
    """One self-contained HTML page: the shape for a budget, what speaks for it and against, what was measured,
    what it cost, and how to make it again. Needs no network, prints well.

    SOURCE is a store or a table, as for `vitscale fit`. With --law chinchilla it is a table with a run a row, of
    any model: its parameters N, the tokens or images D that it saw (images with --flops-per-pair), and its
    loss; the page then says how a budget is best divided between the two.

    Examples:  vitscale report runs/laptop --out report.html
               vitscale report runs/laptop --flops 1e16 --price 2.5 --open
               vitscale report sovit_star_sweep.csv --compute forward_gflops --like "ViT-g/14 x 16e9"
               vitscale report runs.csv --law chinchilla --inputs N=params D=tokens --flops 1e21
    """

    groups: ClassVar[Groups] = {
        "The question": ("flops", "like", "price"),
        **MODEL_GROUP,
        **COLUMN_GROUPS,
        "Runs of other models": ("law", "inputs", "flops_per_pair"),
    }

    source: Positional[str]
    """A store (a folder, or s3://..., gs://...), a .csv or a .parquet file."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path("report.html")
    """File to write."""
    flops: float | None = None
    """Budget to answer, in training FLOPs (default: 10 times the most compute that one run measured)."""
    like: str | None = None
    """Budget of a known training run, as "ViT-g/14 x 16e9" (model x images seen)."""
    price: float | None = None
    """Price of an hour of one device, in any currency, to say what training and evaluation cost."""
    no_backtest: bool = False
    """Do not check the law by leaving out the largest runs, which takes some seconds."""
    open: bool = False
    """Show the page in the browser."""
    law: Literal["star", "chinchilla"] = "star"
    """What the runs are described by: eq. (2) along each dimension of a star, or Chinchilla's law."""
    inputs: tuple[str, ...] = ()
    """With --law chinchilla: columns of N and D, as N=params D=tokens (default: the same names)."""
    flops_per_pair: float | None = None
    """With --law chinchilla: training FLOPs for each parameter and token (default: 6); where D is in images,
    about 6 x tokens per image (1176 at 224 px and patch 16)."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Demo:
    """The report of the published star sweep of Getting ViT in Shape: in seconds, without any training.

    Example:  vitscale demo
    """

    out: Annotated[Path, arg(aliases=["-o"])] = Path("vitscale-demo.html")
    """File to write."""
    no_open: bool = False
    """Do not show the page in the browser."""
    json: bool = False
    """Print one JSON object instead of text."""


def run_report(command: Report) -> int:
    from vitscale.fits.answer import check_budget
    from vitscale.fits.rule import flops_like
    from vitscale.report.source import read_star_source
    from vitscale.report.star_report import star_page
    from vitscale.sources import read_source

    if command.flops is not None and command.like is not None:
        raise ValueError('give the budget either as --flops 1e21 or as --like "ViT-g/14 x 16e9"')
    check_price(command.price)
    if command.flops is not None:
        check_budget(command.flops)
    _refuse_other_names(command.out)
    if command.source == "-":
        raise ValueError(
            "a report says what it was made of; save the table in a file and give that"
        )
    flops = flops_like(command.like) if command.like is not None else command.flops
    if command.law == "chinchilla":
        return _report_allocation(command, flops)
    if command.inputs:
        raise ValueError("--inputs names the columns of --law chinchilla; add it")
    refuse_pairs_of_a_star(command.flops_per_pair)
    # A table that cannot be fitted is refused before anything is said of fitting.
    with working(f"fitting {command.source}"):
        frame = read_source(command.source)
        fit_file, table = fit_source(frame, command.source, command, train_flops=True, resamples=0)
    fit_file = dataclasses.replace(
        fit_file,
        setting=changed(fit_file.setting, command),
        assumed=fit_file.assumed and not tells_images(command),
    )
    backtest = None
    if not command.no_backtest:
        backtest = _backtest(table, fit_file.fit.level)
    page = star_page(
        read_star_source(
            command.source,
            frame,
            fit_file,
            table,
            columns=given_words(command, Columns),
            model=given_words(command, Models),
        ),
        flops=flops,
        backtest=backtest,
        price=command.price,
        say=note,
    )
    return _written(page, command.out, show=command.open, as_json=command.json)


def _report_allocation(command: Report, flops: float | None) -> int:
    from vitscale.fits.allocation import backtest_allocation
    from vitscale.fits.allocation_checks import (
        refuse_one_line,
        refuse_store,
        state_cautions,
        unit_cautions,
    )
    from vitscale.fits.law_table import law_table
    from vitscale.report.allocation_report import allocation_page
    from vitscale.sources import read_source

    unused = [
        f"--{field.name.replace('_', '-')}"
        for field in dataclasses.fields(Columns)
        if field.name not in ("error", "model") and getattr(command, field.name) is not None
    ]
    unused += [word for word in given_words(command, Models) if word.startswith("--")]
    if command.price is not None:
        unused.append("--price")
    if unused:
        raise ValueError(
            f"{', '.join(unused)} is for a star, not for --law chinchilla; leave it out"
        )
    pair = flops_of_a_pair(command.flops_per_pair)
    with working(f"reading {command.source}"):
        frame = read_source(command.source)
    refuse_store(frame)
    table = law_table(
        frame,
        command.law,
        inputs=command.inputs,
        target=command.error,
        cluster=command.model,
    )
    refuse_one_line(table.inputs["N"], table.inputs["D"])
    test = None
    if not command.no_backtest:
        note("leaving out the largest runs and predicting them (--no-backtest to leave it)")
        try:
            test = backtest_allocation(table)
        except ValueError as error:
            note(f"no back-test: {in_flags(error)}")
    used = [*table.columns.values(), table.target_column]
    sizes = (table.inputs["N"], table.inputs["D"])
    page = allocation_page(
        command.source,
        table,
        flops=flops,
        flops_per_pair=pair,
        backtest=test,
        asked=[
            *(["--inputs", *command.inputs] if command.inputs else []),
            *(["--error", command.error] if command.error else []),
        ],
        clusters=["--model", command.model] if command.model else [],
        page_flags=["--out", str(command.out), *(["--no-backtest"] if command.no_backtest else [])],
        cautions=[
            *unit_cautions(frame, *sizes, pair, used=used),
            *state_cautions(frame),
        ],
        say=note,
    )
    return _written(page, command.out, show=command.open, as_json=command.json)


def run_demo(command: Demo) -> int:
    from vitscale.report.published import published_page

    _refuse_other_names(command.out)
    note("fitting the published star sweep of Getting ViT in Shape")
    page = published_page(say=note)
    return _written(page, command.out, show=not command.no_open, as_json=command.json)


def _backtest(table: Any, level: float) -> Any:
    from vitscale.fits.prediction.backtest import backtest_star

    note("leaving out the largest runs and predicting them (--no-backtest to leave it)")
    try:
        return backtest_star(table, level=level)
    except ValueError as error:
        note(f"no back-test: {in_flags(error)}")
        return None


def _written(page: "Page", path: Path, *, show: bool, as_json: bool) -> int:
    import webbrowser

    from vitscale.report.page import page_text, write_page

    write_page(page, path)
    content = {
        "written": str(path),
        "headline": page.headline,
        "confidence": page.confidence,
        "reasons": list(page.reasons),
        "checks": [dataclasses.asdict(check) for check in page.checks],
    }
    output(as_json, content, lambda: [*page_text(page), f"wrote {path}"])
    if show and not webbrowser.open(path.resolve().as_uri()):
        note(f"no browser here; open {path} in one")
    return 0


def _refuse_other_names(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {path} is to be an HTML page; call it {path.with_suffix('.html')}")
