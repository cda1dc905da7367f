"""An overload in the short trials of a comparison: its report neither hides it nor calls it VALID."""

import json
from pathlib import Path

import pytest

from crossover.experiments.compare import result
from crossover.experiments.compare.arms import summarise_arm
from crossover.measurement.trial import read_trials
from tests import trials_on_disk
from tests.commands import again

DESCRIBED = trials_on_disk.run(("image",))["workloads"]["image"]


def test_pooled_trials_achieve_what_the_server_answered_and_an_overload_is_invalid(tmp_path, monkeypatch):
    monkeypatch.setitem(trials_on_disk.RATES, "image", 30)  # of 13/s
    measured = [trials_on_disk.trial(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    arm = summarise_arm("image client async:1", measured, DESCRIBED)
    assert arm["offered"] == pytest.approx(30, rel=0.2)
    assert arm["achieved"] == pytest.approx(13, rel=0.1)
    assert not arm["valid"]
    [found] = [found for found in arm["findings"] if found["rule"] == "backlog"]
    assert found["round"] is None and "over 4 rounds latency grew by" in found["measured"]
    assert all("backlog" in {each["rule"] for each in trial.findings} for trial in measured)


def test_what_was_not_offered_too_much_achieves_it(tmp_path):
    measured = [trials_on_disk.trial(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    arm = summarise_arm("image client async:1", measured, DESCRIBED)
    assert arm["achieved"] == pytest.approx(arm["offered"], rel=0.1)
    assert "backlog" not in {found["rule"] for found in arm["findings"]}


BACKLOG = {"rule": "backlog", "measured": "grew by 13 requests", "limit": "at most 12", "change": "lower the rate"}


def test_a_backlog_in_one_of_several_rounds_may_be_chance(tmp_path):
    measured = [trials_on_disk.trial(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    measured[1].valid, measured[1].findings = False, [BACKLOG]
    assert summarise_arm("image client async:1", measured, DESCRIBED)["valid"]
    alone = summarise_arm("image client async:1", measured[1:2], DESCRIBED)
    assert not alone["valid"] and alone["findings"] == [{**BACKLOG, "round": 2}]
    measured[1].findings = [{**BACKLOG, "rule": "hub stall"}]
    assert not summarise_arm("image client async:1", measured, DESCRIBED)["valid"]


def test_a_closed_loop_is_never_offered_too_much(tmp_path, monkeypatch):
    monkeypatch.setitem(trials_on_disk.RATES, "image", 30)
    measured = [trials_on_disk.trial(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    for trial in measured:
        trial.facts["closed"], trial.findings = True, []
    assert summarise_arm("image client async:1", measured, DESCRIBED)["valid"]


def test_an_overload_that_no_trial_tells_reaches_table_page_summary_and_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(trials_on_disk.RATES, "image", 18)  # of 13/s, 36 in a trial
    for turn in range(1, 7):
        for placement in ("client", "server"):
            trial = trials_on_disk.trial(tmp_path, "image", placement, turn, seconds=2)
            trial.findings = [found for found in trial.findings if found["rule"] != "backlog"]
            trial.valid = not trial.findings
            trial.write()
    assert all(trial.valid for trial in read_trials(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps(trials_on_disk.run(("image",), 6)))
    code, output, errors = again(monkeypatch, capsys, tmp_path)
    assert (code, errors) == (3, "")
    lines = [line for line in output.splitlines() if line.startswith("INVALID")]
    assert [line.partition(":")[0] for line in lines] == ["INVALID client", "INVALID server", "INVALID (client"]
    sentence = lines.pop()
    assert sentence.startswith("INVALID (client: backlog; server: backlog), so do not rely on it. For photographs")
    assert all("backlog: over 6 rounds latency grew by" in line and "; lower the rate" in line for line in lines)
    made = Path("reports") / f"{tmp_path.name}-report"
    summary = json.loads((made / "summary.json").read_text())
    assert [arm["valid"] for arm in summary["workloads"]["image"]["arms"]] == [False, False]
    assert result.KIND.exit_code(summary, ()) == 3
    page = (made / "report.html").read_text()
    banner = "<strong>image client and image server are INVALID.</strong> image client: backlog: over 6 rounds latency"
    assert banner in page and "image server: backlog: over 6 rounds latency" in page
