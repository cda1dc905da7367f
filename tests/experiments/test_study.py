"""The original project's experiment: what it concludes follows from the figures, and it runs on the real server."""

import json
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from arrivals import Poisson
from crossover.experiments.burst_shapes import CAMERAS, exactly
from crossover.experiments.client_modes import plots
from crossover.experiments.client_modes.conclusion import conclude, verdict, verdicts
from crossover.experiments.client_modes.conditions import LAWS, VIDEO, clients, conditions, law, reference
from crossover.experiments.client_modes.result import (
    evaluate,
    interval,
    sentences,
    summarise_interim,
)
from crossover.experiments.client_modes.run import FRAMES, UTILISATION
from crossover.experiments.client_modes.tables import workload_table
from crossover.measurement.trial import Trial, read_trials
from tests.commands import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start
from tests.conftest import ROOT
from tests.trials_on_disk import about

RATES = {"image": 8.0, "audio": 2.4}
RUN = {"workloads": {name: {**about(name), "rate": rate} for name, rate in RATES.items()}, "cores": {"client": [0]}}


def trial(workload, placement, mode, arrivals, turn, latency) -> Trial:
    made = Trial(
        workload=workload,
        arm=f"{workload} {placement} {mode}",
        placement=placement,
        mode=mode,
        round=turn,
        seed=turn,
        arrivals=str(LAWS[arrivals](8.0)),
        schedule="",
        seconds=1,
        client_cpu=1,
        server_cpu=None,
        facts={"complete": True},
        steps={},
        summary={"books": {"scheduled": len(latency), "completed": len(latency)}},
        valid=True,
        findings=[],
    )
    made.latency = latency
    return made


def test_a_trial_without_an_answer_has_no_conclusion():
    """As one has that is cut short at once; its report is made all the same."""
    result = evaluate(RUN, [trial("image", "client", "async:1", "uniform", 1, np.array([]))])
    assert result["workloads"] == {} and sentences(result) == {}


def measured(factors: dict, rounds=8, n=80, noise=0.002, workloads=("image", "audio")) -> list[Trial]:
    """Trials of all conditions; `factors` say how much longer latencies are of a client, under an arrival law, or of a
    (placement, client) or (placement, law)."""
    rng, made = np.random.default_rng(1), []
    for workload in workloads:
        for turn in range(1, rounds + 1):
            drawn = rng.gamma(4, 25, n)
            for placement in ("client", "server"):
                for mode in map(str, clients(1)):
                    for arrivals in LAWS:
                        if arrivals in VIDEO and mode != str(reference(1)):
                            continue
                        keys = mode, arrivals, (placement, mode), (placement, arrivals)
                        scale = np.prod([factors.get(key, 1) for key in keys]) * rng.lognormal(0, noise)
                        made.append(trial(workload, placement, mode, arrivals, turn, drawn * scale))
    return made


def found(factors, question, **options) -> dict:
    result = evaluate(RUN, measured(factors, workloads=("image",), **options))["workloads"]["image"]
    [contrast] = [
        each for each in result["contrasts"] if each["question"].startswith(question) and each["placement"] == "client"
    ]
    return contrast


@pytest.mark.parametrize(
    ("factors", "question", "ratio"),
    [
        ({"sequential": 1.5}, "sequential / async:1", 1.5),
        ({"threads:2": 0.7}, "threads:2 / async:1", 0.7),
        ({"async:2": 1.2}, "async:2 / async:1", 1.2),
        ({"uniform": 0.5}, "Poisson / uniform, async:1", 2),
        ({"uniform": 0.5}, "Poisson / uniform, sequential", 2),
        ({"random phase": 0.8}, "random phase / Poisson", 0.8),
        ({"synchronised": 3}, "synchronised / Poisson", 3),
    ],
)
def test_a_difference_that_is_there_is_found(factors, question, ratio):
    for metric in ("p50", "tail"):
        each = found(factors, question)[metric]
        assert each["value"] == pytest.approx(ratio, rel=0.05)
        assert each["low"] < each["value"] < each["high"]
        assert verdict(each) == ("more" if ratio > 1 else "less")


