"""What to train: star and grid sweeps, written out as trials.

A star varies one dimension at a time through a large centre, so that each dimension's law
(Getting ViT in Shape, arXiv 2305.13035, eq. (2)) can be fitted by itself. A grid is the cross
product of small shapes, from which the starting point x0 of the scaling rule is taken.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from vitscale.scaling.names import suggest
from vitscale.scaling.recipe import TRUNK_SCHEDULES, Recipe, Trial
from vitscale.scaling.shape import DIMENSIONS, Shape

Kind = Literal["star", "grid"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Trials of a star that are to be trained: one of its shapes, at some of its seeds and durations.

    `dimension` and `size` name the shape on its arm; both None: the centre.
    """

    dimension: str | None = None
    size: int | None = None
    seeds: tuple[int, ...]
    durations: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarSweep:
    """A centre and, for each dimension in `arms`, the values it takes while the others stay put.

    `durations` are in examples. With `head_dim` a width arm keeps the channels of a head; without,
    it keeps the centre's number of heads, as the paper does (16). Where `only` is given, nothing
    else of the star is trained: it extends a star that was measured before.

    Raises `ValueError` that names the arm and the value.
    """

    center: Shape
    arms: Mapping[str, tuple[int, ...]]
    recipe: Recipe
    durations: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    head_dim: int | None = None
    only: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        for dimension in self.arms:
            if dimension not in DIMENSIONS:
                raise ValueError(
                    f"arms: {dimension!r} is not a dimension; {suggest(dimension, DIMENSIONS)}"
                )
        arms = {d: tuple(self.arms[d]) for d in DIMENSIONS if self.arms.get(d)}
        if not arms:
            raise ValueError("arms: a star needs values for one dimension at least, got none")
        object.__setattr__(self, "arms", arms)
        _check_common(self)
        heads = heads_of(self.center.width, self.center.heads, self.head_dim, "center.width")
        if heads != self.center.heads:
            raise ValueError(
                f"center: heads={self.center.heads} contradicts head_dim={self.head_dim} at width "
                f"{self.center.width}; use heads={heads}"
            )
        for dimension, values in arms.items():
            _check_sizes(f"arms.{dimension}", values)
            if getattr(self.center, dimension) in values:
                raise ValueError(
                    f"arms.{dimension}: {getattr(self.center, dimension)} is the centre itself, "
                    f"which is always part of the star; drop it from the arm"
                )
        for number, part in enumerate(self.only, 1):
            _check_part(self, part, f"only[{number}]")

    def shapes(self) -> list[Shape]:
        """The centre, then the arms in the order of `DIMENSIONS`.

        Raises `ValueError` that names the arm whose width no heads divide.
        """
        arms = self.arms.items()
        return [self.center, *(self.shape_at(name, v) for name, values in arms for v in values)]

    def shape_at(self, dimension: str | None, size: int | None) -> Shape:
        """The centre with another `size` in `dimension`; the centre itself where both are None.

        Raises `ValueError` where no heads divide a width.
        """
        if dimension is None or size is None:
            return self.center
        heads = self.center.heads
        if dimension == "width":
            heads = heads_of(size, heads, self.head_dim, "arms.width")
        return dataclasses.replace(self.center, **{dimension: size, "heads": heads})

    def dimension_of(self, shape: Shape) -> str | None:
        """The arm that `shape` lies on, or `None` for the centre, which lies on all of them.

        Raises `ValueError` for a shape that is not part of the star.
        """
        if shape not in self.shapes():
            raise ValueError(f"shape ({shape}) is not part of this star")
        for dimension in self.arms:
            if getattr(shape, dimension) != getattr(self.center, dimension):
                return dimension
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridSweep:
    """The cross product of `widths`, `depths` and `mlp_dims`.

    Exactly one of `heads` (the same for all) and `head_dim` (heads = width / head_dim) is given.
    `durations` are in examples.

    Raises `ValueError` that names the key and the value.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_dims: tuple[int, ...]
    patch: int
    recipe: Recipe
    durations: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    heads: int | None = None
    head_dim: int | None = None

    def __post_init__(self) -> None:
        if (self.heads is None) == (self.head_dim is None):
            raise ValueError(
                f"heads={self.heads} and head_dim={self.head_dim}: a grid needs exactly one of them"
            )
        for name, values in self.values().items():
            _check_sizes(name, values)
        _check_common(self)

    def values(self) -> dict[str, tuple[int, ...]]:
        """The values of each dimension."""
        return dict(zip(DIMENSIONS, (self.widths, self.depths, self.mlp_dims), strict=True))

    def shapes(self) -> list[Shape]:
        """All combinations, width slowest and mlp_dim fastest."""
        return [
            Shape(
                width=width,
                depth=depth,
                mlp_dim=mlp_dim,
                heads=heads_of(width, self.heads, self.head_dim, "width"),
                patch=self.patch,
            )
            for width in self.widths
            for depth in self.depths
            for mlp_dim in self.mlp_dims
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A named sweep, checked and written out as `trials`.

    Raises `ValueError` where a shape is impossible, a duration cannot be trained, or the name does
    not suit a file.
    """

    name: str
    sweep: StarSweep | GridSweep

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name={self.name!r} cannot name files; use up to 64 of a-z, 0-9, '.', '_' and "
                f"'-', beginning with a letter or digit"
            )
        _ = self.trials

    @property
    def kind(self) -> Kind:
        """Whether this is a star or a grid."""
        return "star" if isinstance(self.sweep, StarSweep) else "grid"

    @functools.cached_property
    def trials(self) -> tuple[Trial, ...]:
        """One trial for each shape and seed; shape by shape, the star's centre first. Of a star with
        `only`, the trials of its parts in their order."""
        if isinstance(self.sweep, StarSweep) and self.sweep.only:
            return tuple(trial for part in self.sweep.only for trial in _of_part(self.sweep, part))
        return tuple(
            Trial(
                shape=shape,
                recipe=dataclasses.replace(self.sweep.recipe, seed=seed),
                durations=durations,
            )
            for shape in self.sweep.shapes()
            for seed in self.sweep.seeds
            for durations in shared_trunks(self.sweep.recipe, self.sweep.durations)
        )


