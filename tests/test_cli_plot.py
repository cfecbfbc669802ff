"""`vitscale plot` as a user meets it: what is drawn, what is not and why, and in which look."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from report_samples import RECIPE

from vitscale import cli
from vitscale.drawing import FIGURES, PAGES, Columns, Material, cost_table
from vitscale.fits.datasets import path
from vitscale.fits.plots.looks import Look
from vitscale.scaling.shape import Shape
from vitscale.sources import read_source, store_of
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, small_law
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import run as run_plan
from vitscale.sweeps.store import Store

STAR = path("sovit_star_sweep")

PLAN = Plan(
    name="mine",
    sweep=StarSweep(
        center=Shape(width=64, depth=12, mlp_dim=256, heads=16, patch=4),
        arms={"width": (8, 16, 24, 32), "depth": (1, 2, 4, 6), "mlp_dim": (8, 16, 32, 64)},
        recipe=RECIPE,
        durations=(64 * 400, 64 * 1600, 64 * 6400),
        head_dim=4,
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A measured star."""
    store = Store.open(tmp_path_factory.mktemp("plot") / "store", create=True)
    engine = SimulatedEngine(small_law, noise=Noise(own=0.003, seed=1))
    assert run_plan(PLAN, engine, store).complete
    return store.path


def plot(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.run(["plot", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_figure_of_a_store(capsys, store, tmp_path):
    code, out, err = plot(capsys, store, "--out", tmp_path / "new", "--json")
    told = json.loads(out)
    assert code == 0
    drawn = [each["figure"] for each in told["written"]]
    assert set(drawn) | set(told["not_drawn"]) == set(FIGURES)
    # A small star need not allow each; these it must.
    assert {"star", "isoflop", "parity", "profiles", "frontier", "plan_cost"} <= set(drawn)
    for each in told["written"]:
        assert imread(each["path"]).shape[0] > 200
    assert all(sentence and "\n" not in sentence for sentence in told["not_drawn"].values())
    # It takes longer than a second, so it says where it is.
    assert "[9/9] plan_cost" in err


def test_a_dark_slide_as_svg(capsys, store, tmp_path):
    code, out, _ = plot(
        *(capsys, store, "-o", tmp_path, "--only", "star", "parity"),
        *("--theme", "dark", "--size", "slide", "--format", "svg"),
    )
    assert code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["parity.svg", "star.svg"]
    assert out.splitlines() == [f"wrote {tmp_path / name}.svg" for name in ("star", "parity")]
    assert Look(theme="dark").palette.background in (tmp_path / "star.svg").read_text()


def test_lengths_of_a_store_are_in_images(store):
    def fit():
        from vitscale.fits.store_fit import fit_store

        return fit_store(read_source(store), resamples=0)

    material = Material(frame=read_source(store), columns=Columns(), store=store_of(store), fit=fit)
    labels = [text.get_text() for text in FIGURES["star"](material).legends[0].get_texts()]
    assert labels[:3] == ["25.6k images", "102k images", "410k images"]
    # Every trial of the store is told by its shape.
    assert set(material.shapes) == {trial.id for trial in PLAN.trials}


def test_the_cost_of_a_plan_is_its_preview():
    bill = preview(PLAN, measured={PLAN.trials[0].id: PLAN.trials[0].durations})
    table = cost_table(bill)
    assert len(table) == len(PLAN.trials)
    total = table[["trunk_flops", "cooldown_flops"]].to_numpy(float).sum()
    assert total == pytest.approx(bill.spent_flops)
    assert table["remaining_flops"].to_numpy(float).sum() == pytest.approx(bill.remaining_flops)
    trial = PLAN.trials[1]
    # 100 steps of cooldown for each of three durations; the longest trunk ends 100 steps before 6,400.
    per_step = 3 * trial.forward_flops_per_example() * 64
    row = table.iloc[1]
    assert (row["trunk_flops"], row["cooldown_flops"]) == pytest.approx(
        (6300 * per_step, 300 * per_step)
    )


def test_interactive_pages_beside_the_pictures(capsys, store, tmp_path):
    code, _, _ = plot(capsys, store, "-o", tmp_path, "--only", "star", "parity", "--interactive")
    assert code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "parity.png",
        "star.html",
        "star.png",
    ]
    page = (tmp_path / "star.html").read_text()
    trial = PLAN.trials[0]
    assert trial.id in page
    assert f"width {trial.shape.width}, depth {trial.shape.depth}" in page
    assert set(PAGES) <= set(FIGURES)


def test_a_table_says_what_it_lacks(capsys, tmp_path):
    code, out, _ = plot(
        *(capsys, path("chinchilla"), "-o", tmp_path, "--compute", "C", "--error", "loss"),
        *("--only", "frontier", "star", "plan_cost"),
    )
    assert code == 0
    wrote, no_star, no_plan = out.splitlines()
    assert wrote == f"wrote {tmp_path / 'frontier.png'}"
    assert no_star.startswith("no star: the table lacks a column named x; it has C, N, D, loss")
    assert no_plan.startswith("no plan_cost: no plan is recorded here")


def test_nothing_to_draw_is_refused_and_writes_nothing(capsys, tmp_path):
    folder = tmp_path / "new"
    code, out, err = plot(
        capsys, path("chinchilla"), "-o", folder, "--only", "star", "parity", "frontier"
    )
    assert (code, out) == (2, "")
    assert err.startswith("vitscale: no star, parity: the table lacks columns named x, compute,")
    assert err.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        ([STAR, "--metric", "accuracy"], "--metric accuracy chooses among the rows of a store"),
    ],
)
def test_bad_input_is_one_sentence(capsys, tmp_path, arguments, sentence):
    code, out, err = plot(capsys, *arguments, "-o", tmp_path / "new", "--only", "star")
    assert (code, out) == (2, "")
    assert sentence in err and err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_without_plotly_it_says_how_to_get_it(tmp_path):
    code = (
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'plotly' else find(name, *rest)\n"
        "from vitscale import cli\n"
        f"sys.exit(cli.run(['plot', {str(STAR)!r}, '-o', {str(tmp_path / 'new')!r}, '--interactive']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'vitscale[interactive]'" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_theme_is_in_the_file(capsys, tmp_path):
    flags = ["--compute", "forward_gflops", "--only", "frontier", "--theme", "dark"]
    assert plot(capsys, STAR, "-o", tmp_path, *flags)[0] == 0
    corner = imread(tmp_path / "frontier.png")[0, 0][:3]
    assert to_hex(corner) == Look(theme="dark").palette.background


def test_a_sweep_draws_its_cost_before_anything_is_spent(capsys, tmp_path):
    picture = tmp_path / "new" / "plan.png"
    assert cli.run(["sweep", "star", "quickstart", "--figure", str(picture)]) == 0
    assert f"wrote {picture}" in capsys.readouterr().err
    assert imread(picture).shape[0] > 200
    assert cli.run(["sweep", "star", "quickstart", "--figure", str(tmp_path / "plan.bmp")]) == 2
    assert "ends in '.bmp'" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


def test_pictures_of_the_documentation_are_small():
    images = Path(__file__).parents[1] / "docs" / "images"
    page = (images.parent / "figures.md").read_text(encoding="utf-8")
    gallery = sorted((images / "gallery").glob("*.png"))
    assert gallery and all(f"images/gallery/{picture.name}" in page for picture in gallery)
    assert {name for name in FIGURES if f"**{name}**" in page} == set(FIGURES)
    assert [p.name for p in gallery if p.stat().st_size > 150_000] == []
