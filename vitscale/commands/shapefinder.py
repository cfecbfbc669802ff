"""`vitscale shapefinder`."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn

from vitscale.commands.looks import Looks
from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import note
from vitscale.scaling.names import suggest

if TYPE_CHECKING:
    from vitscale.fits.device.capacity import Capacity
    from vitscale.fits.device.table import Row
    from vitscale.scaling.finder.record import Conditions, Found
    from vitscale.scaling.finder.search import Search
    from vitscale.scaling.recipe import Recipe
    from vitscale.scaling.shape import Shape


@dataclasses.dataclass(frozen=True)
class Shapefinder(Looks):
    """Which shapes fit this device's memory, and how fast they train.

    Compiles the real training step of every shape ahead of time for what it needs, and times steps, on
    random pixels, of those that fit. Results go to --out one by one; stopped at any moment, the same
    command goes on. What --seconds leaves untried is estimated, and said to be.

    By default the grid of Scaling Vision Transformers' Figure 8 on accelerators, a small one on CPU.

    Examples:  vitscale shapefinder --figure map.png
               vitscale shapefinder --widths 768//12 1024//16,8 --depths 12 24 --mlp-dims 3072 4096
               vitscale shape --flops 1e21 --fits shapefinder.jsonl
    """

    groups: ClassVar[Groups] = {
        "Shapes": ("widths", "depths", "mlp_dims", "patch"),
        "The training step": (
            "recipe",
            "image_size",
            "batch_size",
            "precision",
            "readout",
            "classes",
            "layout",
            "remat",
            "micro_batches",
            "fsdp",
        ),
        "The device": ("memory", "seconds"),
        "The map": ("figure", "show", "theme", "size"),
    }

    out: Path = Path("shapefinder.jsonl")
    """File of the results, which `vitscale shape --fits` reads."""
    widths: tuple[str, ...] = ()
    """Widths, each with the numbers of heads to try it with, as 1024//16,8."""
    depths: tuple[int, ...] = ()
    """Numbers of blocks."""
    mlp_dims: tuple[int, ...] = ()
    """Sizes of the MLP's hidden layer."""
    patch: int | None = None
    """Patch size in pixels (default: 14; 4 on CPU)."""
    image_size: int | None = None
    """Image size in pixels (default: the recipe's; 32 on CPU)."""
    recipe: str = "sovit"
    """Named recipe that gives the optimizer, the loss and the readout."""
    batch_size: int | None = None
    """Images of a training step, on all devices (default: the recipe's; 32 on CPU)."""
    precision: Literal["bfloat16", "float32"] | None = None
    """Of the computation (default: the recipe's; float32 on CPU)."""
    readout: Literal["gap", "map", "tok"] | None = None
    """Mean over tokens, attention pooling, or class token (default: the recipe's)."""
    classes: int = 1000
    """Outputs of the classifier."""
    layout: Literal["auto", "unrolled", "scanned"] = "auto"
    """Blocks unrolled or scanned; on CPU, rematerialisation saves memory in scanned ones alone."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass computes again instead of keeping it."""
    micro_batches: int = 1
    """Parts in which a batch is worked off."""
    fsdp: int = 1
    """Devices that share one copy of parameters and optimizer state."""
    memory: str | None = None
    """Take a device to hold this much, as 16GB (default: what it says itself)."""
    seconds: float | None = None
    """Try no further shape after this long (default: 1800; 90 on CPU)."""
    figure: Path | None = None
    """Draw the map here, as .png, .svg or .pdf."""
    show: Literal["speed", "memory"] = "speed"
    """What the colours of the map are."""
    json: bool = False
    """Print one JSON object instead of a table."""


def run(command: Shapefinder) -> int:
    from vitscale.fits.device.capacity import Capacity
    from vitscale.fits.device.table import rows, table_lines
    from vitscale.scaling.finder.device import peak_flops_per_second
    from vitscale.scaling.finder.journal import open_journal

    _check(command)
    search, shapes = _search(command)
    conditions = search.conditions
    found = _measure(command, search, shapes, open_journal(command.out, conditions))
    capacity = Capacity(conditions, found)
    peak = peak_flops_per_second(conditions.device_kind, conditions.precision)
    table = rows(capacity, shapes, peak_flops_per_second=peak)
    lines = table_lines(capacity, table)
    if search.open_shapes(shapes, found):
        lines.append("time was up before all were tried; the same command goes on")
    if command.figure is not None:
        _draw(command.figure, table, conditions, command.show)
        lines.append(f"wrote {command.figure}")
    output(command.json, _content(command, capacity, table, peak), lambda: lines)
    if not any(row.verdict.fits for row in table):
        _refuse_all(capacity, table)
    return 0


def _check(command: Shapefinder) -> None:
    """Refuse what would be found out only after minutes."""
    from vitscale.scaling.recipes import RECIPES

    if command.recipe not in RECIPES:
        raise ValueError(
            f"recipe={command.recipe!r} is unknown; {suggest(command.recipe, RECIPES)}"
        )
    if command.classes < 1:
        raise ValueError(f"classes={command.classes} is not a whole number from 1")
    if command.seconds is not None and not command.seconds >= 0:
        raise ValueError(f"seconds={command.seconds} is not a time; give a number from 0")
    if command.figure is not None and command.figure.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{command.figure} is no figure; name it .png, .svg or .pdf")


