"""big_vision: the keys of a config that decide its model, and a config that trains it.

Written for google-research/big_vision 0127fb6 (`models/vit.py`, `train.py`, `optax.py`, `utils.py`).
"""

from collections.abc import Mapping
from typing import Any

from vitscale.fits.export.target import Emission, Training
from vitscale.fits.export.writing import json_text
from vitscale.fits.shape_file import ModelSpec

_TFDS = "tfds:"
# Data that the papers' recipes name and nobody can get, by its name in big_vision's own configs.
_NAMED_ONLY = {"jft-3b": "jft_3b", "imagenet21k": "imagenet21k"}


def files(emission: Emission) -> dict[str, str]:
    """`config.json`, the keys of the model, and where the recipe can be told `config.py`, a whole config."""
    written = {"config.json": json_text(big_vision_config(emission.spec))}
    training = emission.training
    if training is not None and not _without_recipe(training):
        written["config.py"] = big_vision_python(emission.spec, training)
    return written


def left_out(spec: ModelSpec, training: Training | str) -> str:
    """big_vision reads TFDS data sets, and nothing of other kinds."""
    reason = training if isinstance(training, str) else _without_recipe(training)
    return f"config.py is left out: {reason}" if reason else ""


def _without_recipe(training: Training) -> str:
    """Why big_vision cannot train by this recipe; "" where it can."""
    data = training.recipe["data"]
    if _dataset(data):
        return ""
    return (
        f"big_vision reads TFDS data sets and the recipe {training.base!r} trains on {data!r}; name "
        f"one with --data tfds:NAME"
    )


def big_vision_config(spec: ModelSpec) -> dict[str, Any]:
    """The keys of a google-research/big_vision config that decide its model (`models/vit.py`)."""
    shape = spec.shape
    return {
        "model_name": "vit",
        "model": {
            "width": shape.width,
            "depth": shape.depth,
            "mlp_dim": shape.mlp_dim,
            "num_heads": shape.heads,
            "patch_size": [shape.patch, shape.patch],
            "pool_type": spec.readout,
            "posemb": "learn",
        },
        "num_classes": spec.classes,
    }


def big_vision_python(spec: ModelSpec, training: Training) -> str:
    """A config file for `python -m big_vision.train --config`, with the recipe in big_vision's terms.

    Weight decay is the same there and here: a part of the weight that each step takes away, times
    the schedule. What big_vision has nothing for stands in the file's docstring.
    """
    recipe, model = training.recipe, big_vision_config(spec)["model"]
    arguments = model | {"patch_size": tuple(model["patch_size"])} | _regularisation(recipe)
    dataset = _dataset(recipe["data"])
    left_out = [name for name, default in _NOTHING_FOR.items() if recipe[name] != default]
    if recipe["crop"] == "pad":
        left_out.append("crop")
    without = f"Left out of the recipe: {', '.join(left_out)}.\n\n" if left_out else ""
    return f'''\
"""ViT of {spec.shape}, for big_vision, by the recipe {training.base!r} of vitscale.

{without}python -m big_vision.train --config config.py --workdir WORKDIR

`--config config.py:10` sets the number of classes, here of 10.
"""

import ml_collections as mlc


def get_config(arg=None):
  classes = int(arg or {spec.classes})
  if not classes:
    raise ValueError('say how many classes the data has, such as --config config.py:1000')

  config = mlc.ConfigDict()
  config.seed = {recipe["seed"]}
  config.num_classes = classes
  config.loss = {_LOSSES[recipe["loss"]]!r}
{_head_bias(recipe)}
  # Model section
  config.model_name = 'vit'
  config.model = dict(
{_keywords(arguments)}
  )

  # Input section
  config.total_examples = {training.examples:_}
  config.input = dict()
  config.input.data = dict(name={dataset!r}, split={recipe["train_split"]!r})
  config.input.batch_size = {recipe["batch_size"]}
  config.input.shuffle_buffer_size = 250_000  # Per host.
  pp_common = (
      f'|value_range(-1, 1)|onehot({{classes}}, key="label", key_result="labels")'
      '|keep("image", "labels")'
  )
  config.input.pp = {_preprocessing(spec, recipe)!r} + pp_common
{_modules(recipe)}
  # Optimizer section
{_optimizer(recipe)}
  config.grad_clip_norm = {recipe["clip_norm"]!r}
  config.lr = {training.learning_rate!r}
{_weight_decay(recipe)}
  config.schedule = dict(
{_keywords(_schedule(recipe, training))}
  )
{_mixup(recipe)}
  config.log_training_steps = 50
  config.ckpt_steps = 1000

  # Evaluation section
  config.evals = dict()
{_evaluation(spec, recipe, dataset)}
  return config
'''


