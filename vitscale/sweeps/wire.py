"""A trial as JSON values, for another process or machine to run."""

import dataclasses

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.decode import decode, refuse_unknown


def trial_to_dict(trial: Trial) -> dict:
    """`trial` as JSON values, with its id beside it as a check."""
    return {
        "id": trial.id,
        "shape": dataclasses.asdict(trial.shape),
        "recipe": dataclasses.asdict(trial.recipe),
        "durations": list(trial.durations),
    }


def trial_from_dict(values: object) -> Trial:
    """The trial that `trial_to_dict` wrote.

    Raises `ValueError` for anything else: other keys, wrong types, or values that do not give the
    id they came with, as when two versions of the package disagree about what a recipe is.
    """
    if not isinstance(values, dict):
        raise ValueError(f"a trial is a table of keys and values, got {values!r}")
    refuse_unknown(values, ("id", "shape", "recipe", "durations"), "trial")
    trial = decode(Trial, {k: v for k, v in values.items() if k != "id"}, "trial")
    if values.get("id") != trial.id:
        raise ValueError(
            f"trial id={values.get('id')!r} does not belong to its contents, whose id is "
            f"{trial.id}; use the same version of vitscale on both sides"
        )
    return trial
