"""The simulated cluster against a naive simulation, schedules' bounds, and what must be conserved."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_samples import CENTER, RECIPE, trial

from vitscale.scaling.progress import Progress, Speed
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.engines import cluster as module
from vitscale.sweeps.engines.cluster import Cluster, SimulatedCluster
from vitscale.sweeps.engines.engine import Attempt
from vitscale.sweeps.engines.laws import Noise, exponential
from vitscale.sweeps.engines.timeline import DOINGS, Timeline
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.preview import makespan, trial_cost
from vitscale.sweeps.rehearsal.memory import MemoryStore
from vitscale.sweeps.rehearsal.rehearsal import Rehearsal, rehearse

SPEED = Speed(compile_seconds=10, step_overhead_seconds=2.0, flops_per_second=1e10)
ROUGH = Cluster(
    workers=5,
    speed=SPEED,
    preemptions_per_hour=0.9999,
    failures_per_hour=0.2,
    replacement_seconds=70,
    checkpoint_seconds=45,
)


def plan(*, seeds: int = 6, steps: tuple[int, ...] = (60, 150, 300)) -> Plan:
    """A small star with several seeds."""
    sweep = StarSweep(
        center=CENTER,
        arms={"width": (8, 16, 24, 32), "depth": (1, 2, 3)},
        recipe=RECIPE,
        durations=tuple(64 * count for count in steps),
        seeds=tuple(range(seeds)),
        head_dim=8,
    )
    return Plan(name="rough", sweep=sweep)


@pytest.fixture(scope="module")
def rough() -> Rehearsal:
    """A rehearsal in which machines last some minutes."""
    return rehearse(plan(), ROUGH, noise=Noise(own=0.1))


def news(of: Trial, step: int, total: int) -> Progress:
    return Progress(trial_id=of.id, phase="trunk", step=step, total_steps=total)


# How long the first machines last, in seconds; the others last for ever.
SCRIPT = {"0/machine/0/0": 33.0, "0/machine/1/0": 4.0}


def test_a_tiny_cluster_by_hand(monkeypatch):
    monkeypatch.setattr(module, "exponential", lambda mean, about: SCRIPT.get(about, float("inf")))
    # A trunk of 30 steps, and two cooldowns of 10 from its steps 10 and 30.
    of = trial(steps=(20, 40))
    assert of.spent_steps() == 50
    cluster = Cluster(
        workers=2,
        speed=Speed(compile_seconds=5, step_overhead_seconds=1, flops_per_second=1e300),
        preemptions_per_hour=0.5,
        replacement_seconds=6,
        checkpoint_seconds=8,
    )
    engine, store = SimulatedCluster(cluster), MemoryStore()
    store.make()
    engine.submit(of, store)
    assert engine.capacity() == 1
    # At 4 the idle machine goes, at 10 it is back.
    assert engine.poll(1.0) == [news(of, 0, 50)]
    assert engine.clock() == 10
    # 28 s of training from 5 to 33: 28 steps, the first duration measured at 20, a checkpoint at 24.
    progress, attempt = engine.poll(1.0)
    assert progress == news(of, 28, 50)
    assert isinstance(attempt, Attempt)
    assert (engine.clock(), attempt.outcome, attempt.core_seconds) == (33, "lost", 33)
    assert store.measured(of) == {20 * 64}
    engine.submit(of, store)  # on the second worker, whose machine is new: 5 s, then 26 steps
    assert engine.poll(1.0) == [news(of, 0, 26)]
    assert (engine.clock(), engine.capacity()) == (39, 1)
    done = Attempt(trial_id=of.id, outcome="done", core_seconds=5 + 26)
    assert engine.poll(1.0) == [news(of, 26, 26), done]
    assert engine.clock() == 33 + 5 + 26
    assert store.measured(of) == {20 * 64, 40 * 64}
    timeline = engine.timeline()
    assert timeline.seconds == 64
    assert timeline.worker_seconds == {
        **{"compile": 10, "train": 24 + 26, "lost": 4, "away": 6 + 6},
        "idle": (64 - 39) + (4 + 33 - 10),
    }
    engine.poll(0.5)
    assert engine.clock() == 64.5  # nothing runs


def naive(plan: Plan, cluster: Cluster) -> list[tuple[float, str, int]]:
    """Ends of attempts (when, trial, worker): of all that may happen next the first is looked for anew,
    at every step, among all workers."""
    again: set[Trial] = set()

    def urgency(job):
        return job not in again, job.recipe.seed > 0, -job.spent_flops()

    jobs = sorted(plan.trials, key=urgency)
    saved = dict.fromkeys(jobs, 0)
    tries = dict.fromkeys(jobs, 0)
    hour = -3600 / np.log(1 - np.array([cluster.preemptions_per_hour, cluster.failures_per_hour]))
    now, ends = 0.0, []
    state: list[dict] = [{"job": None, "machine": -1, "back": 0.0} for _ in range(cluster.workers)]

    def step_s(job):
        return 2.0 + job.spent_flops() / job.spent_steps() / 1e10

    def finish(job, kept):
        saved[job] = kept
        if kept < job.spent_steps():
            again.add(job)
            jobs.append(job)
            jobs.sort(key=urgency)  # stable: of equal ones, the first that came back

    while jobs or any(worker["job"] for worker in state):
        for number, worker in enumerate(state):
            if worker["back"] is not None and worker["back"] <= now:
                worker["machine"] += 1
                lasts = exponential(hour[0], f"{cluster.seed}/machine/{number}/{worker['machine']}")
                worker |= {"back": None, "dies": now + lasts, "job": None}
        for number, worker in enumerate(state):
            if jobs and worker["back"] is None and worker["job"] is None:
                job = jobs.pop(0)
                tries[job] += 1
                fails = exponential(hour[1], f"{cluster.seed}/failure/{job.id}/{tries[job]}")
                worker |= {"job": job, "from": now + 10, "fails": now + fails, "number": number}
                worker["ends"] = now + 10 + (job.spent_steps() - saved[job]) * step_s(job)
        nexts = [w["back"] for w in state if w["back"] is not None]
        nexts += [w["dies"] for w in state if w["back"] is None]
        nexts += [min(w["fails"], w["ends"]) for w in state if w["job"] is not None]
        now = min(nexts)
        for number, worker in enumerate(state):
            job = worker["job"]
            dies = worker["back"] is None and worker["dies"] == now
            if job is not None and (dies or now in (worker["fails"], worker["ends"])):
                ends.append((now, job.id, number))
                trained = max(0.0, now - worker["from"])
                steps = saved[job] + int(trained / step_s(job) + 1e-9)
                kept = saved[job] + int(trained // 45 * 45 / step_s(job) + 1e-9)
                marks = [job.spent_steps(job.durations[: n + 1]) for n in range(3)]
                kept = max([kept, *(mark for mark in marks if saved[job] < mark <= steps)])
                finish(job, job.spent_steps() if now == worker["ends"] else kept)
                worker["job"] = None
            if dies:
                worker["back"] = now + cluster.replacement_seconds
    return ends


@pytest.mark.parametrize("seed", range(6))
def test_every_attempt_ends_as_in_a_naive_simulation(seed):
    cluster = dataclasses.replace(ROUGH, seed=seed, failures_per_hour=0.01)
    rehearsal = rehearse(plan(seeds=3), cluster)
    assert rehearsal.report.complete
    ends = [(s.ends, s.trial_id, s.worker) for s in rehearsal.timeline.spans]
    expected = naive(plan(seeds=3), cluster)
    assert [end[1:] for end in ends] == [end[1:] for end in expected]
    np.testing.assert_allclose([end[0] for end in ends], [end[0] for end in expected])


@settings(max_examples=60)
@given(
    steps=st.lists(st.integers(20, 900), min_size=3, max_size=7, unique=True),
    workers=st.integers(1, 3),
)
def test_dearest_first_is_within_grahams_bound(steps, workers):
    # R. Graham, "Bounds on multiprocessing timing anomalies" (1969): (4 - 1/m) / 3 of the optimum.
    # Widths of an arm that differ so that every trial has a length of its own.
    widths = tuple(8 * k for k in range(1, len(steps) + 1))
    sweep = StarSweep(
        center=dataclasses.replace(CENTER, width=512, heads=64),
        arms={"width": widths},
        recipe=RECIPE,
        durations=tuple(sorted(64 * n for n in steps)),
        head_dim=8,
    )
    cluster = Cluster(workers=workers, speed=dataclasses.replace(SPEED, step_overhead_seconds=0))
    rehearsal = rehearse(Plan(name="graham", sweep=sweep), cluster)
    jobs = [
        cluster.speed.seconds(steps=t.spent_steps(), flops=t.spent_flops())
        for t in rehearsal.plan.trials
    ]
    best = min(
        max(sum(j for j, on in zip(jobs, where, strict=True) if on == w) for w in range(workers))
        for where in itertools.product(range(workers), repeat=len(jobs))
    )
    seconds = rehearsal.timeline.seconds
    assert best * (1 - 1e-9) <= seconds <= best * (4 - 1 / workers) / 3 * (1 + 1e-9)
    assert seconds == pytest.approx(makespan(jobs, workers))
    assert rehearsal.bound_hours * 3600 <= best * (1 + 1e-9)


def test_many_seeds_leave_no_long_trial_for_the_end():
    # 240 trials on 60 workers, all lengths within every seed.
    rehearsal = rehearse(plan(seeds=30), Cluster(workers=60, speed=SPEED))
    assert rehearsal.hours <= 1.1 * rehearsal.bound_hours


def check_conserved(timeline: Timeline) -> None:
    """A worker does one thing at a time, and all that it does adds up to the whole time."""
    idle = 0.0
    for worker in range(timeline.workers):
        things = [(s.begins, s.ends) for s in timeline.spans if s.worker == worker]
        things += [(a.begins, a.ends) for a in timeline.absences if a.worker == worker]
        before = 0.0
        for begins, ends in sorted(things):
            assert ends >= begins >= before - 1e-6
            idle, before = idle + begins - before, ends
        idle += timeline.seconds - before
    for span in timeline.spans:
        assert span.begins <= span.trains <= span.kept_until <= span.ends
        assert span.lost_flops <= span.flops
    seconds = timeline.worker_seconds
    assert tuple(seconds) == DOINGS
    assert seconds["idle"] == pytest.approx(idle, abs=1e-3)
    assert sum(seconds.values()) == pytest.approx(timeline.workers * timeline.seconds)


def test_every_worker_hour_is_accounted_for(rough):
    check_conserved(rough.timeline)
    assert min(rough.hours_by_doing.values()) > 0
    assert rough.worker_hours == pytest.approx(
        sum(hours for doing, hours in rough.hours_by_doing.items() if doing != "away")
    )
    end = np.array([rough.timeline.seconds])
    assert rough.timeline.held_seconds(end)[0] == pytest.approx(rough.worker_hours * 3600)
    assert rough.bound_hours < rough.hours


def test_nothing_that_was_measured_is_done_again(rough):
    assert rough.report.complete and rough.interrupted > 20 and rough.failures
    for of in rough.plan.trials:
        spans = [span for span in rough.timeline.spans if span.trial_id == of.id]
        assert [span.outcome == "done" for span in spans] == [False] * (len(spans) - 1) + [True]
        kept = sum(span.flops - span.lost_flops for span in spans)
        assert kept == pytest.approx(of.spent_flops())


def test_the_driver_and_the_cluster_count_the_same(rough):
    planned = sum(of.spent_flops() for of in rough.plan.trials)
    assert rough.report.spent_flops == pytest.approx(rough.spent_flops)
    assert rough.spent_flops == pytest.approx(planned + rough.repeated_flops)
    assert rough.report.attempts == len(rough.timeline.spans)
    assert rough.report.attempts == 48 + rough.interrupted + rough.failures
    assert rough.report.wall_seconds == rough.timeline.seconds
    busy = sum(rough.hours_by_doing[doing] for doing in ("compile", "train", "lost"))
    assert rough.report.core_seconds == pytest.approx(busy * 3600)


def test_an_interrupted_sweep_measures_what_an_undisturbed_one_does(rough):
    calm = rehearse(plan(), Cluster(workers=5, speed=SPEED), noise=Noise(own=0.1))
    assert calm.repeated_flops == calm.preemptions == 0
    tables = [each.store.read().drop(columns="measured_at") for each in (calm, rough)]
    assert len(tables[0]) == 3 * 48
    assert tables[0].equals(tables[1])


def test_two_rehearsals_are_equal_and_another_seed_is_another(rough):
    again = rehearse(plan(), ROUGH, noise=Noise(own=0.1))
    assert again.timeline == rough.timeline
    assert again.as_dict() == rough.as_dict()
    other = rehearse(plan(), dataclasses.replace(ROUGH, seed=1))
    assert other.hours != rough.hours


def test_machines_are_lost_as_often_as_was_said():
    cluster = Cluster(workers=4000, speed=SPEED, preemptions_per_hour=0.05, replacement_seconds=0)
    long = plan(seeds=1, steps=(3600, 7200))
    timeline = rehearse(long, cluster).timeline
    assert timeline.seconds > 2 * 3600
    hit = {a.worker for a in timeline.absences if a.begins < 3600}
    sd = (4000 * 0.05 * 0.95) ** 0.5
    assert abs(len(hit) - 200) < 4 * sd
    # And at the same rate for ever: -log(0.95) of them an hour, since a new machine comes at once.
    expected = 4000 * timeline.seconds / 3600 * -np.log(0.95)
    assert abs(len(timeline.absences) - expected) < 4 * expected**0.5


def test_notice_and_frequent_checkpoints_save_steps():
    def repeated(**changes) -> float:
        return rehearse(
            plan(), dataclasses.replace(ROUGH, failures_per_hour=0.0, **changes)
        ).repeated_flops

    assert repeated(notice=True) == 0 < repeated(checkpoint_seconds=4) < repeated()


def test_what_a_store_has_is_not_rehearsed_again():
    whole = plan(seeds=1)
    first, second, *rest = whole.trials
    measured = {first.id: set(first.durations), second.id: {second.durations[0]}}
    for resumable in ((), (second.id,)):
        rehearsal = rehearse(whole, ROUGH, measured=measured, resumable=resumable)
        assert rehearsal.report.skipped == (first.id,)
        cost = trial_cost(second, measured[second.id], resumes=bool(resumable)).remaining_flops
        planned = cost + sum(of.spent_flops() for of in rest)
        assert rehearsal.spent_flops - rehearsal.repeated_flops == pytest.approx(planned)
        assert rehearsal.report.spent_flops == pytest.approx(rehearsal.spent_flops)
        assert len(rehearsal.store.read()) == 3 * len(rest) + 2
    nothing = rehearse(whole, ROUGH, measured={of.id: set(of.durations) for of in whole.trials})
    assert (nothing.hours, nothing.utilisation, nothing.report.complete) == (0, 0, True)


def test_what_was_cancelled_is_not_heard_of_again():
    cluster = Cluster(workers=2, speed=SPEED, checkpoint_seconds=1e9)
    engine, store = SimulatedCluster(cluster), MemoryStore()
    store.make()
    one, two = trial(width=8, steps=(200,)), trial(width=16, steps=(100,))
    engine.submit(one, store)
    engine.submit(two, store)
    with pytest.raises(RuntimeError, match="all 2 workers are busy"):
        engine.submit(trial(width=24), store)
    engine.cancel(two.id)
    assert engine.capacity() == 1
    assert {event.trial_id for event in engine.poll(1.0)} == {one.id}
    engine.submit(two, store)
    engine.poll(0.0)
    half = engine.clock()
    engine.submit(one, store)  # its measurement exists: the driver would not ask for it
    engine.cancel(grace_seconds=20)
    assert engine.capacity() == 2 and engine.poll(5.0) == []
    assert engine.clock() == half + 5


def test_the_picture_shows_what_is_done_at_each_time(rough):
    timeline = rough.timeline
    picture = timeline.raster(5, 4000)
    assert picture.shape == (5, 4000)
    for doing, index in zip(DOINGS, range(5), strict=True):
        share = timeline.worker_seconds[doing] / (5 * timeline.seconds)
        assert (picture == index).mean() == pytest.approx(share, abs=2e-3)
    assert timeline.raster(2, 40).shape == (2, 40)
    assert (timeline.raster(2, 40) == timeline.raster(5, 40)[[0, 4]]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers=0 cannot train anything; use 1 or more"),
        ({"preemptions_per_hour": 1.0}, "preemptions_per_hour=1 is not the probability"),
        ({"failures_per_hour": -0.1}, "failures_per_hour=-0.1 is not the probability"),
        ({"replacement_seconds": -1.0}, "replacement_seconds=-1 is no waiting time"),
        ({"checkpoint_seconds": 0.0}, "checkpoint_seconds=0 is no interval"),
        ({"speed": dataclasses.replace(SPEED, flops_per_second=0)}, "flops_per_second=0 is no"),
        (
            {"speed": dataclasses.replace(SPEED, compile_seconds=-1)},
            "compile_seconds=-1 is no time",
        ),
    ],
)
def test_clusters_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ROUGH, **changes)
