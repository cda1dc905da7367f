"""A pipe in place of a file in a run's folder is refused in one line: to open it would take until somebody writes."""

import json
import os

import pytest

from loadgen.samples.journal import Journal
from tests import forks, trials_on_disk

PIPES = {
    "image/image-server-async1/round-02.json": "is no trial: it is no regular file; one has",
    "image/image-server-async1/round-02.parquet": "has no samples: it is no regular file",
    "image/unloaded/pairs-01.json": "has no pairs: it is no regular file; it has",
    "image/unloaded/pairs-01.parquet": "has no samples: it is no regular file",
}


def report(*arguments):
    """(exit code, the one line of errors) of `crossover report`, which must end."""
    done = forks.run("crossover", "report", *arguments, timeout=60)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_among_the_files_of_a_comparison_is_named(tmp_path, name):
    trials_on_disk.write(tmp_path / "run", ("image",), 2)
    [file] = [path for path in (tmp_path / "run").rglob("*") if str(path.relative_to(tmp_path / "run")) == name]
    file.unlink()
    os.mkfifo(file)
    code, said = report(tmp_path / "run", "-o", tmp_path / "page")
    assert code == 2 and f"{file} {PIPES[name]}" in said
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("kind", ["efficiency", "capacity"])
def test_a_pipe_in_place_of_figures_that_come_from_no_trials_is_named(tmp_path, kind):
    trials_on_disk.write(tmp_path / "run", ("image",), 1)
    described = {**trials_on_disk.run(("image",)), "kind": kind}
    (tmp_path / "run/run.json").write_text(json.dumps(described))
    os.mkfifo(tmp_path / f"run/{kind}.json")
    code, said = report(tmp_path / "run", "-o", tmp_path / "page")
    assert code == 2 and f"{tmp_path}/run/{kind}.json is damaged: it is no regular file" in said


def test_a_pipe_beside_other_kinds_of_runs_is_named_where_both_are_merged_into_a_page(tmp_path):
    for name, kind in (("bench", "bench"), ("run", "efficiency")):
        trials_on_disk.write(tmp_path / name, ("image",), 1)
        described = {**trials_on_disk.run(("image",)), "kind": kind}
        (tmp_path / name / "run.json").write_text(json.dumps(described))
    os.mkfifo(tmp_path / "run/efficiency.json")
    code, said = report(tmp_path / "bench", tmp_path / "run", "-o", tmp_path / "page")
    assert code == 2 and "efficiency.json is damaged: it is no regular file" in said


def test_samples_are_not_written_into_a_pipe(tmp_path):
    path = tmp_path / "round-01.journal"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without one to open the pipe would take for ever
    try:
        with pytest.raises(OSError, match="it is no regular file") as refused:
            Journal(path)
    finally:
        os.close(reader)
    assert refused.value.filename == str(path)
