"""`crossover report`: it reads runs of every kind, writes nothing into them, and says in one line what is none."""

import json
import re
import statistics
import warnings
from pathlib import Path

import numpy as np
import pytest

from crossover.cli.main import main
from loadgen.samples import journal, parquet
from loadgen.samples.sample import COMPLETED, FAILED, FORMAT, Sample
from loadgen.samples.summary import summarise
from tests import trials_on_disk
from tests.conftest import ROOT
from tests.report.test_page import Structure

MS = 1_000_000
SETTINGS: dict = {
    "format": FORMAT, "arm": "image server async:1", "arrivals": "constant:rate=50", "seconds": 4.0, "seed": 3,
    "schedule": "0123456789ab", "timeout": 30.0, "percentile": 90.0, "payloads": ["a.jpg", "b.jpg"], "trace": "",
}  # fmt: skip
FINDING = {"rule": "errors", "measured": "1 failed of 200", "limit": "none allowed", "change": "mend the cause"}


def locust_run(directory: Path, finished: bool = True, failed: int = 66, slower: int = 0, **changes) -> Path:
    """A run of Locust's of 200 arrivals, one of which failed; unfinished, it has a journal and no summary.

    Without the arrival `failed`, as for -1, it is VALID. Answers take `slower` ms more; `changes` are of run.json.
    """
    directory.mkdir(parents=True)
    settings = {**SETTINGS, **changes}
    (directory / "run.json").write_text(json.dumps(settings))
    book = journal.Journal(directory / "samples.journal")
    for number in range(200):
        due = 20 * MS * number
        done = due + (20 + slower + number % 7) * MS
        instants = (due, due + MS, due + 2 * MS, due + 5 * MS, due + 6 * MS, done)
        outcome = (FAILED, 0, 0, "connection reset") if number == failed else (COMPLETED, 900, 40)
        book.write(Sample(number, number % 2, *instants, *outcome))
    book.close()
    if finished:
        records, reasons = journal.read(book.path)
        verdict = {"valid": failed < 0, "findings": [FINDING] * (failed >= 0)}
        summary = {**settings, **summarise(records, 4.0, reasons), **verdict}
        (directory / "summary.json").write_text(json.dumps(summary))
        parquet.to_parquet(book.path, settings["payloads"], settings)
    return directory


def contents(directory: Path) -> dict[str, tuple]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [directory, *directory.rglob("*")]
    }