_LOSSES = {"softmax": "softmax_xent", "sigmoid": "sigmoid_xent"}

# Fields of a recipe that big_vision has nothing for, with the value at which they do nothing.
_NOTHING_FOR: dict[str, Any] = {
    "label_smoothing": 0.0,
    "stochastic_depth": 0.0,
    "lr_scaling": "uniform",
    "lr_retries": 0,
}


def _dataset(data: str) -> str:
    """big_vision's name of a recipe's data; "" where it has none."""
    if data.startswith(_TFDS):
        return data.removeprefix(_TFDS)
    return _NAMED_ONLY.get(data, "")


def _keywords(arguments: Mapping[str, Any]) -> str:
    return "\n".join(f"      {name}={value!r}," for name, value in arguments.items())


def _head_bias(recipe: Mapping[str, Any]) -> str:
    # As our training starts under the sigmoid loss, and as in big_vision's train_vit_g.py.
    return "  config.init_head_bias = -10.0\n" if recipe["loss"] == "sigmoid" else ""


def _regularisation(recipe: Mapping[str, Any]) -> dict[str, Any]:
    options = {"dropout": recipe["dropout"]} if recipe["dropout"] else {}
    return options | ({"dtype_mm": "bfloat16"} if recipe["precision"] == "bfloat16" else {})


def _decode(spec: ModelSpec) -> str:
    return "decode" if spec.channels == 3 else f"decode(channels={spec.channels})"


def _preprocessing(spec: ModelSpec, recipe: Mapping[str, Any]) -> str:
    size = spec.image_size
    steps = [_decode(spec)]
    if recipe["crop"] == "inception":
        steps.append(f"inception_crop({size}, {100 * recipe['crop_min_area']:g})")
    else:
        steps.append(f"resize({size})")
    if recipe["flip"]:
        steps.append("flip_lr")
    if recipe["randaugment_layers"]:
        steps.append(f"randaug({recipe['randaugment_layers']}, {recipe['randaugment_magnitude']})")
    return "|".join(steps)


def _modules(recipe: Mapping[str, Any]) -> str:
    if not recipe["randaugment_layers"]:
        return ""
    return "  config.pp_modules = ['ops_general', 'ops_image', 'ops_text', 'archive.randaug']\n"


def _optimizer(recipe: Mapping[str, Any]) -> str:
    momentum = recipe["momentum_dtype"]
    if recipe["optimizer"] == "adafactor":
        name, options = "big_vision.scale_by_adafactor", {"dtype_momentum": momentum}
    else:
        name = "scale_by_adam"
        options = {"b1": recipe["adam_b1"], "b2": recipe["adam_b2"], "mu_dtype": momentum}
    return f"  config.optax_name = {name!r}\n  config.optax = dict(\n{_keywords(options)}\n  )"


def _weight_decay(recipe: Mapping[str, Any]) -> str:
    body, head = recipe["body_weight_decay"], recipe["head_weight_decay"]
    unit = body or head
    if not unit:
        return "  config.wd = None"
    return (
        f"  config.wd = {unit!r}\n"
        f"  config.wd_mults = [('.*head/kernel', {head / unit!r}), ('.*/kernel', {body / unit!r})]"
    )


def _schedule(recipe: Mapping[str, Any], training: Training) -> dict[str, Any]:
    kind = recipe["schedule"]
    # "stair" without steps stays where it is.
    schedule = {"decay_type": "stair" if kind == "constant" else kind}
    schedule["warmup_steps"] = recipe["warmup_steps"]
    if kind == "rsqrt":
        schedule["timescale"] = recipe["timescale_steps"]
    if kind in ("rsqrt", "constant"):
        schedule["cooldown_steps"] = training.cooldown_steps
    return schedule


def _mixup(recipe: Mapping[str, Any]) -> str:
    return f"  config.mixup = dict(p={recipe['mixup']!r})\n" if recipe["mixup"] else ""


def _evaluation(spec: ModelSpec, recipe: Mapping[str, Any], dataset: str) -> str:
    if not recipe["eval_split"]:
        return "  # The recipe leaves it open which split to evaluate on."
    size = spec.image_size
    whole = round(size / recipe["eval_crop_ratio"])
    steps = f"{_decode(spec)}|resize_small({whole})|central_crop({size})"
    return f"""\
  config.evals.val = dict(
      type='classification',
      data=dict(name={dataset!r}, split={recipe["eval_split"]!r}),
      pp_fn={steps!r} + pp_common,
      loss_name=config.loss,
      log_steps=1000,
  )"""
