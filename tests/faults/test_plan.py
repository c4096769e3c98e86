"""A plan of faults and kills is the same for the same seed, and contains every kind."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.plan import API_KEY, FAULTS, SCALES, SFTP_PASSWORD, FaultPlan, plan_kills
from tests.faults.proxy import RequestKind


@pytest.mark.parametrize("scale", SCALES)
def test_kills_are_planned_from_the_seed(scale: str) -> None:
    kills = plan_kills(SCALES[scale], 7)
    assert kills == plan_kills(SCALES[scale], 7)
    assert kills != plan_kills(SCALES[scale], 8)
    assert Counter(kind for _, kind in kills) == SCALES[scale].kills


def test_the_full_scale_has_60_exports_and_100_kills() -> None:
    assert SCALES["full"].exports == 60
    assert sum(SCALES["full"].kills.values()) == 100


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_are_drawn_from_the_seed_and_all_occur(kind: RequestKind) -> None:
    first, second, other = (FaultPlan(seed) for seed in (7, 7, 8))
    drawn = [first.choose(kind) for _ in range(400)]
    assert drawn == [second.choose(kind) for _ in range(400)]
    assert drawn != [other.choose(kind) for _ in range(400)]
    assert {str(fault) for fault in drawn if fault} == {str(fault) for fault in FAULTS[kind]}
    assert None in drawn


def test_a_rate_limit_never_answers_an_export_that_arrived() -> None:
    limits = [fault for fault in FAULTS["create_export"] if fault.effect == "answer" and fault.status == 429]
    assert limits
    assert not any(fault.arrives for fault in limits)


@pytest.mark.parametrize("kind", FAULTS)
def test_rejections_are_those_of_a_proxy(kind: RequestKind) -> None:
    plan = FaultPlan(7)
    drawn = [fault for _ in range(2000) if (fault := plan.choose(kind)) and fault.effect == "answer"]
    in_json = {fault.status for fault in drawn if fault.body.startswith(b"{")}
    assert in_json
    assert in_json <= {429, 500, 502, 503, 504}


@pytest.mark.parametrize("kind", FAULTS)
def test_error_pages_repeat_the_secrets_of_the_request(kind: RequestKind) -> None:
    plan = FaultPlan(7)
    bodies = b"".join(fault.body for _ in range(2000) if (fault := plan.choose(kind))).decode()
    assert API_KEY in bodies
    assert (SFTP_PASSWORD in bodies) is (kind == "create_export")


def test_other_requests_are_forwarded() -> None:
    plan = FaultPlan(7)
    assert {plan.choose("other") for _ in range(100)} == {None}
