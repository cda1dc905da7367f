"""A comparison that is continued: what is missing is measured, what was asked for stays, and looks are paid for."""

import json
import os

import pytest

from crossover.experiments.compare import load
from crossover.experiments.compare import run as compare
from crossover.measurement import run_directory
from crossover.measurement.trial import read_trials
from serving.server import Unavailable
from tests.commands import again, only
from tests.experiments.conftest import compared, kept, rewrite


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), Unavailable("no Triton server answers")], ids=["Ctrl-C", "gone"])
def test_what_ends_before_the_first_trial_can_be_continued(world, conduct, ends):
    world.troubles_of_pairs = [ends]
    code, *_ = conduct()
    assert code in (1, 130) and not kept(conduct.reports)["complete"]
    code, *_ = conduct("--continue", only(conduct.reports))
    assert code == 0 and kept(conduct.reports)["complete"] and len(world.measured) == 12


def test_a_run_that_goes_on_warms_up_and_measures_what_is_missing_only(world, conduct):
    world.troubles = [None] * 6 + [KeyboardInterrupt()]
    code, output, _ = conduct()
    assert code == 130 and f"go on with: crossover compare --continue {only(conduct.reports)}" in output
    assert (world.warmed, len(world.measured)) == (1, 7)
    code, *_ = conduct("--continue", only(conduct.reports))
    assert (code, world.warmed, len(world.measured), len(read_trials(only(conduct.reports)))) == (0, 2, 13, 12)
    conduct("--continue", only(conduct.reports))
    assert (world.warmed, len(world.measured)) == (2, 13)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--library", "pillow"], "library: none against pillow"),
        (["--arrivals", "poisson:rate=3"], "arrivals: poisson:rate=7.5 against poisson:rate=3"),
        (["--slo", 50], "slo_ms: 0.0 against 50.0"),
        (["--rounds", 7], "rounds: 6 against 7"),
        (["--seed", 2], "seed: 1 against 2"),
        (["--modes", "threads"], "modes: async against threads"),
        (["--control", "aa"], "control: none against aa"),
        (["audio"], "workloads: image against audio"),
    ],
)
def test_another_experiment_is_not_continued_and_the_difference_is_named(world, conduct, arguments, named):
    conduct()
    before = len(world.measured)
    code, output, errors = conduct(*arguments, "--continue", only(conduct.reports))
    assert code == 2 and output == "" and len(errors.splitlines()) == 1
    assert "cannot be continued: " in errors and named in errors
    assert len(world.measured) == before


def test_nor_is_one_with_other_payloads_or_weights(world, conduct):
    conduct()
    (conduct.photographs / "image-a.jpg").write_bytes(b"another")
    *_, errors = conduct("--continue", only(conduct.reports))
    assert (
        "payloads of image: other files; give no workload with --continue, or the run's" in errors
        and len(errors.splitlines()) == 1
    )
    (conduct.photographs / "image-a.jpg").write_bytes(b"image-a.jpg")
    world.models["resnet50"]["provenance"]["seed"] = 9
    *_, errors = conduct("--continue", only(conduct.reports))
    assert "weights of resnet50" in errors and len(errors.splitlines()) == 1


def test_what_is_no_bench_or_damaged_is_one_line(world, conduct):
    conduct()
    directory = only(conduct.reports)
    trial = next(directory.glob("*/*/round-03.json"))
    for spoil, says in (
        (lambda: trial.write_text(trial.read_text()[:100]), f"{trial} is no trial"),
        (lambda: rewrite(directory, kind="capacity"), "is of `crossover capacity`, not of `crossover compare`"),
        (lambda: rewrite(directory, kind="bench", format=2), f"{directory} was made on"),
        (lambda: (directory / "run.json").write_text('{"seed": 1'), "run.json is damaged"),
        (
            lambda: (directory / "run.json").write_text('{"machine": {"revision": "v7-3"}, "created": ""}'),
            "by v7-3, which writes format 1; this version reads format 3",
        ),
        (lambda: (directory / "run.json").write_text('{"machine": {}, "created": "", "format": 3}'), "is damaged"),
        (lambda: (directory / "run.json").write_text("[]"), "is damaged"),
    ):
        spoil()
        code, output, errors = conduct("--continue", directory)
        assert code == 2 and says in errors and len(errors.splitlines()) == 1, (output, errors)


