"""`benchmarks.autoscaling` and `benchmarks.metrics_cost`: their arithmetic and their bad input. No timing."""

import pytest

from benchmarks import autoscaling, metrics_cost

TARGET = 0.02


@pytest.mark.parametrize(("reading", "replicas"), [(0, 1), (0.5, 1), (1, 1), (1.09, 1), (1.2, 2), (2, 2), (4.1, 5)])
def test_kubernetes_asks_for_the_ceiling_and_tolerates_ten_percent(reading, replicas):
    assert autoscaling.ask_replicas(reading * TARGET, TARGET) == replicas


@pytest.mark.parametrize(("load", "enough"), [(0.5, 1), (0.66, 1), (0.67, 2), (0.95, 2), (1.3, 2), (1.4, 3)])
def test_enough_replicas_keep_the_mean_wait_of_constant_services_to_the_target(load, enough):
    """At a load of 2/3 the wait is one service: load / (2 (1 - load)) = 1."""
    assert autoscaling.find_enough(load, autoscaling.PAUSE) == enough


def test_our_rule_is_the_committed_one_and_nothing_recorded_is_left_in_it():
    rule = autoscaling.expand_rule(autoscaling.OURS)
    assert "max by" in rule and "nv_inference_queue_duration_us" in rule and "triton_queue_seconds" not in rule


@pytest.mark.parametrize("benchmark", [autoscaling, metrics_cost])
@pytest.mark.parametrize("arguments", [["--seconds", "nan"], ["--seconds", "-1"]])
def test_a_bad_argument_is_one_line_and_exit_code_2(benchmark, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main(arguments)
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "must be a positive number" in line


@pytest.mark.parametrize("benchmark", [autoscaling, metrics_cost])
def test_without_a_prometheus_it_says_how_to_get_one(benchmark, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as ended:
        benchmark.main([])
    assert ended.value.code == 2
    assert "apt install prometheus" in capsys.readouterr().err
