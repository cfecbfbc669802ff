"""Named sweeps: the paper's own, and ours from minutes on a laptop to an hour on a large GPU.

A preset is a star and a grid that belong together: `preset("sovit-star")`, `preset("sovit-grid")`.
"""

import dataclasses

from vitscale.scaling.names import suggest
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.plan import GridSweep, Plan, StarSweep

Sizes = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The numbers of a star and a grid. Sizes are width, depth, mlp_dim; durations in examples.

    Exactly one of `heads` and `head_dim` is given.
    """

    summary: str
    recipe: str
    patch: int
    heads: int | None = None
    head_dim: int | None = None
    center: tuple[int, int, int]
    arms: tuple[Sizes, Sizes, Sizes]
    star_durations: Sizes
    grid: tuple[Sizes, Sizes, Sizes]
    grid_durations: Sizes
    star_seeds: Sizes = (0,)
    grid_seeds: Sizes = (0,)


def _batches(*steps: int, batch_size: int = 64) -> Sizes:
    return tuple(count * batch_size for count in steps)


PRESETS = {
    # Getting ViT in Shape (arXiv 2305.13035), Section 4: the values of both sweeps. The durations
    # are 500K, 2M and 4M steps (star) and 4M steps (grid) of 128 images, as recovered from the
    # compute axes of Figures 3 and 4.
    "sovit": Preset(
        summary="the paper's own sweeps on JFT-3B; to plan and price, the data are not public",
        recipe="sovit",
        patch=14,
        heads=16,
        center=(1968, 40, 6144),
        arms=(
            (608, 768, 928, 1088, 1328, 1648),
            (8, 10, 12, 16, 20, 24),
            (1088, 1360, 1728, 2160, 2592, 3072),
        ),
        star_durations=(64_000_000, 256_000_000, 512_000_000),
        grid=((416, 512, 608, 768), (6, 8, 10, 12), (768, 928, 1088, 1360)),
        grid_durations=(512_000_000,),
    ),
    "quickstart": Preset(
        summary="minutes on two CPU cores: the whole path, live",
        recipe="glyphs",
        patch=4,
        head_dim=4,
        center=(24, 5, 48),
        arms=((4, 8, 12, 16), (1, 2, 3, 4), (2, 4, 8, 16)),
        star_durations=_batches(160, 320, 640, 1_280),
        grid=((8, 12, 16), (1, 2, 3), (4, 8, 16)),
        grid_durations=_batches(100, 250, 600),
        star_seeds=(0, 1),
    ),
    "laptop": Preset(
        summary="hours on a laptop",
        recipe="glyphs",
        patch=4,
        head_dim=8,
        center=(96, 8, 384),
        arms=((8, 16, 24, 32, 48, 72), (1, 2, 3, 4, 6), (8, 16, 32, 64, 128, 192)),
        star_durations=_batches(500, 1_000, 2_000, 4_000),
        grid=((16, 24, 32, 48), (1, 2, 3, 4), (24, 32, 48, 64)),
        grid_durations=_batches(500, 1_000),
        star_seeds=(0, 1),
    ),
    "gpu-hour": Preset(
        summary="an hour on one large GPU",
        recipe="glyphs",
        patch=4,
        head_dim=16,
        center=(384, 12, 1536),
        arms=(
            (16, 32, 64, 128, 192, 288),
            (1, 2, 3, 4, 6, 8),
            (16, 32, 64, 128, 256, 768),
        ),
        star_durations=_batches(2_000, 4_000, 8_000, 16_000),
        grid=((32, 48, 64, 96), (2, 3, 4, 6), (64, 96, 128, 192)),
        grid_durations=_batches(4_000, 8_000),
    ),
}
"""All presets, by name."""


def preset_names() -> tuple[str, ...]:
    """Names that `preset` knows."""
    return tuple(f"{name}-{kind}" for name in PRESETS for kind in ("star", "grid"))


def preset(name: str) -> Plan:
    """The plan called `name`, such as "quickstart-star".

    Raises `ValueError` for an unknown name, with the nearest known ones.
    """
    if name not in preset_names():
        raise ValueError(f"unknown preset {name!r}; {suggest(name, preset_names())}")
    base, _, kind = name.rpartition("-")
    row = PRESETS[base]
    return Plan(name=name, sweep=_star(row) if kind == "star" else _grid(row))


def _star(row: Preset) -> StarSweep:
    width, depth, mlp_dim = row.center
    heads = row.heads if row.head_dim is None else width // row.head_dim
    assert heads is not None
    return StarSweep(
        center=Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=row.patch),
        arms=dict(zip(("width", "depth", "mlp_dim"), row.arms, strict=True)),
        recipe=RECIPES[row.recipe],
        durations=row.star_durations,
        seeds=row.star_seeds,
        head_dim=row.head_dim,
    )


def _grid(row: Preset) -> GridSweep:
    widths, depths, mlp_dims = row.grid
    return GridSweep(
        widths=widths,
        depths=depths,
        mlp_dims=mlp_dims,
        patch=row.patch,
        recipe=RECIPES[row.recipe],
        durations=row.grid_durations,
        seeds=row.grid_seeds,
        heads=row.heads,
        head_dim=row.head_dim,
    )