def test_a_finished_run_is_extended_by_what_seconds_says_and_nothing_else_is_asked_again(world, conduct):
    conduct()
    directory = only(conduct.reports)
    before = kept(conduct.reports)
    code, output, errors = conduct("--continue", directory, "--seconds", 60)
    assert (code, errors) == (0, "")
    after = kept(conduct.reports)
    described = after["workloads"]["image"]
    loaded = 60 * (1 - load.UNLOADED) / 2 / (described["seconds"] + load.OVERHEAD)
    assert described["rounds"] == 6 + int(loaded) and len(world.measured) == 2 * described["rounds"]
    assert len(list(directory.glob("image/unloaded/pairs-*.json"))) == 2
    assert after["asked"] == before["asked"] and after["complete"]
    seconds = [2 * n * described["seconds"] for n in (6, described["rounds"])]
    assert after["looks"]["image"] == pytest.approx(seconds)
    assert "this is look 2 at the data, so its intervals are wider" in output
    answer = json.loads((directory / "summary.json").read_text())["workloads"]["image"]["answer"]
    assert answer["looks"] == pytest.approx(seconds) and answer["confidence"] > 0.96
    conduct("--continue", directory)
    assert kept(conduct.reports)["looks"] == after["looks"]


@pytest.mark.parametrize("tool", ["make", ""])
def test_after_an_interrupted_make_a_line_says_that_the_server_still_runs(world, conduct, monkeypatch, tool):
    monkeypatch.setenv("CROSSOVER_TOOL", tool)
    world.troubles = [None] * 4 + [KeyboardInterrupt()]
    code, _, errors = conduct()
    assert (code, errors) == (130, "the server still runs; `make down` stops it\n" if tool else "")


def test_a_look_is_noted_when_a_run_is_interrupted_too(world, conduct):
    world.troubles = [None] * 12 + [KeyboardInterrupt()]
    conduct("--rounds", 8)
    seconds = kept(conduct.reports)["workloads"]["image"]["seconds"]
    assert kept(conduct.reports)["looks"]["image"] == pytest.approx([12 * seconds])
    conduct("--continue", only(conduct.reports))
    assert kept(conduct.reports)["looks"]["image"] == pytest.approx([12 * seconds, 16 * seconds])


def test_what_is_too_little_for_an_interval_is_no_look(world, conduct):
    world.troubles = [None] * 8 + [KeyboardInterrupt()]
    conduct()
    assert kept(conduct.reports).get("looks", {}) == {}
    conduct("--continue", only(conduct.reports))
    assert len(kept(conduct.reports)["looks"]["image"]) == 1


def test_unloaded_pairs_are_paid_for_at_every_look_at_their_interval_however_few_rounds_there_are(world, conduct):
    world.troubles = [None] * 8 + [KeyboardInterrupt()]
    conduct()
    [first] = kept(conduct.reports)["unloaded_looks"]["image"]
    assert [row["metric"] for row in compared(conduct.reports) if row["low"]] == ["latency alone", "bytes"]
    conduct("--continue", only(conduct.reports))
    # The pairs are the same, so that there was nothing new to see in them.
    assert kept(conduct.reports)["unloaded_looks"]["image"] == [first]
    assert conduct("--continue", only(conduct.reports), "--seconds", 60)[0] == 0
    assert kept(conduct.reports)["unloaded_looks"]["image"] == pytest.approx([first, first + 60 * load.UNLOADED])


def test_a_second_look_at_pairs_only_widens_their_interval_and_says_so(world, conduct):
    world.troubles = [None] * 8 + [KeyboardInterrupt()]
    conduct()
    described = kept(conduct.reports)["workloads"]["image"]
    described["rounds"] = 4
    rewrite(only(conduct.reports), workloads={"image": described})
    code, output, _ = conduct("--continue", only(conduct.reports), "--seconds", 60)
    assert code == 0 and len(kept(conduct.reports)["looks"]["image"]) == 1
    assert "this is look 2 at single requests, so their interval is wider" in " ".join(output.lower().split())
    confidences = {row["metric"]: row["confidence"] for row in compared(conduct.reports)}
    assert confidences["latency alone"] > 0.961 > 0.96 == pytest.approx(confidences["latency at this load"])


