"""Which subscriptions are polled when."""

from __future__ import annotations

from airflow_provider_cordial.jobs.schedule import Schedule, compute_pause, jitter
from airflow_provider_cordial.jobs.subscription import Subscription


def test_a_young_wait_polls_often_and_an_old_one_rarely() -> None:
    assert [compute_pause(waited, 300) for waited in (0, 10, 20, 60, 600, 100_000)] == [10, 10, 10, 30, 300, 300]
    assert [compute_pause(waited, 2) for waited in (0, 10, 100)] == [2, 2, 2]


def test_pauses_are_at_most_the_interval_and_differ() -> None:
    pauses = {compute_pause(100.0, 20) * jitter() for _ in range(100)}
    assert all(18 <= pause <= 20 for pause in pauses)
    assert len(pauses) > 50


def subscription(job_id: str) -> Subscription:
    return Subscription(job_id, poll_interval=5.0, deadline=1000.0, now=0.0)


def test_due_jobs_are_taken_once_and_most_overdue_first() -> None:
    schedule = Schedule()
    first, second, third = (subscription(job_id) for job_id in "abc")
    assert schedule.add(second, 20.0)
    assert schedule.add(first, 10.0)
    assert not schedule.add(third, 30.0)
    assert schedule.next_due == 10.0
    assert schedule.take_due(5.0) == []
    assert schedule.take_due(20.0) == ["a", "b"]
    assert schedule.take_due(20.0) == []
    assert schedule.next_due == 30.0


def test_a_new_moment_replaces_the_previous_one() -> None:
    schedule = Schedule()
    one = subscription("a")
    schedule.add(one, 10.0)
    schedule.add(one, 20.0)
    assert schedule.take_due(15.0) == []
    assert schedule.take_due(20.0) == ["a"]


def test_closed_subscriptions_are_skipped() -> None:
    schedule = Schedule()
    closed, other = subscription("a"), subscription("a")
    schedule.add(closed, 10.0)
    schedule.add(other, 12.0)
    closed.is_open = False
    assert schedule.take_due(11.0) == []
    assert schedule.take_due(12.0) == ["a"]
    assert schedule.next_due is None


def test_a_rebuilt_schedule_contains_only_open_subscriptions() -> None:
    schedule = Schedule()
    one, other = subscription("a"), subscription("b")
    schedule.add(one, 10.0)
    schedule.add(other, 10.0)
    assert schedule.take_due(10.0) == ["a", "b"]
    schedule.rebuild([other])
    assert schedule.take_due(10.0) == ["b"]


def test_the_first_poll_leaves_time_to_record_the_deferral() -> None:
    one = Subscription("a", poll_interval=300.0, deadline=1000.0, now=100.0)
    assert 109 <= one.due <= 110
    # Unless the deadline is earlier.
    assert Subscription("a", poll_interval=300.0, deadline=103.0, now=100.0).due == 103.0
    assert Subscription("a", poll_interval=300.0, deadline=50.0, now=100.0).due == 100.0