def _search(command: Shapefinder) -> "tuple[Search, list[Shape]]":
    """What to try, and with what, on the devices that are here."""
    from vitscale.scaling.execution import Execution
    from vitscale.scaling.finder import grid
    from vitscale.scaling.finder.device import parse_memory

    memory = None if command.memory is None else parse_memory(command.memory)
    execution = Execution(
        layout=command.layout,
        remat=command.remat,
        micro_batches=command.micro_batches,
        fsdp=command.fsdp,
    )
    on_cpu = _on_cpu()
    patch = command.patch if command.patch is not None else (4 if on_cpu else 14)
    shapes = grid.grid_shapes(
        command.widths or (grid.CPU_WIDTHS if on_cpu else grid.FIGURE_8_WIDTHS),
        command.depths or (grid.CPU_DEPTHS if on_cpu else grid.FIGURE_8_DEPTHS),
        command.mlp_dims or (grid.CPU_MLP_DIMS if on_cpu else grid.FIGURE_8_MLP_DIMS),
        patch=patch,
    )
    recipe = _recipe(command, on_cpu=on_cpu)
    shapes[0].tokens(recipe.image_size)

    from vitscale.scaling.finder.search import Search, conditions_here

    conditions = conditions_here(
        recipe, execution, patch=patch, classes=command.classes, memory_bytes=memory
    )
    return Search(conditions=conditions, recipe=recipe, execution=execution), shapes


def _on_cpu() -> bool:
    import jax

    return jax.default_backend() == "cpu"


def _recipe(command: Shapefinder, *, on_cpu: bool) -> "Recipe":
    """The named recipe on random pixels, with what the flags say otherwise."""
    from vitscale.scaling.data.catalog import PIXELS
    from vitscale.scaling.recipes import RECIPES

    small = {"image_size": 32, "batch_size": 32, "precision": "float32"} if on_cpu else {}
    flags = ("image_size", "batch_size", "precision", "readout")
    given = {name: getattr(command, name) for name in flags}
    return dataclasses.replace(
        RECIPES[command.recipe],
        data=f"{PIXELS}{command.classes}",
        **small | {name: value for name, value in given.items() if value is not None},
    )


def _measure(
    command: Shapefinder, search: "Search", shapes: "list[Shape]", known: "dict[Shape, Found]"
) -> "dict[Shape, Found]":
    """Try what is not known yet, writing down each shape before the next, and telling of it."""
    from vitscale.scaling.finder.journal import append

    seconds = command.seconds
    if seconds is None:
        seconds = 90.0 if _on_cpu() else 1800.0
    found, began, open_at_first = (
        dict(known),
        time.monotonic(),
        len(search.open_shapes(shapes, known)),
    )
    for one in search.run(shapes, known, seconds=seconds):
        append(command.out, one)
        found[one.shape] = one
        elapsed = time.monotonic() - began
        left = len(search.open_shapes(shapes, found))
        done = open_at_first - left
        ahead = min(left * elapsed / done, max(0.0, seconds - elapsed))
        note(
            f"{done}/{open_at_first} shapes, {elapsed / done:.1f} s each, ETA {ahead:.0f} s; "
            f"{one.shape}: {_outcome(one, search.conditions)}"
        )
    return found


def _outcome(found: "Found", conditions: "Conditions") -> str:
    from vitscale.fits.device.choice import shown_bytes

    if found.out_of_memory:
        return f"out of memory ({found.out_of_memory})"
    peak = "" if found.memory is None else shown_bytes(found.memory.peak_bytes)
    if not found.fits(conditions.memory_bytes):
        return f"{peak}, does not fit"
    speed = found.images_per_second
    return peak if speed is None else f"{peak}, {speed:,.4g} images/s"


def _draw(
    path: Path, table: "list[Row]", conditions: "Conditions", show: Literal["speed", "memory"]
) -> None:
    from vitscale.fits.plots.device_map import device_map_figure
    from vitscale.fits.plots.style import save

    save(device_map_figure(table, conditions, quantity=show), path)


def _content(
    command: Shapefinder, capacity: "Capacity", table: "list[Row]", peak: float | None
) -> dict:
    memory, speed = capacity.memory_model, capacity.speed_model
    return {
        "conditions": dataclasses.asdict(capacity.conditions),
        "peak_flops_per_second": peak,
        "memory_error": memory and memory.error,
        "speed_error": speed and speed.error,
        "shapes": [row.to_dict() for row in table],
        "out": str(command.out),
        "figure": command.figure and str(command.figure),
    }


def _refuse_all(capacity: "Capacity", table: "list[Row]") -> NoReturn:
    from vitscale.fits.device.choice import shown_bytes

    known = [row for row in table if row.verdict.peak_bytes is not None]
    smallest = min(known, key=lambda row: row.verdict.peak_bytes or 0, default=table[0])
    need = smallest.verdict.peak_bytes
    raise ValueError(
        f"none of the {len(table)} shapes fits {shown_bytes(capacity.conditions.memory_bytes)}"
        + (f"; {smallest.shape} needs {shown_bytes(need)}" if need else "")
        + "; try smaller shapes, a smaller --batch-size, --micro-batches, or --layout scanned --remat full"
    )
