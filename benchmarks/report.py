"""docs/benchmarks.md, its tables written between markers from what was measured; no number by hand."""

from pathlib import Path

from benchmarks.goals import goals
from benchmarks.markdown import excess, label, named, seconds, table, write_between

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
COMPARISON = DOCUMENT.with_name("comparison.md")


def write(result: dict, document: Path = DOCUMENT) -> None:
    """Replace what stands between each pair of markers in the document.

    Raises `ValueError` where the document lacks a pair.
    """
    write_between(document, sections(result))


def write_comparison(result: dict, document: Path = COMPARISON) -> None:
    """The same for the page that compares tools."""
    write_between(document, {"comparison": _comparison(result)})


def _comparison(result: dict) -> list[str]:
    """Each tool by its time and its distance from the optimum, for one fit and for 4,000 bootstraps."""
    bootstraps = {entry["name"]: entry for entry in result["bootstraps"]["entries"]}
    quickest = named(result["chinchilla"]["entries"], "vitscale")["cpu_s"]
    rows = [
        [
            label(entry),
            seconds(entry["cpu_s"]),
            f"{entry['cpu_s'] / quickest:,.0f}",
            excess(entry["above_optimum"]),
        ]
        for entry in result["chinchilla"]["entries"]
    ]
    own = seconds(bootstraps["vitscale"]["cpu_s"])
    others = ", ".join(
        f"{label(entry)} {seconds(entry['cpu_s'])}{' (scaled up)' if entry.get('scaled_up') else ''}"
        for name, entry in bootstraps.items()
        if name != "vitscale" and "cpu_s" in entry
    )
    return [
        *table(("fitter", "one fit, CPU", "times vitscale's", "above the optimum, relative"), rows),
        "",
        f"{result['bootstraps']['resamples']:,} bootstraps: vitscale {own}; {others}.",
        "",
        *_machine(result["machine"]),
    ]


def sections(result: dict) -> dict[str, list[str]]:
    """Lines of Markdown by the name of their markers."""
    return {
        "machine": _machine(result["machine"]),
        "goals": goals(result),
        "chinchilla": _chinchilla(result["chinchilla"]),
        "optimum": _optimum(result),
        "bootstraps": _bootstraps(result["bootstraps"]),
        "star": _star(result["star"]),
        "growth": _growth(result["growth"]),
    }


def _machine(machine: dict) -> list[str]:
    return [
        f"Measured on {machine['date']} on one {machine['processor']}, {machine['system']}, with one "
        f"thread; Python {machine['python']}, NumPy {machine['numpy']}, SciPy {machine['scipy']}, "
        f"vitscale {machine['vitscale']}."
    ]


def _chinchilla(section: dict) -> list[str]:
    quickest = named(section["entries"], "vitscale")["cpu_s"]
    rows = []
    for entry in section["entries"]:
        p = entry["parameters"]
        found = "" if "starts" not in entry else f"{100 * entry['starts_at_optimum']:.3g}%"
        near = "" if "starts" not in entry else f"{100 * entry['starts_within_1_percent']:.3g}%"
        rows.append(
            [
                label(entry),
                entry["how"],
                seconds(entry["cpu_s"]),
                f"{entry['cpu_s'] / quickest:,.0f}",
                f"{entry['objective']:.10e}",
                excess(entry["above_optimum"]),
                found,
                near,
                f"{p['E']:.5f}, {p['alpha']:.5f}, {p['beta']:.5f}",
            ]
        )
    header = (
        "fitter",
        "how",
        "CPU",
        "times vitscale's",
        "objective",
        "above the optimum",
        "starts at it",
        "starts within 1%",
        "E, alpha, beta",
    )
    return [
        *table(header, rows),
        "",
        f"With profile intervals of all five parameters, vitscale takes "
        f"{seconds(section['with_profiles_s'])}.",
    ]


def _optimum(result: dict) -> list[str]:
    rows = []
    for name, key in (("shipped", "chinchilla"), ("the replication's own", "replication")):
        known = result[key]["optimum"]
        own = named(result[key]["entries"], "vitscale")
        p, starts, profile = known["parameters"], known["starts"], known["profile"]
        rows.append(
            [
                f"{known['points']}, {name}",
                f"{known['objective']:.15e}",
                f"{p['E']:.5f}, {p['alpha']:.5f}, {p['beta']:.5f}",
                f"{starts['at_the_optimum']} of {starts['count']}",
                f"{profile['valleys']} in {profile['cells']} cells",
                f"{known['gradient']:.0e}",
                f"{known['relative_gap']:.0e}",
                excess(own["above_optimum"]),
            ]
        )
    header = (
        "points",
        "objective",
        "E, alpha, beta",
        "random starts at it",
        "valleys of the profile",
        "largest slope",
        "could still fall by (relative)",
        "vitscale above it",
    )
    return table(header, rows)


def _bootstraps(section: dict) -> list[str]:
    own = named(section["entries"], "vitscale")["cpu_s"]
    rows = []
    for entry in section["entries"]:
        name = label(entry)
        if "not_run" in entry:
            rows.append([name, entry["how"], f"not run: {entry['not_run']}", "", "", "", ""])
            continue
        judged = "median_excess" in entry
        rows.append(
            [
                name,
                entry["how"],
                seconds(entry["cpu_s"]) + (" (scaled up)" if entry.get("scaled_up") else ""),
                f"{entry['cpu_s'] / own:,.0f}",
                excess(entry["median_excess"]) if judged else "another objective",
                excess(entry["worst_excess"]) if judged else "",
                f"{100 * entry['within_1e-6']:.3g}%" if judged else "",
            ]
        )
    header = (
        "fitter",
        "how",
        "CPU",
        "times vitscale's",
        "median excess",
        "worst excess",
        "resamples within 1e-6",
    )
    return [
        *table(header, rows),
        "",
        f"Excess: over the least objective that any of the fitters reached, on the first "
        f"{section['judged_on']} resamples, which are all that scipy's loops were given; their seconds "
        f"are scaled up to {section['resamples']:,}.",
    ]


def _star(section: dict) -> list[str]:
    rows = []
    for entry in section["entries"]:
        scaled = " (scaled up)" if entry.get("scaled_up") else ""
        rows.append(
            [
                entry["name"],
                seconds(entry["fit_s"]),
                seconds(entry["bootstrap_s"]) + scaled,
                seconds(entry["cpu_s"]) + scaled,
                f"{entry['ratio']:.0f}" if "ratio" in entry else "1",
                excess(max(entry["excess_of_fits"])) if scaled else "",
                excess(entry["worst_excess"]) if scaled else "",
                excess(entry["least_excess"]) if scaled else "",
            ]
        )
    header = (
        "fitter",
        "three fits",
        "bootstraps",
        "in all",
        "times vitscale's",
        "fits: worst over vitscale",
        "resamples: worst over vitscale",
        "resamples: least over vitscale",
    )
    return [
        *table(header, rows),
        "",
        f"The loops were given {section['loop_resamples']} resamples of each dimension; their seconds "
        f"are scaled up to {section['resamples']:,}.",
    ]


def _growth(section: dict) -> list[str]:
    rows = [
        [
            row["grows"],
            row["law"],
            f"{row['sizes'][0]:,}: {seconds(row['cpu_s'][0])}",
            f"{row['sizes'][1]:,}: {seconds(row['cpu_s'][1])}",
            f"{row['slope']:.2f} from {row['from']:,}",
        ]
        for row in section["slopes"]
    ]
    return table(("what grows", "law", "least", "most", "slope"), rows)
