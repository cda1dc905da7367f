"""run.json as it is read: whole, or one line that says what is wrong with it."""

import json

import pytest

from crossover.measurement.run_directory import read_run
from tests import trials_on_disk
from tests.commands import again

BENCH = trials_on_disk.run(("image",))
SWEEP = {
    **dict.fromkeys(("workload", "sweep", "unit", "network", "regime"), "x"),
    "placements": BENCH["workloads"]["image"]["placements"],
    "forms": [""],
    "points": [{"x": 1, "label": "1", "arrivals": "poisson:rate=1", "seconds": 2.0}],
    "server": {**BENCH["server"], "cores": [1]},
}
SWEEPS = {key: value for key, value in BENCH.items() if key not in ("server", "engine", "cores", "workloads")}
SWEEPS |= {"kind": "crossover", "sweeps": {"real/size": SWEEP}}


def change(run, keys, value=...):
    """A copy of the content in which the part that these keys lead to is replaced, or missing."""
    copy = json.loads(json.dumps(run))
    *first, last = keys.split(".")
    part = copy
    for key in first:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return copy


def keep(directory, run):
    (directory / "run.json").write_text(json.dumps(run))
    return directory


@pytest.mark.parametrize("run", [BENCH, SWEEPS], ids=["bench", "crossover"])
def test_a_whole_one_is_read_as_it_is(tmp_path, run):
    assert read_run(keep(tmp_path, run)) == run


@pytest.mark.parametrize(
    "run, keys",
    [
        *((BENCH, key) for key in ("created", "complete", "kind", "seed", "machine", "server", "engine", "cores")),
        *((BENCH, key) for key in ("workloads", "machine.revision", "server.models", "workloads.image.placements")),
        *((BENCH, f"workloads.image.{key}") for key in ("arrivals", "payloads", "library", "subject", "seconds")),
        *((SWEEPS, "sweeps" + key) for key in ("", ".real/size.server", ".real/size.points", ".real/size.forms")),
    ],
)
def test_a_key_that_is_missing_or_of_another_type_is_named(tmp_path, run, keys):
    with pytest.raises(ValueError) as raised:
        read_run(keep(tmp_path, change(run, keys)))
    assert str(raised.value) == f"{tmp_path / 'run.json'} is damaged: it has no '{keys}'"
    with pytest.raises(ValueError, match=r"run\.json is damaged: '\S+' is not (an?|true|null) ?") as raised:
        read_run(keep(tmp_path, change(run, keys, [[5]])))
    assert f"'{keys}" in str(raised.value)


@pytest.mark.parametrize("value", [{}, 5])
def test_workloads_that_are_empty_or_none_are_one_line(tmp_path, monkeypatch, capsys, value):
    trials_on_disk.write(tmp_path, ("image",), 1)
    keep(tmp_path, change(BENCH, "workloads", value))
    code, _, errors = again(monkeypatch, capsys, tmp_path)
    says = "'workloads' is not an object" if value else "nothing was measured"
    assert (code, says in errors, errors.count("\n")) == (2 if value else 1, True, 1)
    assert not list(tmp_path.glob("summary.json")) and not list(tmp_path.glob("*.html"))


def test_without_its_trials_nothing_was_measured_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    code, _, errors = again(monkeypatch, capsys, keep(tmp_path, BENCH))
    assert (code, errors) == (1, f"crossover report: {tmp_path}: nothing was measured, so there is no report of it\n")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_file_instead_of_its_directory_is_wrong_usage(tmp_path, monkeypatch, capsys):
    code, _, errors = again(monkeypatch, capsys, keep(tmp_path, BENCH) / "run.json")
    assert (code, errors.count("\n"), "is no run: give the directory" in errors) == (2, 1, True)
