"""Any runs as one table, and any rows as a fit: a user's columns, and a store's."""

import pandas as pd
import pytest

from vitscale.fits.datasets import load_chinchilla, load_sovit_star
from vitscale.fits.frame_fit import fit_frame
from vitscale.fits.run_table import run_table
from vitscale.fits.shape_law import fit_star
from vitscale.fits.store_fit import fit_store
from vitscale.fits.tables import star_table
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> pd.DataFrame:
    """Grid and star of the quickstart, measured by a law."""
    store = Store.open(tmp_path_factory.mktemp("runs") / "store", create=True)
    for name in ("quickstart-grid", "quickstart-star"):
        assert run(preset(name), SimulatedEngine(noise=Noise(own=0.005)), store).complete
    return store.read()


def test_columns_are_found_by_name_and_by_mapping():
    runs = load_chinchilla()
    found = run_table(runs)
    assert list(found["compute"]) == list(runs["C"]) and list(found["size"]) == list(runs["N"])
    assert (found.attrs["compute_unit"], found.attrs["metric"]) == ("C", "loss")
    assert len(set(found["model"])) == len(runs)
    other = runs.rename(columns={"C": "flop", "N": "weights", "loss": "nats"}).assign(name="one")
    mapped = run_table(other, compute="flop", error="nats", size="weights", model="name")
    assert mapped.drop(columns="model").equals(found.drop(columns="model"))
    assert set(mapped["model"]) == {"one"}


def test_a_store_gives_every_run(rows):
    found = run_table(rows)
    ok = rows[rows["status"] == "ok"]
    assert len(found) == len(ok)
    assert set(found["model"]) == set(ok["trial_id"])
    assert sorted(found["compute"]) == sorted(ok["train_flops"])
    assert found.attrs["flops_per_unit"] == 1


def test_any_rows_are_fitted(rows):
    star = load_sovit_star()
    columns = {"compute": "forward_gflops", "x": None}
    file, table = fit_frame(star, columns=columns, resamples=0)
    alone = fit_star(star_table(star, compute="forward_gflops"), resamples=0)
    assert file.fit.to_dict() == alone.to_dict() and file.start is None and len(table) == len(star)
    of_store, _ = fit_frame(rows, resamples=0)
    assert of_store.fit.to_dict() == fit_store(rows, resamples=0)[0].fit.to_dict()


def test_refusals(rows):
    with pytest.raises(ValueError, match=r"compute: these are the rows of a store"):
        run_table(rows, compute="train_flops")
    with pytest.raises(ValueError, match=r"x: these are the rows of a store"):
        fit_frame(rows, columns={"x": "width"})
    with pytest.raises(ValueError, match=r"metric='error' chooses among the rows of a store"):
        fit_frame(load_sovit_star(), metric="error")
    with pytest.raises(ValueError, match="no rows"):
        run_table(load_chinchilla().head(0))
    with pytest.raises(ValueError, match="lacks a column named error"):
        run_table(load_chinchilla().drop(columns="loss"))
    with pytest.raises(ValueError, match=r"row 1 \(-1\.0\)"):
        run_table(load_chinchilla().assign(C=-1.0))
