"""Recipes and trials: everything that decides what a training run computes, as frozen values.

Pure Python, so that plans can be made and priced without importing jax. A `Recipe` is everything
about a run but its shape and length; a `Trial` is one shape, one recipe and the durations at which
its "infinite" trunk is cooled down and measured.
"""

import bisect
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from typing import Literal, get_args

from vitscale.scaling.evaluate.names import check_evaluators
from vitscale.scaling.names import suggest
from vitscale.scaling.shape import Counting, Readout, Shape

Optimizer = Literal["adamw", "adafactor"]
Schedule = Literal["rsqrt", "constant", "cosine", "linear"]
Loss = Literal["softmax", "sigmoid"]
Precision = Literal["float32", "bfloat16"]
Crop = Literal["none", "inception", "pad"]
"""How a training image is cut out: whole (images have the right size already), a random part of random
shape resized (Inception), or a random shift within a border (small images)."""
LearningRateScaling = Literal["uniform", "mup"]
"""One learning rate for all parameters of a shape, or hidden kernels slower with width (muP)."""

TRUNK_SCHEDULES: tuple[Schedule, ...] = ("rsqrt", "constant")
"""Schedules that do not depend on where training ends, so that one trunk serves many durations."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training run that is neither shape nor length.

    Steps are optimizer steps of `batch_size` examples. Weight decay is decoupled: each step takes
    `schedule(step) / learning_rate * decay` of the weight away, whatever the learning rate, and
    touches kernels only (`head_weight_decay` those of the classifier, `body_weight_decay` the rest).

    - `data`: "glyphs", or real images: "tfds:NAME", "folder:PATH", "npz:PATH" (`data/catalog.py`).
      `eval_split` is found by itself where it is empty; splits may be slices, as "train[:99%]".
    - `crop`, `crop_min_area`, `flip`, `mixup` (its alpha) and `randaugment_*` vary training images;
      `eval_crop_ratio` is the part of an image's short side that the central crop of evaluation
      keeps (the papers' resize to 256 and crop to 224 is 0.875).
    - `dropout` and `stochastic_depth` (of the last block, rising linearly) act in training alone.
    - `lr_retries`: how often a trial whose loss diverges is trained anew, each time at half the learning
      rate; what is measured then says so.
    - `evaluators` measure every cooled-down model (`evaluate/table.py`); `fewshot_data` names the data
      sets of few-shot probes, by default the training data's own.

    The peak learning rate of a shape is
    `learning_rate * (reference_width / width)**lr_width_exponent
    * (reference_depth / depth)**lr_depth_exponent`.

    Raises `ValueError` that names the field, its value and what is accepted.
    """

    data: str
    image_size: int
    channels: int = 3
    readout: Readout = "gap"
    batch_size: int
    loss: Loss = "softmax"
    label_smoothing: float = 0.0
    optimizer: Optimizer = "adamw"
    learning_rate: float
    reference_width: int = 64
    reference_depth: int = 4
    lr_width_exponent: float = 0.0
    lr_depth_exponent: float = 0.0
    schedule: Schedule = "rsqrt"
    warmup_steps: int
    timescale_steps: int = 10_000
    cooldown_steps: int
    cooldown_max_fraction: float = 0.5
    body_weight_decay: float = 0.0
    head_weight_decay: float = 0.0
    clip_norm: float = 1.0
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    momentum_dtype: Precision = "float32"
    precision: Precision = "float32"
    seed: int = 0
    # Later fields: a recipe that leaves them at their defaults keeps the id it had without them.
    train_split: str = "train"
    eval_split: str = ""
    crop: Crop = "none"
    crop_min_area: float = 0.05
    flip: bool = False
    eval_crop_ratio: float = 1.0
    mixup: float = 0.0
    randaugment_layers: int = 0
    randaugment_magnitude: int = 0
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    lr_scaling: LearningRateScaling = "uniform"
    evaluators: tuple[str, ...] = ("upstream", "fewshot")
    fewshot_data: tuple[str, ...] = ()
    lr_retries: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name}={value!r} is unknown; {suggest(str(value), choices)}")
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole or (kind is float and isinstance(value, float))) or not (
                low <= value <= high
            ):
                noun = "a whole number" if kind is int else "a number"
                raise ValueError(f"{name}={value!r} is not {noun} from {low:g} to {high:g}")
            if kind is float:
                # 1 and 1.0 are the same recipe, so they must give the same id (and -0.0 is 0.0).
                object.__setattr__(self, name, float(value) + 0.0)
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a name; put it in quotes")
        for name in _LISTS:
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
                raise ValueError(f"{name}={value!r} is not a list of names")
            object.__setattr__(self, name, tuple(value))
        check_evaluators(self.evaluators)
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip={self.flip!r} is neither true nor false")
        if self.learning_rate == 0:
            raise ValueError("learning_rate=0 trains nothing; use a positive number")

    @functools.cached_property
    def id(self) -> str:
        """Hash of the recipe without its seed: rows that share it may be fitted together."""
        return _digest({**self.identity(), "seed": None})

    def identity(self) -> dict[str, object]:
        """The fields as they are hashed: those that came later only where they are not at their
        defaults, so that what was measured before keeps its name."""
        later = {field.name: field.default for field in _later_fields()}
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {k: v for k, v in values if k not in later or v != later[k]}

    def peak_learning_rate(self, shape: Shape) -> float:
        """Learning rate of `shape` at the end of warmup."""
        return (
            self.learning_rate
            * (self.reference_width / shape.width) ** self.lr_width_exponent
            * (self.reference_depth / shape.depth) ** self.lr_depth_exponent
        )

    def cooldown_steps_of(self, total_steps: int) -> int:
        """Steps of the cooldown that ends at `total_steps`: `cooldown_steps`, but at most
        `cooldown_max_fraction` of the whole (Scaling Vision Transformers shortens it likewise for
        its short runs)."""
        return min(self.cooldown_steps, int(self.cooldown_max_fraction * total_steps))