ALL = "p50 and p99 of photographs (client and server) and p50 and p99 of speech (client and server)"


@pytest.mark.parametrize("noise", [0.002, 0.02, 0.1])
def test_where_there_is_no_difference_hardly_any_is_found(noise):
    """At 95 % each, of 56 intervals."""
    result = evaluate(RUN, measured({}, noise=noise))
    verdicts = [verdict(c[m]) for w in result["workloads"].values() for c in w["contrasts"] for m in ("p50", "tail")]
    assert len(verdicts) == 56
    assert verdicts.count("more") + verdicts.count("less") <= 6
    # A median is known well from little noise, and nothing is known to within 5 % from a lot.
    assert verdicts.count("equivalent") == 56 or noise > 0.002
    assert verdicts.count("undecided") > 40 or noise < 0.1


def test_undecided_is_told_apart_from_equivalent():
    assert verdict({"value": 0.36, "low": 0.0006, "high": 198}) == "undecided"
    assert verdict({"value": 1.01, "low": 0.98, "high": 1.04}) == "equivalent"
    assert verdict({"value": 1.04, "low": 1.03, "high": 1.05}) == "equivalent"
    assert verdict({"value": 1.04, "low": 1.01, "high": 1.08}) == "undecided"
    assert verdict({"value": 1.06, "low": 1.03, "high": 1.09}) == "more"
    assert verdict({"value": 0.9, "low": 0.8, "high": 1.01}) == "undecided"
    assert verdict({"value": 0.9, "low": 0.8, "high": 0.99}) == "less"


def test_what_differs_between_median_and_tail_is_told_apart():
    more, none = {"value": 2, "low": 1.5, "high": 3}, {"value": 1, "low": 0.9, "high": 1.1}
    assert verdicts({"p50": more, "tail": more}, "p99") == "more"
    assert verdicts({"p50": none, "tail": more}, "p99") == "p50: undecided; p99: more"


def test_where_there_is_none_the_conclusion_says_how_small_it_must_be():
    sentences = evaluate(RUN, measured({}))["conclusion"]
    assert len(sentences) == 6
    assert all(said.endswith(f" made no difference over 5 % to {ALL}.") for said in sentences)


def test_what_a_run_cannot_tell_the_conclusion_calls_undecided():
    """Rounds so noisy that anything from half to double is possible."""
    sentences = evaluate(RUN, measured({}, noise=0.5))["conclusion"]
    assert all("undecided effect on" in said and "no difference" not in said for said in sentences)
    assert sum(said.endswith(f" had an undecided effect on {ALL}.") for said in sentences) >= 3


def test_the_conclusion_covers_both_arms():
    """Poisson arrivals cost the server twice the median, and the client nothing."""
    result = evaluate(RUN, measured({("server", "Poisson"): 2.0}))
    [said] = [each for each in result["conclusion"] if each.startswith("Poisson")]
    for subject in ("photographs", "speech"):
        assert re.search(rf"the p50 of {subject} \(server\) longer \((1\.9\d|2(\.0\d)?) \[", said)
    client = "p50 and p99 of photographs (client) and p50 and p99 of speech (client)"
    assert said.endswith(f"; made no difference over 5 % to {client}.")
    assert list(sentences(result)) == ["with preprocessing by the client and the server"]


def test_the_conclusion_says_what_was_put_in():
    said = evaluate(RUN, measured({"sequential": 1.5, "uniform": 0.5, "synchronised": 3}))["conclusion"]
    sequential, threads, workers, poisson, cameras, together = said
    for said, ratio in ((sequential, 1.5), (poisson, 2), (together, 3)):
        for subject in ("photographs", "speech"):
            for cell in (f"{name} of {subject} \\({arm}\\)" for name in ("p50", "p99") for arm in ("client", "server")):
                [told] = re.findall(rf"{cell} \w+er \(([\d.]+) ", said)
                assert float(told) == pytest.approx(ratio, rel=0.05)
    for said in (threads, workers, cameras):
        assert said.endswith(f" made no difference over 5 % to {ALL}.")
    assert "(async:2 instead of async:1)" in workers


