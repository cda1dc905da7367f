"""A file that is missing or damaged is named in one line that says what to do, and what it says then helps."""

import json
import re
import shutil
from pathlib import Path

import pytest

from crossover.measurement.pairs import read_pairs
from crossover.measurement.trial import read_trials
from loadgen.samples import parquet
from tests.commands import again
from tests.trials_on_disk import write

FOLDER = "image/image-client-async1"


@pytest.fixture
def run(tmp_path):
    """A comparison of photographs in three rounds."""
    write(tmp_path, ("image",), 3, broken="")
    return tmp_path


def refused(monkeypatch, capsys, directory) -> str:
    """The line that the report ends with."""
    code, output, errors = again(monkeypatch, capsys, directory)
    assert code == 2 and output == "" and errors.count("\n") == 1
    return errors


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "damaged": cut,
    "damaged (": lambda path: path.write_bytes(b"PAR1 this is no table"),
}


@pytest.mark.parametrize("says", list(DAMAGES))
def test_a_samples_file_that_cannot_be_read_is_named_with_the_remedy_which_helps(run, monkeypatch, capsys, says):
    path = run / FOLDER / "round-02.parquet"
    DAMAGES[says](path)
    line = refused(monkeypatch, capsys, run)
    assert line.startswith(f"crossover report: {path} is {says}") and "round-02.json" in line
    assert line.endswith("--continue then measures it again, and a report leaves it out\n")
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink()
    assert again(monkeypatch, capsys, run)[0] == 3  # of two rounds nothing is decided
    summary = json.loads(Path(f"reports/{run.name}-report/summary.json").read_text())
    assert summary["workloads"]["image"]["comparisons"][0]["rounds"] == 2


def test_samples_of_another_round_are_not_taken_for_this_one(run, monkeypatch, capsys):
    sizes = {trial.round: trial.scheduled for trial in read_trials(run)}
    assert sizes[1] != sizes[2]
    shutil.copy(run / FOLDER / "round-01.parquet", run / FOLDER / "round-02.parquet")
    line = refused(monkeypatch, capsys, run)
    assert f"round-02.parquet has {sizes[1]} samples, and round-02.json says {sizes[2]}; remove it and" in line


def test_samples_of_as_many_arrivals_are_told_apart_by_their_seed(run):
    [trial, *_] = read_trials(run)
    path = trial.path.with_suffix(".parquet")
    table = parquet.pyarrow.parquet.read_table(path)
    told = {**table.schema.metadata, b"crossover": json.dumps({"arm": trial.arm, "seed": 7}).encode()}
    parquet.pyarrow.parquet.write_table(table.replace_schema_metadata(told), path)
    with pytest.raises(ValueError, match=r"has samples of seed 7, and round-01\.json is of 1; remove it and"):
        _ = trial.records


def test_unloaded_pairs_without_their_samples_are_named(run, monkeypatch, capsys):
    [pairs] = read_pairs(run, "image")
    pairs.path.with_suffix(".parquet").unlink()
    assert f"{pairs.path.with_suffix('.parquet')} is missing; remove pairs-01.json" in refused(monkeypatch, capsys, run)


def test_samples_whose_trial_is_gone_are_left_out_and_that_is_said(run, monkeypatch, capsys):
    (run / FOLDER / "round-01.json").unlink()
    code, output, _ = again(monkeypatch, capsys, run)
    line = f"{FOLDER}/round-01.parquet is left out, as round-01.json is not beside it; --continue measures that trial"
    assert code == 3 and line in output
    page = Path(f"reports/{run.name}-report/report.html").read_text()
    assert line in re.sub("</?span[^>]*>", "", page)


def test_a_trial_of_a_placement_that_the_run_does_not_have_is_named(run, monkeypatch, capsys):
    described = json.loads((run / "run.json").read_text())
    del described["workloads"]["image"]["placements"]["server"]
    (run / "run.json").write_text(json.dumps(described))
    line = refused(monkeypatch, capsys, run)
    assert "image-server-async1/round-01.json is a trial of 'server', and run.json has client only: one of the" in line
