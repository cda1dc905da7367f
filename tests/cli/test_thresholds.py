"""Limits of --fail-if: what they mean, and that an unknown figure fails them."""

import pytest

from crossover.cli import thresholds
from crossover.report.kind import GOOD, WORSE


def arm(placement: str, answered: int = 500, **figures) -> dict:
    latency = {"mean": 20.0, "p50": 10.0, "p90": 40.0, "p95": 50.0, "p99": 90.0, "max": 99.0}
    own = {"arm": f"image {placement} async:1", "placement": placement, "latency": latency, "errors": 0}
    own |= {"achieved": 5.0, "client_cpu_ms": 3.0, "server_cpu_ms": 80.0, "books": {"completed": answered}}
    return {**own, **figures}


def document(*arms: dict, ratio: float | None = 1.05) -> dict:
    rows = [{"metric": "latency at this load", "ratio": ratio}, {"metric": "p50", "ratio": 9.0}]
    return {"result": {"workloads": {"image": {"arms": list(arms), "comparisons": rows}}}}


BOTH = document(arm("client"), arm("server", client_cpu_ms=1.0, errors=2))


@pytest.mark.parametrize(
    ("limit", "fails"),
    [
        ("p95>50", []),
        ("p95>49.9", ["image client async:1: p95 is 50", "image server async:1: p95 is 50"]),
        ("server.p95>49.9", ["image server async:1: p95 is 50"]),
        ("image.server.p95 > 49.9", ["image server async:1: p95 is 50"]),
        ("audio.p95>1", []),
        ("errors>0", ["image server async:1: errors is 2"]),
        ("rate<6", ["image client async:1: rate is 5", "image server async:1: rate is 5"]),
        ("client_cpu>2", ["image client async:1: client_cpu is 3"]),
        ("ratio>1.1", []),
        ("ratio>1.04", ["image: ratio is 1.05"]),
        ("image.ratio>1.04", ["image: ratio is 1.05"]),
    ],
)
def test_a_limit_fails_the_arms_that_are_beyond_it(limit, fails, capsys):
    assert thresholds.judge([thresholds.parse(limit)], BOTH) == (WORSE if fails else GOOD)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(fails)
    for line, each in zip(lines, fails, strict=True):
        assert line.startswith(f"crossover: {each}, so --fail-if '{limit}' fails")


def test_several_limits_are_all_told(capsys):
    assert thresholds.judge([thresholds.parse(each) for each in ("p50>1", "ratio>1")], BOTH) == WORSE
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_what_is_not_known_fails_and_says_so(capsys):
    unanswered = document(arm("client", latency=dict.fromkeys(thresholds.LATENCY)), ratio=None)
    assert thresholds.judge([thresholds.parse("p95>300"), thresholds.parse("ratio>2")], unanswered) == WORSE
    assert [line.partition(", so")[0] for line in capsys.readouterr().err.splitlines()] == [
        "crossover: image client async:1: p95 is not known",
        "crossover: image: ratio is not known",
    ]


def test_a_percentile_of_too_few_requests_says_that_it_cannot_be_vouched_for(capsys):
    thresholds.judge([thresholds.parse("p99>80")], document(arm("client", answered=100)))
    assert capsys.readouterr().err.endswith("; of 100 requests, too few to vouch for it (459)\n")