def test_a_run_that_ended_early_is_extended_by_what_is_asked_for(world, conduct, monkeypatch):
    monkeypatch.setattr(compare, "is_precise", lambda found, share: True)
    conduct("--rounds", 40, "--seconds", 200)
    assert len(world.measured) == 2 * compare.ENOUGH_ROUNDS
    described = kept(conduct.reports)["workloads"]["image"]
    conduct("--continue", only(conduct.reports), "--seconds", 60)
    added = int(60 * (1 - load.UNLOADED) / 2 / (described["seconds"] + load.OVERHEAD))
    assert added > 3 and len(world.measured) == 2 * (compare.ENOUGH_ROUNDS + added)
    assert kept(conduct.reports)["workloads"]["image"]["rounds"] == compare.ENOUGH_ROUNDS + added


def test_two_processes_do_not_measure_in_one_directory(world, conduct):
    conduct()
    directory, before = only(conduct.reports), kept(conduct.reports)
    taken = run_directory.lock(directory)
    code, output, errors = conduct("--continue", directory, "--seconds", 60)
    assert (code, output) == (2, "") and "is being measured by another process" in errors and errors.count("\n") == 1
    assert kept(conduct.reports) == before
    os.close(taken)
    assert conduct("--continue", directory, "--seconds", 60)[0] == 0


def test_a_server_whose_models_were_set_otherwise_does_not_continue_a_run(world, conduct):
    conduct()
    name = next(iter(world.models))
    world.models = {**world.models, name: {**world.models[name], "instances": 7}}
    code, output, errors = conduct("--continue", only(conduct.reports))
    assert (code, output) == (2, "") and f"instances of {name}: " in errors and "against 7" in errors
    world.models = {**world.models, name: {**world.models[name], "instances": 1, "kinds": ["GPU"]}}
    code, output, errors = conduct("--continue", only(conduct.reports))
    assert (code, output) == (2, "") and f"kinds of {name}: CPU against GPU" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seconds", "0"], "seconds must be a positive number, not 0"),
        (["--prices", "cpu=free"], "the price cpu=free is no number; e.g. cpu=0.04,gb=0.09"),
        (["--prices", "disk=1"], "unknown price 'disk'; there are cpu, client, server, gb, e.g. cpu=0.04,gb=0.09"),
    ],
)
def test_what_cannot_be_continued_so_is_one_line_and_leaves_the_run_as_it_is(world, conduct, arguments, says):
    conduct()
    before = kept(conduct.reports)
    code, output, errors = conduct("--continue", only(conduct.reports), *arguments)
    assert (code, output) == (2, "") and says in errors and errors.count("\n") == 1
    assert kept(conduct.reports) == before


def test_what_was_asked_for_is_kept_as_data_and_taken_over(world, conduct):
    conduct("--slo", 90, "--reports", conduct.reports)
    options = kept(conduct.reports)["options"]
    assert options["workloads"] == ["image"] and options["payloads"] == [str(conduct.photographs)]
    assert (options["slo"], options["rounds"], options["seconds"]) == (90, 6, 80)
    assert not options.keys() & {"continued", "reports", "as_json", "quiet", "fail_if"}
    assert conduct("--continue", only(conduct.reports), "--slo", 90)[0] == 0
    code, _, errors = conduct("--continue", only(conduct.reports), "--slo", 91)
    assert code == 2 and "cannot be continued: slo_ms: 90.0 against 91.0" in errors


def test_a_run_of_an_older_version_can_be_reported_and_not_continued(world, conduct, monkeypatch, capsys):
    conduct()
    directory = only(conduct.reports)
    workloads = kept(conduct.reports)["workloads"]
    for key in ("unloaded_seconds", "rounds", "share"):
        del workloads["image"][key]
    rewrite(directory, workloads=workloads)
    code, _, errors = conduct("--continue", directory)
    assert code == 2 and errors.count("\n") == 1 and "is of an older version" in errors
    assert again(monkeypatch, capsys, directory)[0] == 0


@pytest.mark.parametrize("key", ["seed", "workloads", "asked.payloads", "workloads.image.seconds"])
def test_a_run_whose_run_json_is_damaged_is_not_continued(world, conduct, key):
    conduct()
    path = only(conduct.reports) / "run.json"
    described = part = json.loads(path.read_text())
    *first, last = key.split(".")
    for each in first:
        part = part[each]
    del part[last]
    path.write_text(json.dumps(described))
    code, _, errors = conduct("--continue", path.parent)
    assert (code, errors) == (2, f"crossover compare: {path} is damaged: it has no '{key}'\n")
