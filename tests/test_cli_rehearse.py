"""`vitscale rehearse`: the bill of a sweep on a cluster that does not exist."""

import dataclasses
import json

import pytest
from matplotlib.image import imread

from vitscale.cli import run as vitscale
from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.simulated import simulated_row
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.store import Store

FAST = ("--flops-per-second", "4e14", "--compile-seconds", "0")


def rehearse(*arguments: str, capsys) -> dict:
    assert vitscale(["rehearse", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_undisturbed_it_takes_what_its_flops_take(capsys):
    found = rehearse("star", "sovit", "--workers", "1", *FAST, "--price", "2", capsys=capsys)
    # 1.261e22 training FLOPs, as the plan says, at 4e14 a second; one worker is never idle.
    assert found["spent_flops"] == pytest.approx(1.261e22, rel=1e-3)
    assert found["hours"] == pytest.approx(found["spent_flops"] / 4e14 / 3600)
    assert found["cost"] == pytest.approx(2 * found["hours"])
    assert found["utilisation"] == pytest.approx(1.0)
    assert found["measured"] == found["attempts"] == 19


def test_preemptions_cost_attempts_and_little_else(tmp_path, capsys):
    figure = tmp_path / "figures" / "rehearsal.png"
    options = ("--workers", "32", *FAST, "--preemptions-per-hour", "0.05")
    found = rehearse("grid", "sovit", *options, "--figure", str(figure), capsys=capsys)
    assert found["attempts"] > found["measured"] == found["trials"]
    assert found["hours"] >= found["bound_hours"]
    assert 0 < found["repeated_flops"] < 0.01 * found["spent_flops"]
    assert tuple(imread(figure)[0, 0, :3]) == (1, 1, 1)
    slide = ("--figure", str(tmp_path / "slide.png"), "--theme", "dark", "--size", "slide")
    rehearse("grid", "sovit", *options, *slide, capsys=capsys)
    assert imread(tmp_path / "slide.png")[0, 0, :3].max() < 0.2
    assert vitscale(["rehearse", "grid", "sovit", *options]) == 0
    assert f"{found['attempts']:,} attempts" in capsys.readouterr().out


def test_idle_workers_are_pointed_out_with_what_fewer_cost(capsys):
    """The hint is what the command says with that number; it takes as long, and no trial waits without need."""
    many = rehearse("star", "sovit", "--workers", "64", *FAST, "--price", "2", capsys=capsys)
    hint = many["fewer_workers"]
    assert 1 < hint["workers"] <= many["trials"] and hint["hours"] <= 1.05 * many["hours"]
    few = rehearse(
        *("star", "sovit", "--workers", str(hint["workers"]), *FAST, "--price", "2"), capsys=capsys
    )
    assert {name: few[name] for name in ("hours", "worker_hours", "cost")} == {
        name: hint[name] for name in ("hours", "worker_hours", "cost")
    }
    assert few["cost"] < 0.5 * many["cost"] and few["fewer_workers"] is None
    assert vitscale(["rehearse", "star", "sovit", "--workers", "64", *FAST, "--price", "2"]) == 0
    out = capsys.readouterr().out
    assert (
        f"hint: 19 trials use at most 19 workers, and most of the time fewer: --workers {hint['workers']} "
        in out
    )
    assert f"{hint['cost']:,.2f}" in out


def test_what_a_store_holds_is_not_done_again_and_gives_the_speed(tmp_path, capsys):
    sweep = GridSweep(
        widths=(16,),
        depths=(1,),
        mlp_dims=(32,),
        patch=4,
        head_dim=8,
        recipe=RECIPES["glyphs"],
        durations=(64_000,),
        seeds=(0, 1),
    )
    plan = Plan(name="twins", sweep=sweep)
    (tmp_path / "plan.toml").write_text(plan_to_toml(plan))
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(plan.name, plan_to_toml(plan))
    first = plan.trials[0]
    row = simulated_row(first, 64_000, (), "error", 0.5)
    store.append(first, 64_000, [dataclasses.replace(row, train_seconds=1234.0)])
    found = rehearse(
        *("grid", str(tmp_path / "plan.toml"), "--store", str(store.path), "--workers", "1"),
        *("--compile-seconds", "0"),
        capsys=capsys,
    )
    assert found["skipped"] == 1 and found["measured"] == 1
    assert found["hours"] * 3600 == pytest.approx(1234.0)  # its twin, in another seed, took that


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--flops-per-second"),
        ((*FAST, "--workers", "0"), "workers=0"),
        ((*FAST, "--preemptions-per-hour", "1"), "preemptions_per_hour=1"),
        ((*FAST, "--price", "-1"), "price=-1"),
        ((*FAST, "--figure", "rehearsal.gif"), "rehearsal.gif ends in '.gif'"),
        ((*FAST, "--theme", "dark"), "add --figure"),
        (("--flops-per-second", "0"), "flops_per_second=0"),
        (("--flops-per-second", "400"), "400 TFLOP/s is 4e14"),
        ((*FAST, "--store", "nowhere"), "there is no store at nowhere"),
    ],
)
def test_what_cannot_be_is_refused(options, message, capsys):
    assert vitscale(["rehearse", "star", "quickstart", *options]) == 2
    out, err = capsys.readouterr()
    assert message in err and not out and "Traceback" not in err
