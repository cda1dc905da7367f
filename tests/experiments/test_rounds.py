"""How `make bench` begins, goes on and ends, on a clock of its own and without a server: trials come from a formula."""

import errno
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossover.analysis import bootstrap
from crossover.experiments import experiment
from crossover.experiments.compare import load
from crossover.experiments.compare import run as compare
from crossover.measurement import host, retry
from crossover.measurement.trial import read_trials
from loadgen.samples.summary import SPANS
from serving.server import Unavailable
from tests import commands, trials_on_disk
from tests.analysis.test_bootstrap import FEW
from tests.commands import again, only
from tests.conftest import ROOT
from workloads import flags, payloads


class World:
    """A server, a machine and a clock, of which everything can go wrong: `troubles` are raised, or break a trial."""

    url, state, cores = "http://localhost:8000", {}, [1]

    def __init__(self):
        self.now, self.measured, self.warmed, self.waited, self.troubles = 0.0, [], 0, 0, []
        self.troubles_of_pairs = []
        self.models = trials_on_disk.run(("image",))["server"]["models"]

    def facts(self, steps):
        return {"url": self.url, "version": "2.51.0", "models": self.models}

    def wait(self, seconds):
        self.waited += 1

    def pairs(self, server, arms, sent, folder, seconds, seed, show):
        """Unloaded pairs, which have troubles of their own."""
        self.warmed += 1
        if self.troubles_of_pairs:
            raise self.troubles_of_pairs.pop(0)
        self.now += seconds
        number = len(list(folder.glob("pairs-*.json"))) + 1
        return trials_on_disk.pairs(folder.parent.parent, folder.parent.name, seconds=seconds, number=number)

    def warm_up(self, *_):
        self.warmed += 1

    def raised(self):
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, BaseException):
            raise trouble
        return trouble

    def measure(self, server, arm, schedule, sent, path, cores, turn, attempt):
        self.measured.append((turn, str(arm)))
        self.now += schedule.seconds + load.OVERHEAD
        broken = self.raised() or ""
        directory = path.parent.parent.parent
        return trials_on_disk.trial(directory, arm.workload.name, arm.placement, turn, schedule.seconds, broken)


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(experiment, "Server", SimpleNamespace(at=lambda *_: made))
    monkeypatch.setattr(retry, "measure", made.measure)
    for module in (retry, compare, experiment):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(compare.unloaded, "measure_pairs", made.pairs)
    monkeypatch.setattr(compare.unloaded, "warm_up", made.warm_up)
    monkeypatch.setattr(host, "pin", lambda cores: None)
    monkeypatch.setattr(host, "free_cores", lambda cores: [0])
    monkeypatch.setattr(bootstrap, "RESAMPLES", FEW)
    return made