_TEXTS = ("data", "train_split", "eval_split")
_LISTS = ("evaluators", "fewshot_data")
_CHOICES = {
    "crop": get_args(Crop),
    "lr_scaling": get_args(LearningRateScaling),
    "readout": get_args(Readout),
    "loss": get_args(Loss),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "momentum_dtype": get_args(Precision),
    "precision": get_args(Precision),
}

_BIG = 10**15
_RANGES = {
    "image_size": (int, 1, 100_000),
    "channels": (int, 1, 1_000),
    "batch_size": (int, 1, 10_000_000),
    "label_smoothing": (float, 0, 0.999),
    "learning_rate": (float, 0, 1_000),
    "reference_width": (int, 1, _BIG),
    "reference_depth": (int, 1, _BIG),
    "lr_width_exponent": (float, -4, 4),
    "lr_depth_exponent": (float, -4, 4),
    "warmup_steps": (int, 0, _BIG),
    "timescale_steps": (int, 1, _BIG),
    "cooldown_steps": (int, 0, _BIG),
    "cooldown_max_fraction": (float, 0, 1),
    "body_weight_decay": (float, 0, 1),
    "head_weight_decay": (float, 0, 1),
    "clip_norm": (float, 1e-6, 1e9),
    "adam_b1": (float, 0, 0.999999),
    "adam_b2": (float, 0, 0.999999),
    "seed": (int, 0, 2**31 - 1),
    "crop_min_area": (float, 1e-3, 1),
    "eval_crop_ratio": (float, 0.1, 1),
    "mixup": (float, 0, 10),
    "randaugment_layers": (int, 0, 20),
    "randaugment_magnitude": (int, 0, 30),
    "dropout": (float, 0, 0.999),
    "stochastic_depth": (float, 0, 0.999),
    "lr_retries": (int, 0, 20),
}


def _later_fields() -> tuple[dataclasses.Field, ...]:
    """Fields of `Recipe` that came after the first stores were written."""
    fields = dataclasses.fields(Recipe)
    return fields[[field.name for field in fields].index("train_split") :]


def shortest_duration(recipe: Recipe) -> int:
    """The fewest examples that can be trained on: whole batches, past the warmup and a cooldown."""
    most = recipe.warmup_steps + recipe.cooldown_steps
    steps = bisect.bisect_left(
        range(most), recipe.warmup_steps, key=lambda steps: _trunk_steps(recipe, steps)
    )
    return max(1, steps) * recipe.batch_size


