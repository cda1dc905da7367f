"""A comparison of placements that answer differently: refused, unless it is allowed; then every report says so."""

import json

from tests.commands import again, only
from tests.experiments.conftest import kept

DIFFERENT = "logits", 2, 1, 0.6, 2.5, 0.5, "image-b.jpg", ""


def test_placements_that_answer_differently_are_not_compared(world, conduct):
    world.difference = DIFFERENT
    code, _, errors = conduct()
    assert code == 2 and not conduct.reports.exists() and not world.measured
    [line] = errors.splitlines()
    assert line.startswith("crossover compare: image: placements 'client' and 'server' answer differently: logits: ")
    assert "0.6 of its spread in mean (image-b.jpg)" in line and "at most 0.07 and 0.5 are expected" in line
    assert "Placement(lossy=...)" in line and "--allow-different" in line


def test_where_it_is_allowed_every_report_says_so(world, conduct, monkeypatch, capsys):
    world.difference = DIFFERENT
    code, output, errors = conduct("--allow-different")
    assert (code, errors) == (0, "")
    assert "But they compute different things" in output
    directory = only(conduct.reports)
    assert kept(conduct.reports)["workloads"]["image"]["parity"]["verdict"] == "different"
    assert (
        "But they compute different things"
        in json.loads((directory / "summary.json").read_text())["workloads"]["image"]["sentence"]
    )
    assert "Different computations are compared (image)." in (directory / "report.html").read_text()
    assert "But they compute different things" in again(monkeypatch, capsys, directory)[1]
    _, output, _ = conduct("--allow-different", "--quiet")
    assert "But they compute different things" in output


def test_what_a_placement_declares_to_lose_is_no_obstacle_and_is_reported(world, conduct, monkeypatch):
    world.difference = DIFFERENT
    made = world.check_placements

    def lossy(*arguments):
        [pair] = made(*arguments)
        return [type(pair)(**{**vars(pair), "lossy": "server: re-encoded as JPEG"})]

    monkeypatch.setattr("crossover.parity.check.check_placements", lossy)
    code, output, errors = conduct()
    assert (code, errors) == (0, "") and "But they" not in output
    assert "The answers differ, as declared (server: re-encoded as JPEG): logits: " in output.replace("\n", " ")
    assert "top-1 the same in 50 %" in output


def test_placements_of_which_nothing_is_known_are_not_compared(world, conduct, monkeypatch):
    made = world.check_placements

    def unanswered(*arguments):
        [pair] = made(*arguments)
        return [type(pair)(**{**vars(pair), "payloads": 0, "outputs": []})]

    monkeypatch.setattr("crossover.parity.check.check_placements", unanswered)
    code, _, errors = conduct()
    assert code == 1 and errors == "crossover compare: image: no payload was answered by both placements: a: why\n"


def test_an_arm_that_is_compared_with_itself_is_not_checked(world, conduct, monkeypatch):
    monkeypatch.setattr("crossover.parity.check.check_placements", lambda *_: 1 / 0)
    code, _, errors = conduct("--control", "aa")
    assert code in (0, 3) and not errors  # 3: undecided, as these arms have no control's trials
    assert kept(conduct.reports)["workloads"]["image"]["parity"] is None
