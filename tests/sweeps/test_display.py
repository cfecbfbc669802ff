"""What a user sees of a plan and a run, on a terminal and in a log."""

import io
import traceback

from rich.console import Console
from sweep_samples import star_plan

from vitscale.scaling.progress import Progress, Speed
from vitscale.sweeps.display import preview_tables, run_display
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.reasons import named
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.words import amount, clock, preview_lines, summary_line


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=120), text


def test_a_log_gets_a_line_for_every_trial(tmp_path):
    to, text = console(terminal=False)
    store = Store.open(tmp_path / "store", create=True)
    with LocalEngine(workers=1, runner="simulated") as engine:
        report = run(star_plan(), engine, store, display=run_display(to))
    lines = text.getvalue().splitlines()
    assert report.complete
    assert [f"{n}/4 trials" in line for n, line in zip(range(5), lines, strict=True)] == [True] * 5
    assert "ETA" in lines[1] and "FLOPs" in lines[1] and "core-s" in lines[1]
    assert "\x1b" not in text.getvalue()


def test_a_terminal_gets_one_table_with_the_running_trials(tmp_path):
    to, text = console(terminal=True)
    store = Store.open(tmp_path / "store", create=True)
    seen = []
    display = run_display(to)

    class Watched:
        def update(self, state) -> None:
            job = next(iter(state.running.values()), None)
            if job is not None:
                job.progress = Progress(
                    trial_id=job.trial.id,
                    phase="trunk",
                    step=7,
                    total_steps=50,
                    loss=1.23456,
                    examples_per_second=321.0,
                )
            display.update(state)
            seen.append((summary_line(state), state.eta_seconds))

        def say(self, message: str) -> None: ...

        def close(self) -> None:
            display.close()

    with LocalEngine(workers=1, runner="simulated") as engine:
        run(star_plan(), engine, store, display=Watched())
    out = text.getvalue()
    for words in ("trial", "examples/s", "1.2346", "7/50", star_plan().trials[0].id):
        assert words in out
    etas = [eta for _, eta in seen if eta is not None]
    assert etas and etas[-1] == 0.0


def test_the_bill_of_the_papers_star():
    bill = preview(
        preset("sovit-star"),
        speed=Speed(compile_seconds=60, step_overhead_seconds=0.0, flops_per_second=1e15),
        workers=4,
    )
    lines = preview_lines(bill)
    assert lines[0] == (
        "19 trials, 57 measurements (57 to do), durations 64,000,000, 256,000,000, "
        "512,000,000 examples"
    )
    assert lines[1] == (
        "1.261e+22 training FLOPs with shared trunks, against 1.999e+22 as separate runs: "
        "36.9% saved"
    )
    # 1.261e22 FLOPs at 4e15 a second are 36.5 days; the centre alone takes 15.
    assert lines[2].startswith("about 3") and "of compiling and training on 4 workers" in lines[2]
    # The largest four have 4.97e9 parameters together, and 5 states of 6 bytes for each.
    assert lines[3] == "up to 149 GB of checkpoints while it runs"
    assert lines[4].startswith("warning: width: ")
    to, text = console(terminal=False)
    to.print(preview_tables(bill))
    # 1,589,616,336 parameters; nothing is cut off at the width of a plain terminal.
    assert "1.59B" in text.getvalue() and "8.35e+11" in text.getvalue()
    assert "…" not in text.getvalue()


def test_a_speed_without_compiling_is_of_training_alone():
    """As a store's is: what it measured is training."""
    speed = Speed(compile_seconds=0.0, step_overhead_seconds=0.0, flops_per_second=1e15)
    bill = preview(preset("sovit-star"), speed=speed, workers=1)
    assert "of training alone on 1 worker; starting, compiling" in preview_lines(bill)[2]
    assert bill.as_dict()["training_alone"] is True


def test_an_error_of_another_process_is_told_by_its_last_line():
    try:
        raise ValueError("Corrupted Riegeli/records file x.array_record.")
    except ValueError:
        told = f"a reader failed:\n\n{traceback.format_exc()}"
    assert named(RuntimeError(told)) == (
        "RuntimeError: ValueError: Corrupted Riegeli/records file x.array_record"
    )
    assert named(RuntimeError("it broke.\nat length")) == "RuntimeError: it broke"


def test_times_are_short():
    assert [clock(s) for s in (0.4, 59.6, 185, 7_800, 273_600, 1e8, 1e17)] == [
        "0s",
        "1m 00s",
        "3m 05s",
        "2h 10m",
        "3d 4h",
        "3.17 years",
        "3.17e+09 years",
    ]


def test_amounts_have_digits_where_they_tell():
    told = [amount(value) for value in (0, 0.02134, 8.514, 58_226.23, 5.8e16)]
    assert told == ["0", "0.0213", "8.51", "58,226.2", "5.8e+16"]
