"""The limiter with a clock of the test: hours pass at once."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_provider_cordial.client.rate_limiter import RateLimiter

MINUTE = 60.0


class Limit:
    """A limit as Cordial documents it: so many requests per minute, then 429 until the minute is over."""

    def __init__(self, per_minute: int, *, always_reports: bool) -> None:
        self.rate = per_minute
        self.always_reports = always_reports
        self.began = 0.0
        self.count = 0

    def answer(self, now: float) -> tuple[int, dict[str, str]]:
        if now - self.began >= MINUTE:
            self.began, self.count = now, 0
        self.count += 1
        reset = str(self.began + MINUTE - now)
        headers = {
            "X-Rate-Limit-Limit": str(self.rate),
            "X-Rate-Limit-Remaining": str(max(0, self.rate - self.count)),
            "X-Rate-Limit-Reset": reset,
        }
        if self.count > self.rate:
            return 429, {**headers, "Retry-After": reset}
        return 200, headers if self.always_reports else {}


def send_for(seconds: float, limiter: RateLimiter, limit: Limit) -> Counter[int]:
    """Send as often as the limiter permits, and count the statuses."""
    now, statuses = 1000.0, Counter[int]()
    while now < 1000.0 + seconds:
        now += limiter.delay(now)
        limiter.record_sent(now)
        status, headers = limit.answer(now)
        limiter.observe_answer(status, headers, now)
        statuses[status] += 1
    return statuses


def test_requests_are_sent_evenly() -> None:
    limiter = RateLimiter(60)
    assert limiter.delay(5.0) == 0
    limiter.record_sent(5.0)
    assert limiter.delay(5.0) == pytest.approx(1.0)
    assert limiter.delay(5.75) == pytest.approx(0.25)
    assert limiter.delay(9.0) == 0


@pytest.mark.parametrize("always_reports", [True, False])
def test_a_limit_is_used_and_rarely_exceeded(always_reports: bool) -> None:
    statuses = send_for(60 * MINUTE, RateLimiter(600), Limit(60, always_reports=always_reports))
    assert statuses[200] > 60 * 60 * 0.7
    assert statuses[429] <= (0 if always_reports else 0.01 * statuses.total())


def test_a_limit_that_only_answers_429_is_learned() -> None:
    class Silent(Limit):
        def answer(self, now: float) -> tuple[int, dict[str, str]]:
            return super().answer(now)[0], {}

    statuses = send_for(120 * MINUTE, RateLimiter(600), Silent(60, always_reports=False))
    assert statuses[200] > 120 * 60 * 0.7
    assert statuses[429] < 0.02 * statuses.total()


def test_a_rejection_pauses_and_lowers_the_rate() -> None:
    limiter = RateLimiter(600)
    for moment in range(30):
        limiter.record_sent(100.0 + moment)
    limiter.observe_answer(429, {"Retry-After": "90"}, 130.0)
    assert 90 <= limiter.delay(130.0) <= 91
    assert limiter.rate == pytest.approx(27)
    # Requests that were already in flight count as the same rejection.
    limiter.observe_answer(429, {"Retry-After": "80"}, 131.0)
    assert limiter.rate == pytest.approx(27)
    assert 89 <= limiter.delay(131.0) <= 91


def test_few_requests_before_a_429_do_not_imply_a_low_limit() -> None:
    limiter = RateLimiter(600)
    limiter.record_sent(100.0)
    limiter.observe_answer(429, {"Retry-After": "1"}, 100.0)
    assert limiter.rate == pytest.approx(27)
    limiter.observe_answer(429, {"Retry-After": "1"}, 110.0)
    assert limiter.rate == pytest.approx(24.3)


def test_the_rate_recovers_step_by_step() -> None:
    limiter = RateLimiter(600)
    for moment in range(60):
        limiter.record_sent(100.0 + moment)
    limiter.observe_answer(429, {"Retry-After": "1"}, 160.0)
    slow = limiter.rate
    for minute in range(1, 11):
        limiter.record_sent(160.0 + minute * MINUTE)
    assert slow < limiter.rate < 2 * slow
    for minute in range(11, 200):
        limiter.record_sent(160.0 + minute * MINUTE)
    assert limiter.rate == 600


def test_a_raised_limit_is_used_again() -> None:
    limiter = RateLimiter(600)
    limiter.observe_answer(200, {"X-Rate-Limit-Limit": "60"}, 0.0)
    assert limiter.rate == pytest.approx(54)
    for minute in range(1, 100):
        limiter.observe_answer(200, {"X-Rate-Limit-Limit": "6000"}, minute * MINUTE)
        limiter.record_sent(minute * MINUTE)
    assert limiter.rate == 600


def test_new_settings_apply_at_once_and_keep_a_pause() -> None:
    limiter = RateLimiter(600, max_wait=60)
    limiter.configure(60, max_wait=5)
    assert limiter.rate == 60
    limiter.configure(1200, max_wait=5)
    assert limiter.rate == 1200
    limiter.observe_answer(429, {"Retry-After": "90"}, 100.0)
    assert 5 <= limiter.pause_left(100.0) <= 6
    limiter.configure(600, max_wait=1)
    assert 5 <= limiter.pause_left(100.0) <= 6


def test_new_settings_keep_what_answers_have_taught() -> None:
    limiter = RateLimiter(600)
    limiter.observe_answer(200, {"X-Rate-Limit-Limit": "100"}, 0.0)
    limiter.configure(1200, max_wait=60)
    assert limiter.rate == pytest.approx(90)
    limiter.configure(60, max_wait=60)
    assert limiter.rate == 60
    limiter = RateLimiter(600)
    limiter.observe_answer(429, {"Retry-After": "1"}, 0.0)
    lowered = limiter.rate
    limiter.configure(1200, max_wait=60)
    assert limiter.rate == lowered
    limiter.record_sent(MINUTE)
    assert lowered < limiter.rate < 1.1 * lowered


def test_the_last_requests_are_spread_until_the_reset() -> None:
    limiter = RateLimiter(600)
    limiter.observe_answer(200, {"X-Rate-Limit-Remaining": "50", "X-Rate-Limit-Reset": "30"}, 10.0)
    assert limiter.delay(10.0) == 0
    limiter.observe_answer(200, {"X-Rate-Limit-Remaining": "1", "X-Rate-Limit-Reset": "30"}, 10.0)
    assert limiter.delay(10.0) == pytest.approx(30)
    limiter.observe_answer(200, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "45"}, 10.0)
    assert limiter.delay(10.0) == pytest.approx(45)


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan", ""])
def test_invalid_headers_change_nothing(value: str) -> None:
    limiter = RateLimiter(600)
    names = ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset")
    limiter.observe_answer(200, dict.fromkeys(names, value), 10.0)
    assert (limiter.delay(10.0), limiter.rate) == (0, 600)


def test_one_error_is_ignored_and_many_in_a_row_pause() -> None:
    limiter = RateLimiter(600)
    now, pauses = 0.0, []
    for _ in range(10):
        limiter.observe_failure(now)
        pauses.append(limiter.delay(now))
        now += pauses[-1]
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    limiter.observe_answer(200, {}, now)
    limiter.observe_answer(503, {}, now)
    assert limiter.delay(now) == 0


def test_requests_that_fail_together_count_as_one_failure() -> None:
    limiter = RateLimiter(600)
    for _ in range(8):
        limiter.observe_failure(100.0)
    assert limiter.pause_left(100.0) == 1
    limiter = RateLimiter(600)
    for _ in range(8):
        limiter.observe_answer(429, {}, 100.0)
    assert 2 <= limiter.pause_left(100.0) <= 3