@pytest.fixture
def conduct(world, tmp_path, capsys):
    """`crossover compare image ...`, of two photographs: (exit code, output, errors)."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in ("image-a.jpg", "image-b.jpg"):
        (photographs / name).write_bytes(name.encode())
    began = ["image", "--payloads", photographs, "--reports", tmp_path / "reports", "--rounds", 6, "--seconds", 80]
    began += ["--arrivals", "poisson:rate=7.5"]

    def run(*arguments, given=None) -> tuple[int, str, str]:
        # What --continue does not say it takes from the directory.
        given = [] if "--continue" in arguments and given is None else began if given is None else given
        code, out, err = commands.conduct(capsys, "compare", *given, *arguments)
        assert "Traceback" not in out + err
        return code, out, err

    run.reports, run.photographs = tmp_path / "reports", photographs
    return run


def kept(reports: Path) -> dict:
    return json.loads((only(reports) / "run.json").read_text())


def test_every_round_has_every_arm_and_the_run_says_how_it_was_begun(world, conduct):
    code, _, errors = conduct()
    assert (code, errors) == (0, "")
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
    assert "goodput     answers per second within the latency objective" in output


def compared(reports: Path) -> list[dict]:
    return json.loads((only(reports) / "summary.json").read_text())["workloads"]["image"]["comparisons"]


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
    assert code == 130 and f"go on with --continue {only(conduct.reports)}" in output
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
    assert "payloads of image: " in errors and len(errors.splitlines()) == 1
    (conduct.photographs / "image-a.jpg").write_bytes(b"image-a.jpg")
    world.models["resnet50"]["provenance"]["seed"] = 9
    *_, errors = conduct("--continue", only(conduct.reports))
    assert "weights of resnet50" in errors and len(errors.splitlines()) == 1


def rewrite(directory, **values):
    path = directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_no_bench_or_damaged_is_one_line(world, conduct):
    conduct()
    directory = only(conduct.reports)
    trial = next(directory.glob("*/*/round-03.json"))
    for spoil, says in (
        (lambda: trial.write_text(trial.read_text()[:100]), f"{trial} is no trial"),
        (lambda: rewrite(directory, kind="capacity"), f"{directory} is of capacity, not of bench"),
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
    assert "For photographs at 7.5 requests/s on this machine, undecided" in output


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
    assert errors == f"no Triton server answers; go on with --continue {only(conduct.reports)}\n"


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
    def slower(*arguments):
        world.now += 0.2
        return world.measure(*arguments)

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


def test_a_look_is_noted_when_a_run_is_interrupted_too(world, conduct):
    world.troubles = [None] * 8 + [KeyboardInterrupt()]
    conduct()
    seconds = kept(conduct.reports)["workloads"]["image"]["seconds"]
    assert kept(conduct.reports)["looks"]["image"] == pytest.approx([8 * seconds])
    conduct("--continue", only(conduct.reports))
    assert kept(conduct.reports)["looks"]["image"] == pytest.approx([8 * seconds, 12 * seconds])


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


def test_json_is_one_document_and_progress_goes_elsewhere(world, conduct):
    code, output, errors = conduct("--json")
    document = json.loads(output)
    assert document["exit_code"] == code == 0 and document["complete"]
    assert document["directory"] == str(only(conduct.reports))
    assert document["result"] == json.loads((only(conduct.reports) / "summary.json").read_text())
    assert document["verdict"] == [document["result"]["workloads"]["image"]["sentence"]]
    assert "round 6/6" in errors


def test_an_interrupted_run_is_a_document_too(world, conduct):
    world.troubles = [None] * 6 + [KeyboardInterrupt()]
    code, output, errors = conduct("--json")
    document = json.loads(output)
    assert (code, document["exit_code"], document["complete"]) == (130, 130, False)
    assert f"go on with --continue {document['directory']}" in errors


def test_quiet_prints_the_verdict_and_nothing_else(world, conduct):
    code, output, errors = conduct("--quiet")
    summary = json.loads((only(conduct.reports) / "summary.json").read_text())
    assert (code, output, errors) == (0, f"{summary['workloads']['image']['sentence']}\n", "")


def test_a_limit_that_is_broken_is_exit_code_4_and_one_that_holds_is_none(world, conduct):
    code, output, errors = conduct("--fail-if", "p50>1", "--fail-if", "p50>1e6")
    assert code == 4 and "samples, summary.json and report.html: " in output
    assert [line.partition(" p")[0] for line in errors.splitlines()] == [
        f"image {placement} async:1:" for placement in ("client", "server")
    ]
    assert kept(conduct.reports)["complete"]
    assert conduct("--continue", only(conduct.reports))[0] == 0


def test_a_limit_is_judged_where_arrivals_were_lost_too_but_their_code_stays(world, conduct):
    world.troubles = ["reset"] * 4
    code, _, errors = conduct("--fail-if", "p50>1")
    assert code == 1 and len(errors.splitlines()) == 2


def test_quiet_says_nothing_where_nothing_was_found(world, conduct):
    world.troubles = [Unavailable("it is gone")] * 3
    code, output, errors = conduct("--quiet")
    assert (code, output) == (1, "") and "it is gone" in errors


def test_what_was_asked_for_is_kept_as_data_and_taken_over(world, conduct):
    conduct("--slo", 90, "--reports", conduct.reports)
    options = kept(conduct.reports)["options"]
    assert options["workloads"] == ["image"] and options["payloads"] == [str(conduct.photographs)]
    assert (options["slo"], options["rounds"], options["seconds"]) == (90, 6, 80)
    assert not options.keys() & {"continued", "reports", "as_json", "quiet", "fail_if"}
    assert conduct("--continue", only(conduct.reports), "--slo", 90)[0] == 0
    code, _, errors = conduct("--continue", only(conduct.reports), "--slo", 91)
    assert code == 2 and "cannot be continued: slo_ms: 90.0 against 91.0" in errors


def test_prices_decide_what_is_cheaper_and_are_kept(world, conduct):
    _, output, _ = conduct("--prices", "client=0,server=1,gb=0")
    assert kept(conduct.reports)["prices"] == {"client": 0.0, "server": 1.0, "gb": 0.0}
    cost = next(each for each in compared(conduct.reports) if each["metric"] == "cost")
    assert cost["baseline"] == pytest.approx(0.0776e6 / 3600) and cost["kind"] == "baseline"
    assert "at 0 (client) and 1 (server) per core-hour and 0 per GB" in output


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


def test_a_bench_like_another_can_be_compared_with_it_whatever_the_clock_says(world, conduct, monkeypatch, capsys):
    conduct()
    before = only(conduct.reports)
    monkeypatch.setitem(trials_on_disk.NETWORK, "image", ("resnet50", 60.0))
    after = conduct.reports.with_name("after")
    made = "--payloads", conduct.photographs, "--reports", after, "--rounds", 3, "--seconds", 33
    code, _, errors = conduct("--like", before, given=["image", *made])
    assert (code, errors) == (0, "")
    code, output, errors = again(monkeypatch, capsys, before, only(after))
    assert (code, errors) == (0, "") and "image client: " in output
    own, other = (json.loads((each / "run.json").read_text())["workloads"]["image"] for each in (before, only(after)))
    assert own["slo_ms"] == other["slo_ms"]
    code, _, errors = conduct("--like", before, given=["audio", *made[2:]])
    assert code == 2 and errors == f"crossover compare: {before} has not measured audio, but image\n"
    code, _, errors = conduct("--like", before, "--slo", 3, given=["image", *made])
    assert code == 2 and "leave out --arrivals and --slo" in errors
    (conduct.photographs / "image-a.jpg").write_bytes(b"another")
    code, _, errors = conduct("--like", before, given=["image", *made])
    assert code == 2 and "sent other payloads for image" in errors and len(errors.splitlines()) == 1


def test_what_is_ignored_in_a_comparison_is_named(tmp_path, monkeypatch, capsys):
    for name in ("before", "after"):
        trials_on_disk.write(tmp_path / name, ("image",), 2)
    before, after = tmp_path / "before", tmp_path / "after"
    described = json.loads((after / "run.json").read_text())
    described["seed"], described["workloads"]["image"]["arrivals"] = 2, "poisson:rate=8"
    (after / "run.json").write_text(json.dumps(described))
    code, output, errors = again(monkeypatch, capsys, before, after)
    assert code == 1 and "not comparable" in errors and output == ""
    code, output, errors = again(monkeypatch, capsys, before, after, "--anyway")
    assert code == 0 and "image client" in output and "async:1" not in output
    assert "seed of the schedules: 1 against 2; image's arrivals: poisson:rate=7.5 against poisson:rate=8" in errors


def test_reports_without_a_common_arm_are_one_line(tmp_path, monkeypatch, capsys):
    for name, kept in (("before", "client"), ("after", "server")):
        trials_on_disk.write(tmp_path / name, ("image",), 2)
        for path in (tmp_path / name).glob(f"image/*-{'server' if kept == 'client' else 'client'}-*/*.json"):
            path.unlink()
    code, output, errors = again(monkeypatch, capsys, tmp_path / "before", tmp_path / "after")
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert "nothing to compare: no arm has a round of one schedule in both" in errors
    assert "before has image client" in errors


NAMES = ["options", "asked.payloads", "asked.arms", "asked.files", "workloads.*.placements"]
NAMES += ["looks", "machine.versions", "workloads", "workloads.*.back_to_back_seconds"]
NAMES += ["server.models", "server.models.*.parameters", "server.models.*.provenance"]
NAMES += [f"workloads.*.arms[].{each}" for each in ("books", "reasons", "stages", "steps", "steps.*.ms", *SPANS)]
NAMES += [f"workloads.*.arms[].{each}" for each in ("dispatch_lag", "early_stopping")]
AS_COMPARISONS = "workloads.*.other_modes"


def written(value, path: str = "") -> set[str]:
    """The paths of all that is not itself made of parts."""
    if isinstance(value, dict) and path != AS_COMPARISONS:
        keys = {key: "*" if path in NAMES else key for key in value}
        return {each for key in value for each in written(value[key], f"{path}.{keys[key]}".lstrip("."))}
    if isinstance(value, list | tuple):
        return {f"{path}[]"}.union(*(written(each, f"{path}[]") for each in value)) if value else set()
    return {path}


def documented() -> set[str]:
    found, prefix = set(), ""
    for line in (ROOT / "docs" / "summary.md").read_text().splitlines():
        if line.startswith("## "):
            prefix = (re.findall("`(.*)`", line) or [""])[0]
        elif line.startswith("| `"):
            found |= {f"{prefix}.{each}".lstrip(".") for each in re.findall("`(.*?)`", line.split("|")[1])}
    return found


def test_every_field_of_the_summary_is_documented_and_no_other(world, conduct):
    world.troubles = [None] * 3 + ["reset"] * 3
    conduct()
    summary = json.loads((only(conduct.reports) / "summary.json").read_text())
    lists = {path for path in written(summary) if path.endswith("[]")}
    inner = {path for path in lists if any(other.startswith(f"{path}.") for other in written(summary))}
    assert written(summary) - inner == documented()


def test_a_directory_of_reports_that_cannot_be_made_is_wrong_usage(world, conduct):
    file = conduct.photographs / "image-a.jpg"
    code, _, errors = conduct("--reports", file / "reports")
    assert (code, world.measured, errors.count("\n")) == (2, [], 1)
    assert errors.startswith(f"--reports {file / 'reports'}: cannot make {file / 'reports'}") and "Errno" not in errors


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
