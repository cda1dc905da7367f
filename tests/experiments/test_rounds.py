"""How `make bench` begins, goes on and ends, on a clock of its own and without a server: trials come from a formula."""

import errno
import os
import re

import pytest

from crossover.experiments import experiment
from crossover.experiments.compare import run as compare
from crossover.experiments.compare import tables
from crossover.measurement import retry
from crossover.measurement.trial import read_trials
from serving.server import Unavailable
from tests.commands import only
from tests.experiments.conftest import compared, kept
from workloads import flags, payloads


def test_every_round_has_every_arm_and_the_run_says_how_it_was_begun(world, conduct):
    code, output, errors = conduct()
    assert (code, errors) == (0, "")
    assert f"image: 2 files, 0.011 KB, from {conduct.photographs}\n" in output
    assert sorted(world.measured) == [(n, f"image {p} async:1") for n in range(1, 7) for p in ("client", "server")]
    run = kept(conduct.reports)
    assert run["argv"][:4] == ["crossover", "compare", "image", "--payloads"] and run["complete"]
    assert run["workloads"]["image"]["digest"] == payloads.digest(payloads.read(conduct.photographs, (".jpg",)))


def test_good_answers_come_within_five_times_what_the_slower_placement_takes_or_within_slo(world, conduct):
    conduct()
    described = kept(conduct.reports)["workloads"]["image"]
    slo = described["slo_ms"]
    assert slo == pytest.approx(5e3 * max(described["back_to_back_seconds"].values()), rel=0.05)
    [goodput] = [each for each in compared(conduct.reports) if each["metric"] == "goodput"]
    assert goodput["unit"] == f"answers/s within {slo:g} ms"
    page = (only(conduct.reports) / "report.html").read_text()
    assert f"goodput counts answers within {slo:g} ms" in page


def test_the_latency_alone_that_is_shown_first_is_the_one_of_the_table(world, conduct):
    _, output, _ = conduct()
    [alone] = [each for each in compared(conduct.reports) if each["metric"] == "latency alone"]
    assert f"image: latency alone client {alone['baseline']:.3g} ms, server {alone['candidate']:.3g} ms; " in output


def test_a_goodput_above_the_rate_is_explained():
    """A rate goes on until the last answer."""
    row = {"metric": "goodput", "baseline": 6.53, "candidate": 6.1}
    arms = [{"achieved": 6.2}, {"achieved": 6.4}]
    assert tables.explain_goodput({"arms": arms, "comparisons": [row]}) == [tables.DIVISORS]
    for other in ({"metric": "goodput", "baseline": 6.1, "candidate": None}, {**row, "metric": "mean"}):
        assert tables.explain_goodput({"arms": arms, "comparisons": [other]}) == []


def test_an_answer_after_the_limit_is_not_good_whoever_gave_it(world, conduct):
    _, output, _ = conduct("--slo", 90, "--explain")
    measured = read_trials(only(conduct.reports))
    [goodput] = [each for each in compared(conduct.reports) if each["metric"] == "goodput"]
    for side, placement in (("baseline", "client"), ("candidate", "server")):
        own = [trial for trial in measured if trial.placement == placement]
        good = sum((trial.latency <= 90).sum() for trial in own)
        assert 0 < good < sum(trial.completed for trial in own)
        assert goodput[side] == pytest.approx(good / sum(trial.seconds for trial in own))
    assert "goodput counts answers within 90 ms" in output
    assert "goodput     answers per second of the schedule within the latency objective" in output


def test_ctrl_c_before_anything_is_one_line(world, conduct, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(world, "facts", stopped)
    code, output, errors = conduct()
    assert (code, output.strip(), errors) == (130, "interrupted before anything was measured", "")
    monkeypatch.setattr(flags, "load", stopped)
    code, output, errors = conduct()
    assert (code, output, errors) == (130, "", "")  # `command.run` says it


def test_ctrl_c_while_the_report_is_written_says_how_to_write_it(world, conduct, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment.reporting, "write_report", stopped)
    code, output, errors = conduct()
    assert (code, errors) == (130, "") and f"crossover report {only(conduct.reports)}" in output


def test_a_full_disk_is_one_line_and_what_was_measured_is_shown(world, conduct):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "round-02.journal")
    world.troubles = [None] * 5 + [full]
    code, output, errors = conduct()
    assert code == 1 and errors.count("\n") == 1 and "No space left on device" in errors
    assert re.search(r"For photographs at [\d.]+ requests/s (\(drawn from [^)]+\) )?on this machine, undecided", output)


