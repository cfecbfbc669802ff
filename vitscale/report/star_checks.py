"""What speaks for the answer of a star, and what against, in sentences."""

from vitscale.fits.answer import Answer, show_interval
from vitscale.fits.prediction.backtest_result import Backtest
from vitscale.fits.report import isoflop_checks, sharing_lines
from vitscale.report.page import Check
from vitscale.report.sentences import as_sentence
from vitscale.report.source import StarSource


def star_checks(source: StarSource, found: Answer | None, test: Backtest | None) -> list[Check]:
    """Most of them say what the data decide; `found` and `test` add what they warn of."""
    fit = source.fit_file.fit
    checks = []
    for name, dimension in fit.dimensions.items():
        if dimension.identified:
            said = f"{name}: the data decide how it grows with compute, s = {show_interval(dimension.s)}."
            # What is decided by points that something is wrong with is not fine.
            checks.append(Check("care" if dimension.flags else "good", said))
        else:
            said = f"{name}: the data do not decide how it grows with compute ({show_interval(dimension.s)})."
            checks.append(Check("poor", said))
    checks += [Check("care", as_sentence(flag.sentence)) for flag in fit.flags]
    if found is not None:
        checks += [Check("care", as_sentence(warning)) for warning in found.warnings]
        checks.append(Check("note", as_sentence(" ".join(found.rounding.lines()))))
    checks += [Check("care", as_sentence(note)) for note in fit.notes]
    if test is not None:
        too_narrow = test.coverage_range[1] < test.level
        standing = "care" if too_narrow or test.biased else "good"
        checks.append(Check(standing, f"Back-test: {test.conclusion}"))
    checks += [
        Check("note" if agrees else "care", f"By a second method, for {line}")
        for line, agrees in isoflop_checks(source.table, fit)
    ]
    checks += [Check("note", as_sentence(line.strip())) for line in sharing_lines(fit)]
    noise = (
        f"Durations of one network share noise with a correlation of {fit.correlation:.2f} ± "
        f"{fit.correlation_sd:.2f} (one standard deviation); the intervals allow for it."
    )
    return [*checks, Check("note", noise)]
