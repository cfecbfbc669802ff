"""What stands between a driver and its trackers: nothing is lost, told twice, or waited for."""

import threading
import time
from collections.abc import Callable

import pytest
from sweep_samples import row, star_plan, trial

from vitscale.scaling.progress import Phase, Progress
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.importers.foreign import TRACKED
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.trackers.tracker import config_of, named, point_of
from vitscale.sweeps.trackers.tracking import Tracking


class Told:
    """A tracker that notes what it is told; `on` is called at each, with the method's name."""

    place = "memory"

    def __init__(self, on: Callable[[str], object] = lambda method: None) -> None:
        self.calls: list[tuple] = []
        self._on = on

    def _note(self, method: str, *what) -> None:
        self._on(method)
        self.calls.append((method, *what))

    def start(self, trial, plan):
        self._note("start", trial.id, plan)

    def progress(self, trial_id, step, values):
        self._note("progress", trial_id, step, dict(values))

    def measured(self, trial_id, examples, values):
        self._note("measured", trial_id, examples, dict(values))

    def end(self, trial_id, state):
        self._note("end", trial_id, state)

    def close(self):
        self._note("close")

    def of(self, method: str) -> list[tuple]:
        return [call[1:] for call in self.calls if call[0] == method]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def swept(store: Store, tracker: Told, *, shared: bool = False, law=None) -> list[str]:
    """Runs the sample plan; gives what tracking said."""
    tracking = Tracking({"fake=x": tracker}, store)
    engine = SimulatedEngine(law) if law else SimulatedEngine()
    assert run(star_plan(), engine, store, tracking=tracking, shared=shared).complete
    return tracking.close()


def test_each_trial_begins_is_measured_and_ends_once(store):
    told = Told()
    assert swept(store, told) == []
    plan = star_plan()
    ids = sorted(trial.id for trial in plan.trials)
    assert sorted(told.of("start")) == [(trial_id, plan.name) for trial_id in ids]
    assert sorted(told.of("end")) == [(trial_id, "finished") for trial_id in ids]
    values = {(r["trial_id"], r["examples"]): r["value"] for r in store.table().to_pylist()}
    found = {(i, e): v["measured/simulated_error"] for i, e, v in told.of("measured")}
    assert found == values and len(told.of("measured")) == len(values) == 8
    assert told.calls[-1] == ("close",)


def test_a_trial_that_diverged_says_so(store):
    told = Told()
    swept(store, told, law=lambda trial, duration: float("nan"))
    assert {state for _, state in told.of("end")} == {"diverged"}


def test_what_was_told_is_not_told_again(store):
    swept(store, Told())
    again = Told()
    swept(store, again)
    assert again.calls == [("close",)]


def test_a_sweep_that_was_done_before_is_told_when_it_is_asked_for(store):
    run(star_plan(), SimulatedEngine(), store)
    told = Told()
    swept(store, told, shared=True)  # one of many workers tells what it trains alone
    assert told.calls == [("close",)]
    swept(store, told)
    assert len(told.of("end")) == 4 and len(told.of("measured")) == 8
    store.compact()
    other = Told()
    other.place = "elsewhere"
    swept(store, other)
    assert sorted(other.of("measured")) == sorted(told.of("measured"))


