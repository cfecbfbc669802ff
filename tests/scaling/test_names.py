"""Names that a misspelt one may mean, over all registered names of the project."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitscale.fits.laws import LAWS
from vitscale.scaling.names import nearest, suggest
from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.presets import preset_names

REGISTERED = {"laws": tuple(LAWS), "recipes": tuple(RECIPES), "presets": preset_names()}


@pytest.mark.parametrize("known", REGISTERED.values(), ids=list(REGISTERED))
@given(data=st.data())
def test_a_letter_left_out_or_swapped_is_understood(known, data):
    long = [name for name in known if len(name) >= 5]
    name = data.draw(st.sampled_from(long))
    at = data.draw(st.integers(1, len(name) - 2))
    left_out = name[:at] + name[at + 1 :]
    swapped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    for wrong in (left_out, swapped, name.upper()):
        assert wrong in known or name in nearest(wrong, known)


def test_the_nearest_stand_first_and_others_only_where_nearly_as_near():
    assert nearest("wdth", ["depth", "mlp_dim", "width"]) == ["width"]
    assert nearest("laptop", ["sovit-star", "laptop-star", "laptop-grid"]) == [
        "laptop-star",
        "laptop-grid",
    ]
    assert nearest("zzz", ["depth", "width"]) == []


def test_sentences():
    assert suggest("dept", ["depth", "width"]) == "did you mean 'depth'? choose from depth, width"
    assert suggest("zzz", ["depth", "width"]) == "choose from depth, width"
    many = [f"name-{number}" for number in range(50)] + ["depth"]
    assert suggest("dept", many) == "did you mean 'depth'?"
    assert suggest("zzz", ["depth"], listed=False) == ""
    assert suggest("dept", ["depth"], listed=False) == "did you mean 'depth'? "
    assert suggest("zzz", []) == ""
