"""vitscale's own trial: a plan of one shape, for `vitscale train` and `vitscale sweep grid`."""

import json

from vitscale.fits.export.target import Emission, Training
from vitscale.fits.shape_file import ModelSpec


def files(emission: Emission) -> dict[str, str]:
    """`trial.toml`, for `vitscale train FILE --store STORE`."""
    assert emission.training is not None  # lacks() asks for it
    return {"trial.toml": trial_toml(emission.spec, emission.training)}


def lacks(spec: ModelSpec, training: Training | str) -> str:
    """A trial is a shape with a recipe and a length."""
    return training if isinstance(training, str) else ""


def trial_toml(spec: ModelSpec, training: Training) -> str:
    """The trial as `vitscale.sweeps.config.read_plan` takes it: a grid of this one shape.

    The recipe is the named one with what the model and its data ask for otherwise.
    """
    shape = spec.shape
    data = training.recipe["data"]
    return f"""\
# Train it: vitscale train trial.toml --store STORE --weights FOLDER
# Change the recipe below by any of its keys, such as batch_size or learning_rate.
[sweep]
name = "trial"
kind = "grid"
durations_examples = [{training.examples}]  # images seen
seeds = [0]

[grid]
width = [{shape.width}]
depth = [{shape.depth}]
mlp_dim = [{shape.mlp_dim}]
heads = {shape.heads}
patch = {shape.patch}

[recipe]
base = {_text(training.base)}
data = {_text(data)}
image_size = {spec.image_size}
channels = {spec.channels}
readout = {_text(spec.readout)}
"""


def _text(value: str) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