class TestTrackersThatFail:
    @pytest.mark.parametrize("method", ["start", "measured", "end", "close"])
    def test_the_sweep_goes_on_and_it_is_said_once(self, store, method):
        def fail(called: str) -> None:
            if called == method:
                raise RuntimeError("no route to host\nTraceback: much more")

        told = Told(fail)
        assert swept(store, told) == [
            "--track fake=x failed and is switched off; the sweep goes on (no route to host)"
        ]
        assert len(store.table()) == 8
        # When it is there again it gets what it lacks, and no more.
        second = Told()
        assert swept(store, second) == []
        both = told.of("measured") + second.of("measured")
        assert sorted(both) == sorted(set_of_all(store))
        if method != "close":
            assert len(told.of("end") + second.of("end")) == 4

    def test_a_slow_one_is_not_waited_for(self, store):
        free = threading.Event()
        told = Told(lambda method: free.wait(60))
        tracking = Tracking({"slow": told}, store)
        began = time.monotonic()
        assert run(star_plan(), SimulatedEngine(), store, tracking=tracking).complete
        [message] = tracking.close(0.05)
        assert time.monotonic() - began < 30
        assert message.startswith("--track slow did not take everything within 0 s")
        free.set()

    def test_others_hear_on(self, store):
        def fail(method: str) -> None:
            raise OSError("gone")

        told = Told()
        tracking = Tracking({"bad": Told(fail), "good": told}, store)
        run(star_plan(), SimulatedEngine(), store, tracking=tracking)
        assert len(tracking.close()) == 1
        assert len(told.of("end")) == 4

    def test_points_of_curves_are_dropped_and_not_hoarded(self, store, monkeypatch):
        monkeypatch.setattr("vitscale.sweeps.trackers.tracking._EVERY_S", 0.0)
        monkeypatch.setattr("vitscale.sweeps.trackers.tracking._MOST_WAITING", 10)
        free, of = threading.Event(), trial()
        told = Told(lambda method: free.wait(60))
        tracking = Tracking({"slow": told}, store)
        for step in range(1, 50):
            tracking.hear(of, progress(of, step, loss=1.0))
        free.set()
        assert tracking.close() == []
        assert 5 <= len(told.of("progress")) <= 12


def set_of_all(store: Store) -> list[tuple]:
    rows = store.table().to_pylist()
    return [(r["trial_id"], r["examples"], {"measured/simulated_error": r["value"]}) for r in rows]


def progress(
    of, step: int, *, phase: Phase = "trunk", total: int | None = None, **known
) -> Progress:
    total = of.spent_steps() if total is None else total
    return Progress(trial_id=of.id, phase=phase, step=step, total_steps=total, **known)


def test_points_come_now_and_then_and_at_each_phase(store):
    of, told = trial(), Told()
    tracking = Tracking({"fake": told}, store)
    tracking.hear(of, progress(of, 0, phase="compile"))
    for step in range(5):
        tracking.hear(of, progress(of, step, loss=2.0 - step))
    tracking.hear(of, progress(of, 6, phase="cooldown", loss=0.5, examples_per_second=9.0))
    tracking.close()
    assert told.of("progress") == [
        (of.id, 0, {"train/loss": 2.0}),
        (of.id, 6, {"train/loss": 0.5, "train/examples_per_second": 9.0}),
    ]


def test_a_measurement_is_told_when_the_next_phase_begins(store):
    of, told = trial(), Told()
    tracking = Tracking({"fake": told}, store)
    tracking.hear(of, progress(of, 20, phase="evaluate"))
    store.append(of, 20 * 64, [row(of, 20 * 64)])
    tracking.hear(of, progress(of, 21))
    tracking.close()
    assert told.of("measured") == [(of.id, 20 * 64, {"measured/digits_10shot_error": 0.25})]
    assert told.of("end") == []


def test_steps_go_on_where_a_trial_goes_on():
    of = trial()
    whole = of.spent_steps()
    assert point_of(of, progress(of, 0, loss=1.0)) == (0, {"train/loss": 1.0})
    assert point_of(of, progress(of, 5))[0] == 5
    assert point_of(of, progress(of, 5, total=whole - 30))[0] == 35  # resumed at step 30


def test_the_configuration_is_flat_and_names_the_trial():
    of = trial()
    config = config_of(of)
    assert config[TRACKED] == of.id
    assert config["learning_rate"] == of.recipe.peak_learning_rate(of.shape)
    assert config["recipe.evaluators"] == "upstream fewshot"
    assert all(isinstance(value, (str, int, float)) for value in config.values())


def test_a_duration_that_diverged_is_no_number():
    [(name, value)] = named({"": None}).items()
    assert name == "measured/diverged" and value != value


def test_a_journal_cut_short_by_a_kill_is_read_as_far_as_it_goes(store):
    swept(store, Told())
    [path] = (store.path / "logs").glob("tracked-fake-*.jsonl")
    path.write_text(path.read_text()[:-12])
    again = Told()
    swept(store, again)
    assert len(again.of("end")) == 1 and again.of("measured") == []
