"""Where the numbers of a report come from: versions, hashes, seeds, devices, dates."""

import datetime
import importlib.metadata
import platform

import vitscale
from vitscale.report.source import StarSource

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


def provenance(source: StarSource) -> tuple[tuple[str, str], ...]:
    """Facts by name, as they are to be read."""
    fit, start = source.fit_file.fit, source.fit_file.start
    facts = [
        ("measurements", source.name),
        ("their SHA-256", source.sha256),
    ]
    rows = source.rows
    if rows is not None:
        facts += [
            ("recipe", _several(rows["recipe_id"])),
            ("data", _several(rows["data"])),
            ("seeds", _several(rows["seed"])),
            ("measured on", _several(rows["device"])),
            ("measured with", f"vitscale {_several(rows['vitscale_version'])}"),
            ("measured from, to", f"{rows['measured_at'].min()}, {rows['measured_at'].max()}"),
        ]
    facts += [
        (
            "law",
            "f(x, t) = α x^-a + (β x^b + ξ) t^-c + ε for each dimension; exponent s = c / (a + b)",
        ),
        ("fitted to", f"{fit.metric}, compute in {fit.compute_unit}"),
        ("intervals", f"{100 * fit.level:g}%, {next(iter(fit.dimensions.values())).s.method}"),
        ("starting point", "read off the star" if start is None else start.source),
        *software(),
    ]
    return tuple(facts)


def software() -> tuple[tuple[str, str], ...]:
    """When and by what the report was written."""
    return (
        ("written", f"{_now()} by vitscale {vitscale.__version__}"),
        ("libraries", f"Python {platform.python_version()}, {_libraries()}"),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _libraries() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)


def _several(column, most: int = 6) -> str:
    values = [str(value) for value in sorted(column.unique())]
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more
