"""Sweep files: a plan in TOML, checked key by key.

A star:                                   A grid has, instead of [center] and [arms]:

    [sweep]                                   [grid]
    name = "my-star"                          width = [16, 24, 32]
    kind = "star"                             depth = [1, 2, 3]
    durations_examples = [12_800, 51_200]     mlp_dim = [32, 48, 64]
    seeds = [0]                               head_dim = 8
                                              patch = 4
    [center]
    width = 48
    depth = 4
    mlp_dim = 128
    heads = 6        # the same in every arm; or head_dim = 8: as many as the width holds
    patch = 4

    [arms]
    width = [12, 18, 24, 36]
    mlp_dim = [16, 32, 64]

    [recipe]
    base = "sovit"   # a named recipe; the keys below change it. Without, all keys are given here
    learning_rate = 1e-3

    [[only]]         # optional, any number: of this star, these trials alone are trained
    dimension = "width"
    size = 12        # without dimension and size: the centre
    seeds = [0]
    durations_examples = [51_200]
"""

import dataclasses
import json
import tomllib
from pathlib import Path

from vitscale.scaling.names import suggest
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.decode import decode, refuse_unknown
from vitscale.sweeps.plan import GridSweep, Kind, Part, Plan, StarSweep, heads_of

_TABLES: dict[Kind, tuple[str, ...]] = {
    "star": ("sweep", "center", "arms", "recipe"),
    "grid": ("sweep", "grid", "recipe"),
}
_OPTIONAL: dict[Kind, tuple[str, ...]] = {"star": ("only",), "grid": ()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sweep:
    name: str
    kind: Kind
    durations_examples: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Center:
    width: int
    depth: int
    mlp_dim: int
    heads: int | None = None
    head_dim: int | None = None
    patch: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arms:
    width: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    mlp_dim: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Only:
    dimension: str | None = None
    size: int | None = None
    seeds: tuple[int, ...] = (0,)
    durations_examples: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Grid:
    width: tuple[int, ...]
    depth: tuple[int, ...]
    mlp_dim: tuple[int, ...]
    heads: int | None = None
    head_dim: int | None = None
    patch: int


def read_plan(path: str | Path) -> Plan:
    """The plan in the TOML file `path`.

    Raises `ValueError` that names the file, the key and what is accepted, `OSError` where the file
    cannot be read.
    """
    try:
        return plan_from_toml(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path}: {error}") from error


def plan_from_toml(text: str) -> Plan:
    """The plan written in `text`. Raises `ValueError` that names the key and what is accepted."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from error
    sweep_table, recipe_table = tables.get("sweep"), tables.get("recipe")
    if not isinstance(sweep_table, dict):
        raise ValueError("the file lacks the table [sweep]")
    _refuse_other_units(sweep_table, recipe_table)
    sweep = decode(_Sweep, sweep_table, "[sweep]")
    known = (*_TABLES[sweep.kind], *_OPTIONAL[sweep.kind])
    refuse_unknown(tables, known, f"the file of a {sweep.kind} sweep")
    for name in _TABLES[sweep.kind]:
        if name not in tables:
            raise ValueError(f"the file of a {sweep.kind} sweep lacks the table [{name}]")
    recipe = _recipe(recipe_table)
    build = _star if sweep.kind == "star" else _grid
    return Plan(name=sweep.name, sweep=build(tables, sweep, recipe))


def plan_to_toml(plan: Plan) -> str:
    """`plan` as TOML that `plan_from_toml` reads back equal. The recipe is written out in full, so
    that the file means the same when a named recipe changes."""
    sweep = plan.sweep
    tables: dict[str, dict] = {
        "sweep": {
            "name": plan.name,
            "kind": plan.kind,
            "durations_examples": sweep.durations,
            "seeds": sweep.seeds,
        }
    }
    heads_rule = {} if sweep.head_dim is None else {"head_dim": sweep.head_dim}
    if isinstance(sweep, StarSweep):
        center = dataclasses.asdict(sweep.center)
        tables["center"] = center | heads_rule
        tables["arms"] = dict(sweep.arms)
    else:
        heads_rule = heads_rule or {"heads": sweep.heads}
        tables["grid"] = {**sweep.values(), **heads_rule, "patch": sweep.patch}
    tables["recipe"] = dataclasses.asdict(sweep.recipe)
    blocks = [_block(f"[{name}]", table) for name, table in tables.items()]
    for part in sweep.only if isinstance(sweep, StarSweep) else ():
        where = {} if part.size is None else {"dimension": part.dimension, "size": part.size}
        when = {"seeds": part.seeds, "durations_examples": part.durations}
        blocks.append(_block("[[only]]", where | when))
    return "\n\n".join(blocks) + "\n"


def _block(heading: str, table: dict) -> str:
    return "\n".join([heading, *(f"{key} = {_toml(value)}" for key, value in table.items())])


def _star(tables: dict, sweep: _Sweep, recipe: Recipe) -> StarSweep:
    center = decode(_Center, tables["center"], "[center]")
    heads = center.heads
    if heads is None:
        heads = heads_of(center.width, None, center.head_dim, "[center].width")
    try:
        shape = Shape(
            width=center.width,
            depth=center.depth,
            mlp_dim=center.mlp_dim,
            heads=heads,
            patch=center.patch,
        )
    except ValueError as error:
        raise ValueError(f"[center]: {error}") from error
    arms = dataclasses.asdict(decode(_Arms, tables["arms"], "[arms]"))
    return StarSweep(
        center=shape,
        arms=arms,
        recipe=recipe,
        durations=sweep.durations_examples,
        seeds=sweep.seeds,
        head_dim=center.head_dim,
        only=_parts(tables.get("only", [])),
    )


def _parts(tables: object) -> tuple[Part, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("only must be written as tables [[only]], one for each network to train")
    found = [decode(_Only, table, f"only[{number}]") for number, table in enumerate(tables, 1)]
    return tuple(
        Part(
            dimension=part.dimension,
            size=part.size,
            seeds=part.seeds,
            durations=part.durations_examples,
        )
        for part in found
    )


def _grid(tables: dict, sweep: _Sweep, recipe: Recipe) -> GridSweep:
    grid = decode(_Grid, tables["grid"], "[grid]")
    return GridSweep(
        widths=grid.width,
        depths=grid.depth,
        mlp_dims=grid.mlp_dim,
        patch=grid.patch,
        recipe=recipe,
        durations=sweep.durations_examples,
        seeds=sweep.seeds,
        heads=grid.heads,
        head_dim=grid.head_dim,
    )


def _recipe(table: object) -> Recipe:
    """The recipe of a file: a named one with keys changed, or all keys given."""
    if not isinstance(table, dict) or "base" not in table:
        return decode(Recipe, table, "[recipe]")
    base = table["base"]
    if not isinstance(base, str) or base not in RECIPES:
        raise ValueError(
            f"[recipe].base={base!r} is no named recipe; {suggest(str(base), RECIPES)}"
        )
    changes = {key: value for key, value in table.items() if key != "base"}
    return decode(Recipe, dataclasses.asdict(RECIPES[base]) | changes, "[recipe]")


def _refuse_other_units(sweep: dict, recipe: object) -> None:
    """Refuse lengths in another unit than examples, with the conversion where it is known."""
    for key, value in sweep.items():
        stem, _, unit = key.partition("_")
        if stem not in ("duration", "durations", "steps", "epochs", "examples") or (
            key == "durations_examples"
        ):
            continue
        advice = ""
        if "steps" in (stem, unit) and isinstance(recipe, dict):
            batch_size = recipe.get("batch_size")
            if batch_size is None and recipe.get("base") in RECIPES:
                batch_size = RECIPES[recipe["base"]].batch_size
            steps = value if isinstance(value, list) else [value]
            if isinstance(batch_size, int) and all(isinstance(step, int) for step in steps):
                examples = [step * batch_size for step in steps]
                advice = (
                    f"; these steps of batch_size={batch_size} are durations_examples = {examples}"
                )
        raise ValueError(
            f"[sweep] has no key {key!r}: lengths are numbers of examples (images seen), "
            f"durations_examples = [...]{advice}"
        )


def _toml(value: object) -> str:
    """One value as TOML: numbers, strings, booleans and lists of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"{value!r} has no TOML form")
