"""A capacity search behind a link: on a real server of its own, with nothing left of either. It needs root."""

import json
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.capacity.best_share import list_shares
from crossover.measurement import network_link
from crossover.measurement.trial import read_trials
from crossover.report.format import tied
from loadgen.samples.sample import COMPLETED, STATUSES
from serving import state as records
from tests.commands import conduct, goes_on, interrupted, only, run, start
from tests.experiments.test_capacity import SHORT


def given(folder: Path, arms: str) -> list:
    """Arguments of a short search over 50 Mbit/s, which ten tensors a second would fill."""
    if why := network_link.missing("xo-test-capacity"):
        pytest.skip(f"no link can be made here: {why}")
    return [
        *("image", "--link", 50, "--weights", "tiny", "--arms", arms, "--state", folder / "state"),
        *("--reports", folder / "reports", "--percentile", 90, "--slo", 400, "--loads", "", "--seconds", 90),
    ]


def left(folder: Path) -> list[str]:
    """What is left of the link and of the server that a search with this folder has started."""
    name = records.name((folder / "state").resolve() / "capacity")
    found = [path.name for path in Path("/run/netns").glob(f"{name}*")]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += [" ".join(process.cmdline())] * (str(folder / "state") in " ".join(process.cmdline()))
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(output, directory) of a search of two turns behind a link."""
    folder = tmp_path_factory.mktemp("linked")
    code, output = run("capacity", *given(folder, "client,server,mixed:best,mixed:auto"), shorter=f"{SHORT}2")
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    assert left(folder) == []
    return output, only(folder / "reports")


def test_what_has_fewer_bytes_carries_more_over_a_thin_link(finished):
    output, directory = finished
    found = json.loads((directory / "capacity.json").read_text())["image"]
    assert found["link_mbit"] == 50
    carried = {each["arm"].split()[1]: each["rate"] or each["highest_within"] or 0 for each in found["capacity"]}
    # 50 Mbit/s are 10 tensors, or 33 of the files.
    assert carried["client"] < carried["server"]
    assert "link" in {probe["slow"] for probe in found["probes"] if probe["arm"].split()[1] == "client"}
    # A tensor takes three times as long on the link as a file, so the lowest shares are tried.
    assert found["shares"] == {"balance": 0.05, "arms": [f"mixed:{share:g}" for share in list_shares(0.05)]}
    run_facts = json.loads((directory / "run.json").read_text())
    assert run_facts["complete"] and run_facts["cores"]["server"] and run_facts["asked"]["link"] == 50
    assert "starting a server with tiny weights behind a link of 50 Mbit/s" in output


def test_no_trial_sends_more_than_the_link_carries(finished):
    _, directory = finished
    trials = read_trials(directory)
    assert {trial.placement for trial in trials} >= {"client", "server", "mixed:auto"}
    for trial in trials:
        done = trial.records[trial.records["status"] == STATUSES.index(COMPLETED)]
        if len(done) > 5:
            assert done["bytes_up"].sum() * 8 / ((done["done"].max() - done["sent"].min()) / 1e9) < 50e6


def test_the_table_and_the_page_name_the_link(finished):
    output, directory = finished
    assert "image over a link of 50 Mbit/s: p90 at most 400 ms, Poisson arrivals, 2 turns" in output
    found = json.loads((directory / "capacity.json").read_text())
    [said] = capacity_result.sentences(found)["image"]
    assert said.startswith("For photographs over a link of 50 Mbit/s, p90 of Poisson arrivals stays within 400 ms")
    page = (directory / "report.html").read_text()
    assert tied(said) in page and "<h3>image over a link of 50 Mbit/s</h3>" in page


@pytest.mark.long
def test_an_interrupted_search_leaves_nothing_and_goes_on_behind_another_link(tmp_path):
    arguments = given(tmp_path, "server,mixed:0.2")
    process = start("capacity", *arguments, shorter=f"{SHORT}4")
    interrupted(process, lambda: len(list(tmp_path.rglob("round-*.json"))) >= 5)
    assert left(tmp_path) == []
    goes_on("capacity", only(tmp_path / "reports"), *arguments, shorter=f"{SHORT}4")
    assert left(tmp_path) == []


def test_where_no_link_can_be_made_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network_link, "missing", lambda name: "tc is not installed (Debian: iproute2)")
    arguments = ["image", "--link", 50, "--weights", "tiny", "--state", tmp_path, "--reports", tmp_path / "reports"]
    code, output, errors = conduct(capsys, "capacity", *arguments)
    said = "crossover capacity: --link: no link can be made here: tc is not installed (Debian: iproute2)"
    assert (code, output, errors.splitlines()) == (1, "", [said])
    assert not list(tmp_path.iterdir())