def test_a_server_that_is_gone_between_trials_is_waited_for(world, conduct):
    world.troubles = [None] * 3 + [Unavailable("gone")]
    code, output, _ = conduct()
    assert code == 0 and "invalid, measuring again: gone" in output
    assert (world.waited, len(world.measured), len(read_trials(only(conduct.reports)))) == (1, 13, 12)


def test_one_that_comes_back_and_goes_again_is_given_up_after_three_attempts_and_said_in_one_line(world, conduct):
    world.troubles = [None] * 3 + [Unavailable("gone")] * 3
    code, _, errors = conduct()
    assert code == 1 and len(errors.splitlines()) == 1
    assert "given up after 3 attempts: gone" in errors and world.waited == 2


def test_one_that_does_not_come_back_is_said_in_one_line(world, conduct, monkeypatch):
    def gone(seconds):
        raise Unavailable("no Triton server answers")

    monkeypatch.setattr(world, "wait", gone)
    world.troubles = [None] * 5 + [Unavailable("gone")]
    code, output, errors = conduct()
    assert code == 1 and "on this machine, undecided" in output
    command = f"crossover compare --continue {only(conduct.reports)}"
    assert errors == f"crossover compare: no Triton server answers; go on with: {command}\n"


def test_an_invalid_trial_is_repeated_at_most_twice_and_then_said(world, conduct):
    world.troubles = [None, None, None] + ["reset"] * 3
    _, output, _ = conduct()
    lines = ("invalid, measuring again: errors", "still invalid after 3 attempts: errors")
    said = [output.count(words) for words in lines]
    assert said == [2, 1]
    assert max(world.measured.count(each) for each in world.measured) == 3
    assert re.search(r"1 of \d rounds left out because of unanswered requests", output)
    assert len(list(only(conduct.reports).glob("*/*/invalid-*"))) == 4


@pytest.mark.parametrize(("rounds", "seconds"), [(6, 80), (10, 270)])
def test_repetitions_are_counted_so_that_no_bench_takes_more_than_its_time_and_a_round(world, conduct, rounds, seconds):
    world.troubles = [None] + ["reset"] * 1000
    _, output, _ = conduct("--rounds", rounds, "--seconds", seconds)
    assert world.now <= seconds + seconds / rounds
    assert "the time is up after round " in output


def test_without_trouble_there_is_time_for_all_rounds_even_if_trials_take_a_little_longer(world, conduct, monkeypatch):
    def slower(*arguments, **options):
        world.now += 0.2
        return world.measure(*arguments, **options)

    monkeypatch.setattr(retry, "measure", slower)
    _, output, _ = conduct()
    assert "the time is up" not in output and len(world.measured) == 12


def test_it_stops_early_and_says_so_once_the_interval_is_narrow(world, conduct, monkeypatch):
    asked = []
    monkeypatch.setattr(compare, "is_precise", lambda found, share: asked.append(share) or True)
    _, output, _ = conduct("--rounds", 25, "--seconds", 120)
    assert len(world.measured) == 2 * compare.ENOUGH_ROUNDS and set(asked) == {0.025}
    [line] = [line for line in output.splitlines() if "enough after" in line]
    assert line.strip() == "image: enough after round 20 of 25: latency's ratio is known to within 2.5 %"


def test_a_directory_of_reports_that_cannot_be_made_is_wrong_usage(world, conduct):
    file = conduct.photographs / "image-a.jpg"
    code, _, errors = conduct("--reports", file / "reports")
    assert (code, world.measured, errors.count("\n")) == (2, [], 1)
    assert errors.startswith(f"crossover compare: --reports {file / 'reports'}: cannot make {file / 'reports'}")
    assert "Errno" not in errors