def _trunk_steps(recipe: Recipe, steps: int) -> int:
    """Steps of a run of `steps` that are no cooldown."""
    if recipe.schedule not in TRUNK_SCHEDULES:
        return steps
    return steps - recipe.cooldown_steps_of(steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One shape, one recipe, and the durations (examples seen) at which it is measured.

    `durations` are sorted, distinct and multiples of the batch size. Raises `ValueError` where they
    are not, where a cooldown would start inside the warmup, and where a schedule that depends on the
    end of training (cosine, linear) is asked for more than one duration.
    """

    shape: Shape
    recipe: Recipe
    durations: tuple[int, ...]

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.shape.tokens(recipe.image_size)
        if not self.durations or list(self.durations) != sorted(set(self.durations)):
            raise ValueError(
                f"durations={list(self.durations)} must be distinct and ascending, in examples"
            )
        for duration in self.durations:
            if duration < 1 or duration % recipe.batch_size:
                nearest = max(1, round(duration / recipe.batch_size)) * recipe.batch_size
                multiple = max(nearest, shortest_duration(recipe))
                raise ValueError(
                    f"durations: {duration} examples is not a multiple of "
                    f"batch_size={recipe.batch_size}; use {multiple}"
                )
            if self.trunk_steps(duration) < recipe.warmup_steps:
                what = f"the cooldown to {duration} examples would start"
                if recipe.schedule not in TRUNK_SCHEDULES:
                    what = f"a run of {duration} examples would end"
                raise ValueError(
                    f"durations: {what} at step {self.trunk_steps(duration)}, inside the warmup of "
                    f"{recipe.warmup_steps} steps; use a longer duration, from {shortest_duration(recipe)} "
                    f"on, or a shorter warmup"
                )
        if recipe.schedule not in TRUNK_SCHEDULES and len(self.durations) > 1:
            raise ValueError(
                f"schedule={recipe.schedule!r} is tied to the end of training, so a trial has one "
                f"duration, got {len(self.durations)}; use {' or '.join(TRUNK_SCHEDULES)}, or one "
                f"trial for each duration"
            )

    @functools.cached_property
    def id(self) -> str:
        """Hash of the scientific configuration: names the stored files.

        Durations are left out where the trunk does not depend on them, so that asking a measured
        trial for one more duration repeats no measurement.
        """
        identity: dict[str, object] = {
            "shape": dataclasses.asdict(self.shape),
            "recipe": self.recipe.identity(),
        }
        if self.recipe.schedule not in TRUNK_SCHEDULES:
            identity["durations"] = list(self.durations)
        return _digest(identity)

    @property
    def packing_key(self) -> str:
        """Equal for trials that one vectorised step can train together: they differ in seed and
        learning rate alone."""
        recipe = self.recipe.identity() | {"seed": None, "learning_rate": None}
        shape = dataclasses.asdict(self.shape)
        return _digest({"shape": shape, "recipe": recipe, "durations": list(self.durations)})

    def steps(self, duration: int) -> int:
        """Optimizer steps of a run of `duration` examples."""
        return duration // self.recipe.batch_size

    def trunk_steps(self, duration: int) -> int:
        """Step at which the cooldown that ends at `duration` leaves the trunk."""
        return _trunk_steps(self.recipe, self.steps(duration))

    def forward_flops_per_example(self, counting: Counting = "xla") -> int:
        """Forward cost of one image by the model that is trained, without its classifier."""
        return self.shape.forward_flops(
            image_size=self.recipe.image_size,
            channels=self.recipe.channels,
            readout=self.recipe.readout,
            counting=counting,
        )

    def params(self) -> int:
        """Parameters of the trunk and its readout, without the classifier."""
        return self.shape.params(
            image_size=self.recipe.image_size,
            channels=self.recipe.channels,
            readout=self.recipe.readout,
        )

    def train_flops(self, duration: int) -> float:
        """Compute of a run of `duration` examples, as the laws see it: 3 x forward x examples."""
        return 3.0 * self.forward_flops_per_example() * duration

    def spent_steps(self, durations: Iterable[int] | None = None) -> int:
        """Steps that `durations` (default: all) cost with one shared trunk and a branch for each."""
        chosen = self.durations if durations is None else tuple(durations)
        if not chosen:
            return 0
        branches = sum(self.steps(d) - self.trunk_steps(d) for d in chosen)
        return max(self.trunk_steps(d) for d in chosen) + branches

    def spent_flops(self, durations: Iterable[int] | None = None) -> float:
        """Training FLOPs that are really spent: trunk once, plus every cooldown."""
        examples = self.spent_steps(durations) * self.recipe.batch_size
        return 3.0 * self.forward_flops_per_example() * examples

    def separate_flops(self) -> float:
        """Training FLOPs of the same durations run separately, without a shared trunk."""
        return sum(self.train_flops(d) for d in self.durations)


def _digest(value: dict) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