def test_the_conclusion_has_a_sentence_for_each_question_however_much_there_is():
    for workloads in (("image",), ("audio",), ("image", "audio")):
        assert len(evaluate(RUN, measured({}, workloads=workloads))["conclusion"]) == 6
    assert conclude({}) == []


def test_few_rounds_claim_nothing():
    contrast = found({"sequential": 3}, "sequential / async:1", rounds=5)
    assert verdict(contrast["p50"]) == "too few rounds"
    assert contrast["p50"]["value"] == pytest.approx(3, rel=0.1)
    assert "cannot be judged" in evaluate(RUN, measured({"sequential": 3}, rounds=5))["conclusion"][0]


@pytest.mark.parametrize(("n", "tail"), [(5, 90), (12, 95), (58, 99)])
def test_the_tail_is_the_highest_percentile_that_the_requests_bear_out(n, tail):
    assert evaluate(RUN, measured({}, n=n))["workloads"]["image"]["tail"] == tail


def test_a_ratio_is_of_rounds_that_both_have_and_whole_trials_only():
    made = measured({})
    for each in made:
        each.facts = {"complete": each.round > 1 or each.mode != "sequential"}
    kept = conditions([each for each in made if each.workload == "image"])
    assert set(kept["client", "sequential", "Poisson"]) == set(range(2, 9))
    assert set(kept["client", "async:1", "Poisson"]) == set(range(1, 9))
    result = evaluate(RUN, made)["workloads"]["image"]
    assert {row["rounds"] for row in result["conditions"]} == {7, 8}


def test_an_interval_over_nothing_else_is_of_the_percentile_itself():
    rounds = [np.random.default_rng(seed).gamma(4, 25, 100) for seed in range(8)]
    each = interval(None, rounds, 50)
    assert each["value"] == np.percentile(np.concatenate(rounds), 50)
    assert each["low"] < each["value"] < each["high"]


@pytest.mark.parametrize("name", LAWS)
def test_a_trial_tells_under_which_law_it_was_measured(name):
    made = trial("image", "client", "async:1", name, 1, np.ones(1))
    made.arrivals = exactly(LAWS[name], 7.3, 3 * CAMERAS, 1).spec
    assert law(made) == name


@pytest.mark.parametrize("name", LAWS)
def test_every_law_offers_the_same_load(name):
    schedule = exactly(LAWS[name], 7.3, 3 * CAMERAS, 1)
    assert (len(schedule), schedule.seconds) == (3 * CAMERAS, 3 * CAMERAS / 7.3)


def test_clients_have_one_two_four_workers_up_to_the_cores_and_at_least_two():
    assert [*map(str, clients(1))] == ["sequential", "threads:2", "async:1", "async:2"]
    assert [*map(str, clients(2))] == [*map(str, clients(1))]
    assert [*map(str, clients(6))][-3:] == ["async:1", "async:2", "async:4"]
    for cores in range(1, 9):
        assert reference(cores) in clients(cores)
        assert reference(cores).workers <= cores


def test_the_plot_is_drawn_also_of_a_part(tmp_path):
    for number, made in enumerate((measured({}), measured({}, rounds=1, workloads=("audio",)), measured({})[:3])):
        plots.save_conditions(evaluate(RUN, made), path := tmp_path / f"{number}.png")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_table_has_every_condition_and_every_contrast():
    result = evaluate(RUN, measured({}))["workloads"]["image"]
    lines = workload_table("image", result).splitlines()
    conditions, contrasts = (list(group) for full, group in groupby(lines, bool) if full)
    assert sum(line.split()[0] in ("client", "server") for line in conditions) == len(result["conditions"])
    assert sum(bool(re.search(" (client|server) ", line)) for line in contrasts) == len(result["contrasts"])
    assert max(map(len, lines)) <= 80
    assert len(result["conditions"]) == 2 * (4 * 2 + 2)
    assert len(result["contrasts"]) == 2 * 7