def _of_part(sweep: StarSweep, part: Part) -> list[Trial]:
    return [
        Trial(
            shape=sweep.shape_at(part.dimension, part.size),
            recipe=dataclasses.replace(sweep.recipe, seed=seed),
            durations=durations,
        )
        for seed in part.seeds
        for durations in shared_trunks(sweep.recipe, part.durations)
    ]


def shared_trunks(recipe: Recipe, durations: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """Durations grouped by trunk: all together where the schedule allows it, else one by one."""
    if recipe.schedule in TRUNK_SCHEDULES:
        return [durations]
    return [(duration,) for duration in durations]


def _check_part(star: StarSweep, part: Part, where: str) -> None:
    """Refuse what is not part of `star`, so that the file says what the whole star will be."""
    if (part.dimension is None) != (part.size is None):
        raise ValueError(
            f"{where}: dimension={part.dimension!r} and size={part.size!r} go together; leave out "
            f"both for the centre"
        )
    if part.dimension is not None and part.size not in star.arms.get(part.dimension, ()):
        raise ValueError(
            f"{where}: {part.dimension}={part.size} is not a size of the star's arms; add it there"
        )
    for name in ("seeds", "durations"):
        values, known = list(getattr(part, name)), list(getattr(star, name))
        if not values or values != sorted(set(values)) or not set(values) <= set(known):
            raise ValueError(
                f"{where}: {name}={values} must be distinct, ascending, and among those of the "
                f"sweep, {known}"
            )


def _check_common(sweep: StarSweep | GridSweep) -> None:
    for name in ("durations", "seeds"):
        values = getattr(sweep, name)
        if not values or list(values) != sorted(set(values)):
            raise ValueError(f"{name}={list(values)} must be distinct and ascending, and not empty")
    if sweep.head_dim is not None:
        _check_sizes("head_dim", (sweep.head_dim,))


def _check_sizes(name: str, values: Iterable[int]) -> None:
    """Refuse what is not a list of distinct, ascending, positive whole numbers."""
    values = list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: {value!r} is not a size; expected a whole number from 1")
    if not values or values != sorted(set(values)):
        raise ValueError(f"{name}={values} must be distinct and ascending, and not empty")


def heads_of(width: int, heads: int | None, head_dim: int | None, where: str) -> int:
    """Heads of a shape `width` channels wide: width / `head_dim` where that is given, else `heads`.

    Raises `ValueError` that begins with `where` and names the nearest legal widths.
    """
    divisor, rule = (heads, "heads") if head_dim is None else (head_dim, "head_dim")
    if divisor is None or divisor < 1:
        raise ValueError(f"{where}: {rule}={divisor!r} is not a size; give heads or head_dim")
    if width % divisor:
        below = width // divisor * divisor
        options = " or ".join(str(w) for w in (below, below + divisor) if w)
        raise ValueError(f"{where}: {width} is not divisible by {rule}={divisor}; use {options}")
    return divisor if head_dim is None else width // head_dim
