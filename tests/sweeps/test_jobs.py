"""The queue of a run and its account of FLOPs, against the same done the slow way."""

from hypothesis import given
from hypothesis import strategies as st
from sweep_samples import star_plan

from vitscale.scaling.progress import Progress
from vitscale.sweeps.jobs import Job, Queue, RunState
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.preview import trial_cost
from vitscale.sweeps.store import Store

PLAN = star_plan(widths=(8, 16, 24, 32, 40))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def state_of(plan: Plan, clock: Clock) -> RunState:
    queue = Queue(lambda job: (-job.cost.remaining_flops,))
    store = Store.open("memory://jobs", create=True)
    return RunState(plan=plan, store=store, queue=queue, clock=clock, began=0.0)


def jobs() -> list[Job]:
    return [Job(trial=trial, cost=trial_cost(trial)) for trial in PLAN.trials]


def test_what_is_held_elsewhere_comes_back_last_and_later_each_time():
    clock = Clock()
    state = state_of(PLAN, clock)
    dearest, *others = sorted(jobs(), key=lambda job: -job.cost.remaining_flops)
    state.wait(dearest, held=True)
    for job in others:
        state.wait(job)
    assert state.busy == 1
    assert state.take() is others[0]
    clock.now = 2.0
    assert [state.take() for _ in others] == [*others[1:], dearest]
    waits = []
    for _ in range(5):
        state.wait(dearest, held=True)
        began = clock.now
        while state.take() is None:
            clock.now += 0.5
        waits.append(clock.now - began)
    assert waits == [4.0, 8.0, 15.0, 15.0, 15.0]


def test_what_is_held_elsewhere_for_days_is_asked_for_again():
    clock = Clock()
    state, job = state_of(PLAN, clock), jobs()[0]
    for _ in range(30_000):  # five days, every 15 s
        state.wait(job, held=True)
        clock.now += 15.0
        assert state.take() is job


def test_what_is_tried_again_goes_first():
    state = state_of(PLAN, Clock())
    cheapest, *others = sorted(jobs(), key=lambda job: job.cost.remaining_flops)
    for job in others:
        state.wait(job)
    state.wait(cheapest, again=True)
    assert state.take() is cheapest


@given(st.lists(st.tuples(st.sampled_from("twhrpf"), st.integers(1, 60)), max_size=60))
def test_the_account_is_the_sum_over_all_jobs(moves):
    clock = Clock()
    state, everything = state_of(PLAN, clock), jobs()
    for job in everything:
        state.wait(job)
    for what, number in moves:
        clock.now += 1.0
        running = list(state.running.values())
        if what == "t" and (job := state.take()) is not None:
            job.begin_attempt()
            state.running[job.trial.id] = job
        elif running:
            job = running[number % len(running)]
            if what == "p":
                news = Progress(trial_id=job.trial.id, phase="trunk", step=number, total_steps=100)
                job.hear(news)
                continue
            del state.running[job.trial.id]
            job.end_attempt(finished=what == "f")
            if what == "f":
                state.leave(job)
                state.measured[job.trial.id] = job
            else:
                state.wait(job, held=what == "h", again=what == "r")
    spent = sum(job.spent_flops for job in everything)
    left = sum(job.left_flops for job in everything if job.trial.id not in state.measured)
    scale = max(spent, left, 1.0)
    assert abs(state.spent_flops - spent) < 1e-9 * scale
    assert abs(state.left_flops - left) < 1e-9 * scale
    waiting = {job.trial.id for job in state.queue.jobs()}
    assert waiting | state.running.keys() | state.measured.keys() == {t.id for t in PLAN.trials}