@pytest.fixture
def report(monkeypatch, tmp_path, capsys):
    """`crossover report ...` in an empty folder: (exit code, output, errors)."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments) -> tuple[int, str, str]:
        return main(["report", *map(str, arguments)]), *capsys.readouterr()

    return run


@pytest.fixture
def archive(tmp_path):
    """Two runs that are VALID, and one of which a request had no answer."""
    trials_on_disk.write(tmp_path / "archive" / "before", ("image",), 6, broken="")
    trials_on_disk.write(tmp_path / "archive" / "after", ("image",), 6, broken="")
    trials_on_disk.write(tmp_path / "archive" / "reset", ("image",), 6)
    return tmp_path / "archive"


def test_a_run_is_reported_in_a_directory_of_its_own_and_nothing_is_written_into_it(report, archive):
    before = contents(archive)
    code, output, errors = report(archive / "before")
    assert (code, errors) == (0, "")
    assert output.endswith("\n\nthe page: reports/before-report/report.html\n")
    assert {path.name for path in Path("reports/before-report").iterdir()} == {"report.html", "summary.json"}
    code, output, errors = report(archive / "before", archive / "after", "-o", "deep/both")
    assert (code, errors) == (0, "") and output.endswith("the page: deep/both/before-after.html\n")
    assert [path.name for path in Path("deep/both").iterdir()] == ["before-after.html"]
    assert contents(archive) == before


def test_the_report_of_an_undecided_run_ends_with_the_command_that_may_decide_it(report, tmp_path):
    trials_on_disk.write(tmp_path / "two", ("image",), 2, broken="")
    code, output, _ = report(tmp_path / "two")
    assert code == 3 and f": crossover compare --continue {tmp_path / 'two'} --seconds " in output.splitlines()[-1]


def test_json_is_the_content_of_its_file_and_quiet_prints_the_sentences_alone(report, archive):
    code, output, errors = report(archive / "before", "--json")
    told = json.loads(output)
    assert (code, told["directory"], told["exit_code"]) == (0, "reports/before-report", 0)
    assert told["result"] == json.loads(Path("reports/before-report/summary.json").read_text())
    assert "the page: reports/before-report/report.html" in errors
    [sentence] = told["verdict"]
    assert sentence == told["result"]["workloads"]["image"]["sentence"]
    code, output, errors = report(archive / "before", "--quiet")
    assert (code, errors) == (0, "") and output == sentence + "\n"
    both = archive / "before", archive / "after"
    arms = json.loads(report(*both, "--json")[1])["result"]["arms"]
    assert set(arms) == {"image client async:1", "image server async:1"}
    code, output, _ = report(*both, "--quiet")
    assert output.splitlines() == [each["sentence"] for each in arms.values()]


def test_the_exit_code_is_that_of_the_run_and_quiet_says_what_is_invalid(report, archive):
    code, output, _ = report(archive / "reset", "--quiet")
    assert code == 1 and output.splitlines()[0].startswith("1 of 12 trials is INVALID (errors).")
    assert "INVALID" not in output.splitlines()[1]  # the comparison leaves that round out
    for file in archive.glob("before/image/image-client-async1/*.json"):
        trial = json.loads(file.read_text())
        file.write_text(json.dumps({**trial, "facts": {**trial["facts"], "cpu_share": 0.95}}))
    code, output, _ = report(archive / "before", "--quiet")
    warning, sentence = output.splitlines()
    assert code == 3 and sentence.startswith("INVALID (client: client CPU), so do not rely on it. For photographs at ")
    assert warning.startswith("image client is INVALID. Client CPU: used 95 % of its cores (at most 90 %); give the ")
    assert "server fewer cores (`crossover up --cores`), or offer fewer arrivals" in warning
    told = json.loads(report(archive / "before", "--json")[1])
    assert (told["exit_code"], told["verdict"], told["warnings"]) == (3, [sentence], [warning])
    output = report(archive / "before")[1]
    assert output.startswith(f"{warning}\n\n") and output.index(warning) < output.index(sentence)


def test_the_report_of_an_interrupted_run_ends_with_130_and_says_so_with_quiet_too(report, archive):
    for name, code in (("before", 130), ("reset", 1)):
        path = archive / name / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "complete": False}))
        found, output, _ = report(archive / name, "--quiet")
        first = f"{archive / name} was interrupted: what follows is what was measured until then."
        assert found == code and output.splitlines()[0] == first
        told = json.loads(report(archive / name, "--json")[1])
        assert told["exit_code"] == code and told["warnings"][0] == first


def test_a_run_of_locusts_has_a_page_and_its_figures_are_printed(report, tmp_path):
    run = locust_run(tmp_path / "20261126-101112.131-image-server-async1")
    before = contents(run)
    code, output, errors = report(run)
    assert (code, errors) == (1, "")
    title, verdict, outcomes, *_ = output.splitlines()
    assert title == "image server async:1: constant:rate=50 for 4 s, seed 3"
    assert verdict == "INVALID: errors: 1 failed of 200 (none allowed); mend the cause"
    assert outcomes.startswith("outcomes: 200 = 199 completed + 1 failed; offered 50/s, sent 50/s, completed 49.")
    rows = {line.rsplit(None, 7)[0]: line.split()[-7:] for line in output.splitlines() if line.endswith("26.0")}
    assert rows["latency from the due time"][1] == "23.0"
    assert re.search(r"waiting for a worker +2\.00 +2\.00", output)
    page = (tmp_path / "here/reports" / f"{run.name}-report" / "report.html").read_text()
    seen = Structure(page)
    assert seen.open == [] and len(seen.ids) == len(set(seen.ids)) and "None" not in seen.text
    assert all(target.startswith("#") for target in seen.fetched) and page.count("<svg") == 3
    text = " ".join(seen.text.split())
    assert "INVALID: 200 = 199 completed + 1 failed" in text and "connection reset (1)" in text
    assert json.loads(report(run, "--json")[1])["result"]["books"]["failed"] == 1
    assert report(run, "--quiet")[1] == verdict + "\n"
    assert contents(run) == before


def test_two_runs_of_locusts_are_compared_twin_by_twin_and_have_no_interval(report, tmp_path):
    runs = [locust_run(tmp_path / name, failed=-1, slower=ms) for name, ms in (("a", 0), ("b", 23))]
    before = [contents(run) for run in runs]
    code, output, _ = report(*runs, "--json")
    [change] = json.loads(output)["result"]["arms"].values()
    assert (code, change["sentence"]) == (
        0, "image server async:1: undecided: 2.01 over 1 round, too few for an interval."
    )  # fmt: skip
    row = change["comparisons"][0]
    ratios = [(43 + number % 7) / (20 + number % 7) for number in range(200)]
    assert row["metric"] == "latency at this load" and (row["low"], row["high"]) == (None, None)
    assert row["ratio"] == pytest.approx(statistics.geometric_mean(ratios))
    assert row["names"] == ["before", "after"]
    assert {"latency at this load", "p99", "bytes"} < {each["metric"] for each in change["comparisons"]}
    assert all(each["ratio"] for each in change["comparisons"])
    seen = Structure(Path("reports/a-b-report/before-after.html").read_text())
    assert seen.open == [] and "None" not in seen.text and "nan" not in seen.text
    assert [contents(run) for run in runs] == before


def test_two_arms_of_locusts_with_the_same_arrivals_are_compared(report, tmp_path):
    other = locust_run(tmp_path / "b", failed=-1, slower=23, arm="image client async:1")
    result = json.loads(report(locust_run(tmp_path / "a"), other, "--json")[1])["result"]
    [(arm, change)] = result["arms"].items()
    assert arm == "image server/client async:1" and change["comparisons"][0]["names"] == ["server", "client"]
    assert "as no round has an answer to every arrival in both runs" in change["sentence"]
    _, output, _ = report(tmp_path / "a", other)
    assert f"{tmp_path / 'a'} is INVALID: errors." in output and "image server/client: " in output


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schedule": "other"}, "no arrival has a twin, as their schedules differ: give both the same --arrivals"),
        ({"schedule": None}, "b is a closed loop, which has no schedule"),
        ({"arm": "audio server async:1"}, "they are of different workloads, image and audio"),
        ({"seed": 4, "timeout": 5.0}, "seed of the schedule: 3 against 4; timeout, s: 30 against 5"),
        ({"finished": False}, "b was cut short, so that arrivals lack their twins"),
    ],
)
def test_two_runs_of_locusts_without_twins_are_one_line(report, tmp_path, changes, says):
    code, output, errors = report(locust_run(tmp_path / "a"), locust_run(tmp_path / "b", **changes))
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert says in errors


def test_of_a_run_whose_process_was_killed_the_samples_are_recovered_beside_it(report, tmp_path):
    run = locust_run(tmp_path / "killed", finished=False)
    before = contents(run)
    code, output, errors = report(run, "-o", "out")
    assert (code, errors) == (1, "")
    assert "INVALID: interrupted: its process ended before it had written a verdict" in output or "INVALID" in output
    assert {path.name for path in Path("out").iterdir()} == {"report.html", "samples.parquet", "summary.json"}
    assert len(parquet.load(Path("out/samples.parquet"))[0]) == 200
    code, output, errors = report(run / "samples.journal", "-o", "alone")
    assert (code, output, errors) == (0, "the samples: alone/samples.parquet\n", "")
    assert parquet.load(Path("alone/samples.parquet"))[2] == ["a.jpg", "b.jpg"]
    assert contents(run) == before


def test_what_workers_had_finished_as_their_master_was_killed_is_in_the_report_once(report, tmp_path):
    run = locust_run(tmp_path / "killed", finished=False)
    records, texts = journal.read(run / "samples.journal")
    master, by_worker = np.array(records[:100]), [np.array(records[worker::2]) for worker in (0, 1)]
    for name, some, reasons in (("samples", master, texts), *((f"worker-{n}", by_worker[n], texts) for n in (0, 1))):
        some.tofile(run / f"{name}.journal")
        (run / f"{name}.reasons").write_text("".join(f"{text}\n" for text in reasons[1:]))
    before = contents(run)
    code, output, errors = report(run, "-o", "out")
    assert (code, errors) == (1, "") and "outcomes: 200 = 199 completed + 1 failed; offered 50" in output
    stored, words, _ = parquet.load(Path("out/samples.parquet"))
    assert stored["index"].tolist() == list(range(200)) and words[stored["reason"][66]] == "connection reset"
    assert {path.name for path in Path("out").iterdir()} == {"report.html", "samples.parquet", "summary.json"}
    assert contents(run) == before


def test_a_run_that_was_killed_before_its_first_answer_has_a_report_too(report, tmp_path):
    run = locust_run(tmp_path / "killed", finished=False)
    for name in ("samples", "worker-0"):
        journal.Journal(run / f"{name}.journal").close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, output, errors = report(run)
    assert (code, errors) == (1, "") and "outcomes: 0 = 0;" in output


def test_a_worker_s_journal_alone_is_no_run_and_the_line_says_how_to_have_its_samples(report, tmp_path):
    run = locust_run(tmp_path / "run", finished=False)
    (run / "run.json").unlink()
    code, output, errors = report(run)
    assert (code, output) == (2, "") and errors.endswith(f"with `crossover report {run}/samples.journal`\n")
    assert report(run / "samples.journal")[0] == 0


def test_a_worker_s_reasons_keep_their_words_beside_the_master_s(tmp_path):
    for name, index, reason in (("samples", 0, "refused"), ("worker-0", 0, "refused"), ("worker-1", 1, "reset")):
        book = journal.Journal(tmp_path / f"{name}.journal")
        book.write(Sample(index, 0, MS * index, status=FAILED, reason=reason))
        book.close()
    records, texts = journal.merge(sorted(tmp_path.glob("*.journal")))
    assert [(each["index"], texts[each["reason"]]) for each in records] == [(0, "refused"), (1, "reset")]


def test_the_rates_of_a_run_that_was_killed_go_by_the_time_that_it_ran(report, tmp_path):
    run = locust_run(tmp_path / "killed", finished=False)
    (run / "run.json").write_text(json.dumps({**SETTINGS, "seconds": 3600.0}))
    assert re.search(r"offered (49\.9\d|50)/s, sent (49\.9\d|50)/s, completed 49\.7", report(run)[1])


def test_a_run_of_locusts_in_which_nothing_was_answered_is_no_error(report, tmp_path):
    run = locust_run(tmp_path / "run", finished=False)
    book = journal.Journal(run / "samples.journal")
    book.write(Sample(0, 0, 0))
    book.close()
    code, output, errors = report(run)
    assert (code, errors) == (1, "") and "1 = 1 unfinished" in output
    assert "No request was completed." in Path("reports/run-report/report.html").read_text()


def damaged(directory: Path, **changes) -> Path:
    run = locust_run(directory)
    (run / "run.json").write_text(json.dumps({**SETTINGS, **changes}))
    return run


def comparison(directory: Path) -> Path:
    trials_on_disk.write(directory, ("image",), 1, broken="")
    return directory


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: [at / "none"], "none is no run: it has no run.json"),
        (lambda at: [ROOT / "README.md"], "README.md is no run: give the directory that has its run.json"),
        (lambda at: [damaged(at / "a", format=2)], "is of format 2; this version reads format"),
        (lambda at: [damaged(at / "a", seconds="long")], "run.json is damaged: 'seconds'"),
        (lambda at: [locust_run(at / "a"), comparison(at / "b")], "a is a run of Locust's: `crossover report"),
        (lambda at: [locust_run(at / "a b"), comparison(at / "b")], "/a b'` shows it, by itself"),
        (lambda at: [locust_run(at / "a"), "-o", at / "a"], "is a run, or lies in one that is read"),
        (lambda at: [locust_run(at / "a"), "-o", at / "a" / "pages"], "is a run, or lies in one that is read"),
        (lambda at: [locust_run(at / "a"), "-o", locust_run(at / "b")], "is a run, or lies in one that is read"),
        (lambda at: [locust_run(at / "a"), "-o", ROOT / "README.md"], "README.md"),
        (lambda at: [locust_run(at / "a"), "--fail-if-worse", "much"], "--fail-if-worse takes a share above 0"),
        (lambda at: [ROOT / "tests" / "laws.journal"], "laws.journal"),
        (lambda at: [], "missing argument 'RUN...'"),
    ],
)
def test_what_is_no_run_or_no_place_for_a_page_is_one_line_and_exit_code_2(report, tmp_path, make, says):
    code, output, errors = report(*make(tmp_path))
    assert (code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("crossover report: ") and says in line
    assert not Path("reports").exists()


def test_a_folder_of_runs_is_no_run_and_names_the_newest(report, tmp_path):
    runs = [locust_run(tmp_path / "here" / "reports" / f"2026112{number}") for number in range(5)]
    code, output, errors = report("reports")
    newest = ", ".join(str(each.relative_to(tmp_path / "here")) for each in runs[-3:])
    said = f"crossover report: reports is no run: it holds {newest} and 2 more\n"
    assert (code, output, errors) == (2, "", said)


def test_runs_of_other_arrivals_name_the_option_that_repeats_them(report, tmp_path):
    for name in ("before", "after"):
        trials_on_disk.write(tmp_path / name, ("image",), 6, "")
    for number in range(1, 7):
        for placement in trials_on_disk.PLACEMENTS:
            trials_on_disk.trial(tmp_path / "after", "image", placement, number, 12)
    code, _, errors = report(tmp_path / "before", tmp_path / "after", "--anyway")
    assert code and errors.count("image client async:1") == 1 and f"--like {tmp_path / 'before'}" in errors


def test_a_run_without_samples_is_one_line(report, tmp_path):
    run = locust_run(tmp_path / "run")
    (run / "samples.parquet").unlink()
    code, output, errors = report(run)
    assert (code, output) == (2, "") and errors.count("\n") == 1
    assert "run has no samples: neither samples.parquet nor samples.journal" in errors