def test_the_contrasts_say_under_which_arrivals_they_are():
    lines = workload_table("image", evaluate(RUN, measured({}))["workloads"]["image"]).splitlines()
    assert [line for line in lines if line.startswith("ratio, Poisson unless")]


def test_the_load_is_the_one_that_the_docs_tell():
    assert f"the same mean rate, {UTILISATION:g} of what the slower" in (ROOT / "docs" / "results.md").read_text()


def test_what_it_looks_like_so_far_is_the_first_contrast():
    made = measured({"sequential": 1.5}, workloads=("image",))
    assert re.fullmatch(r"p50 sequential / async:1 1\.\d+ \[1\.\d+, 1\.\d+\]", summarise_interim(RUN, made))
    first = [each for each in made if each.round == 1]
    assert re.fullmatch(r"p50 sequential / async:1 1\.\d+", summarise_interim(RUN, first))
    assert summarise_interim(RUN, []) == ""


def test_poisson_is_a_process_of_its_own_name():
    assert LAWS["Poisson"] is Poisson


# On the real server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """(output, directory) of a study of one round."""
    reports = tmp_path_factory.mktemp("reports")
    code, output = run(
        "study", "audio", "--url", server.url, "--state", server.state, "--reports", reports, "--seconds", 20,
        "--rounds", 1, "--rate", 64,
    )  # fmt: skip
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    return output, only(reports)


def test_every_client_gets_the_same_arrivals_of_a_law(finished):
    _, directory = finished
    kept = read_trials(directory)
    assert len(kept) == 2 * (4 * 2 + 2)
    assert {trial.scheduled for trial in kept} == {FRAMES * CAMERAS}
    for name in LAWS:
        assert len({trial.schedule for trial in kept if law(trial) == name}) == 1


def test_figures_plot_and_page_can_be_made_again_from_the_trials(finished, monkeypatch, capsys):
    output, directory = finished
    before = {name: (directory / name).read_text() for name in ("study.json", "report.html")}
    for name in (*before, "study.png"):
        (directory / name).unlink()
    code, printed, _ = again(monkeypatch, capsys, directory)
    assert code in (0, 3)
    made = Path("reports") / f"{directory.name}-report"
    assert {name: (made / name).read_text() for name in before} == before
    assert (made / "study.png").stat().st_size > 10_000
    assert printed.strip() in output
    assert json.loads((directory / "run.json").read_text())["complete"]
    assert "cannot be judged from so few rounds" in before["report.html"]


@pytest.mark.long
def test_ctrl_c_leaves_what_is_done_and_it_can_go_on(server, tmp_path):
    given = ["audio", "--url", server.url, "--state", server.state, "--reports", tmp_path]
    given += ["--rate", 128, "--seconds", 20, "--rounds", 1]
    process = start("study", *given)
    output = interrupted(process, lambda: len(list(tmp_path.glob("*/audio/*/round-*.json"))) >= 2)
    directory = only(tmp_path)
    assert f"go on with: crossover clients --continue {directory}" in output
    assert json.loads((directory / "study.json").read_text())["workloads"]["audio"]["conditions"]
    assert not json.loads((directory / "run.json").read_text())["complete"]
    assert "This run is incomplete." in (directory / "report.html").read_text()
    goes_on("study", directory, *given)
    assert len(read_trials(directory)) == 2 * (4 * 2 + 2)


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("study", "--reports", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--rate", "-2"], "--rate must be a positive number"),
        (["--seconds", "nan"], "seconds must be a positive number"),
        (["audio", "--payloads", "/no/such"], "cannot read payloads"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, capsys):
    refuses("study", arguments, says, capsys)
