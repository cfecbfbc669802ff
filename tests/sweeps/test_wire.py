"""A trial goes to another process and comes back the same, or not at all."""

import json

import pytest
from sweep_samples import trial

from vitscale.sweeps.presets import preset
from vitscale.sweeps.wire import trial_from_dict, trial_to_dict


def test_trials_come_back_equal():
    for of in [trial(), *preset("sovit-star").trials]:
        assert trial_from_dict(json.loads(json.dumps(trial_to_dict(of)))) == of


def changed(**changes):
    return json.loads(json.dumps(trial_to_dict(trial()))) | changes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "a trial is a table of keys and values, got None"),
        (changed(id="0123456789ab"), "id='0123456789ab' does not belong to its contents"),
        (changed(durations=[1280.0]), r"trial.durations\[0\]=1280.0 is not a whole number"),
        (changed(durations=[]), "durations="),
        (changed(extra=1), "trial has no key 'extra'"),
        (changed(shape={"width": 8}), "trial.shape lacks the key 'depth', a whole number"),
        (changed(recipe="os.system"), "trial.recipe must be a table of keys and values"),
    ],
)
def test_anything_else_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        trial_from_dict(values)
