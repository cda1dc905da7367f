"""Placements side by side: the table on the real server, and what its sentence makes of intervals."""

import json
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import pytest

from crossover.experiments.catalogue import EXPERIMENTS
from crossover.experiments.placements import result
from crossover.experiments.placements.run import check
from crossover.measurement.trial import read_trials
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT
from tests import trials_on_disk
from tests.commands import again, conduct, only
from tests.conftest import ROOT

QUICK = """
import sys
from crossover.experiments.placements import run
run.minimum_rounds, run.SHORTEST, run.EXPECTED = lambda: 2, 1.0, 4
from crossover.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""The command with two short rounds, which give no interval."""


@pytest.fixture(scope="module")
def table(server, tmp_path_factory):
    """(exit code, output, directory) of three arms."""
    reports = tmp_path_factory.mktemp("reports")
    arguments = ["placements", "image", "--arms", "client,ready,mixed:0.5", "--seconds", 12, "--reports", reports]
    arguments += ["--url", server.url, "--state", server.state]
    command = [sys.executable, "-c", QUICK, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout, only(reports)


def test_each_arm_has_a_row_with_its_ratios_to_the_first(table):
    code, output, directory = table
    assert code in (GOOD, MEASUREMENT), output
    rows = json.loads((directory / "placements.json").read_text())["workloads"]["image"]["rows"]
    assert [row["arm"] for row in rows] == ["client", "ready", "mixed:0.5"]
    first, ready, _ = rows
    assert first["loaded"] is None and first["unloaded"] is None and first["client_cpu_ms"] > ready["client_cpu_ms"]
    assert ready["loaded"]["ratio"] < 1 and ready["unloaded"]["ratio"] < 1
    assert first["bytes_up"] == pytest.approx(ready["bytes_up"]) and first["errors"] == ready["errors"] == 0
    assert re.search(r"arm +ratio at this load +ratio alone +p50 +p95 +errors +client CPU +server CPU", output)
    assert "For photographs at" in output and re.search(r"\bready \(.+\).* client\b", output)
    assert "\nratio: latency ÷ client's\narm " in output


def test_a_mixed_arm_has_a_line_for_each_share(table):
    _, output, directory = table
    *_, row = json.loads((directory / "placements.json").read_text())["workloads"]["image"]["rows"]
    client, server = row["shares"]["client"], row["shares"]["server"]
    assert client["books"]["scheduled"] + server["books"]["scheduled"] == row["scheduled"]
    assert client["books"]["completed"] == client["books"]["scheduled"] > 0 and client["latency"]["p95"] > 0
    # Both together are the client's CPU; who prepares spends more of it.
    cpu = sum(each["client_cpu_ms"] * each["books"]["scheduled"] for each in (client, server))
    assert cpu == pytest.approx(row["client_cpu_ms"] * row["scheduled"])
    assert client["client_cpu_ms"] > server["client_cpu_ms"] > 0
    # The step that prepares has a process of its own here, and serves one share alone.
    assert client["server_cpu_ms"] is None and server["server_cpu_ms"] > 0
    for words, share in (("client-prepared", client), ("server-prepared", server)):
        assert re.search(rf"image mixed:0.5: {words} +{share['books']['scheduled']} ", output)
        assert f"image mixed:0.5: {words}</th>" in (directory / "report.html").read_text()
    assert "The rest serves both, and is not split." in output


def test_its_page_and_figures_can_be_made_again(table, monkeypatch, capsys):
    *_, directory = table
    before = (directory / "placements.json").read_text()
    code, printed, errors = again(monkeypatch, capsys, directory)
    assert code in (GOOD, MEASUREMENT) and "at this load" in printed, errors
    assert (directory / "placements.json").read_text() == before
    assert "Which of all placements?" in (directory / "report.html").read_text()


def row(arm, low=None, high=None, overloaded=False, errors=0):
    loaded = None if overloaded else {"ratio": ((low or 1) * (high or 1)) ** 0.5, "low": low, "high": high}
    sound = {"valid": True, "findings": []}
    return {"arm": arm, "offered": 8.0, "loaded": loaded, "overloaded": overloaded, "errors": errors, **sound}


def test_the_sentence_sorts_arms_by_their_whole_interval():
    rows = [row("a"), row("b", 0.5, 0.9), row("c", 1.2, 1.5), row("d", 0.97, 1.03), row("e", 0.9, 1.2), row("f")]
    found = {"subject": "photographs", "arrivals": "poisson:rate=8", "rows": [*rows, row("g", overloaded=True)]}
    assert result.describe_workload(found) == (
        "For photographs at 8 requests/s: b (0.671 [0.5, 0.9]) is quicker than a; c (1.34 [1.2, 1.5]) and g "
        "(overloaded) are slower than a; d (1 [0.97, 1.03]) is within 5 % of a; f (1) and e (1.04 [0.9, 1.2]) cannot "
        "be told apart from a."
    )


def test_of_many_arms_the_sentence_names_the_ends_and_the_table_has_all():
    rows = [row("a"), *(row(f"b{i}", 1.2 + i / 10, 1.3 + i / 10) for i in (3, 1, 2, 6, 5, 4))]
    found = {"subject": "photographs", "arrivals": "poisson:rate=8", "rows": rows}
    assert result.describe_workload(found) == (
        "For photographs at 8 requests/s: 6 are slower than a, from b1 (1.35 [1.3, 1.4]) to b6 (1.85 [1.8, 1.9])."
    )


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ([row("b", 0.5, 0.9), row("c", overloaded=True)], GOOD),
        ([row("b")], MEASUREMENT),
        ([row("b", 0.5, 0.9, errors=1)], BROKEN),
        ([], MEASUREMENT),
    ],
)
def test_a_table_without_intervals_or_with_lost_arrivals_is_no_success(others, code):
    assert result.exit_code({"workloads": {"image": {"rows": [row("a"), *others]}}}, []) == code


def test_what_is_invalid_stands_above_the_verdict_and_ends_with_3(table, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(table[2], run)
    for file in run.glob("image/*/round-*.json"):
        trial = json.loads(file.read_text())
        broken = {"rule": "hub stall", "measured": "2 s", "limit": "at most 1 s", "change": "measure again"}
        trial |= {"valid": False, "findings": [broken], "others": 0.4}
        file.write_text(json.dumps(trial))
    code, output, _ = again(monkeypatch, capsys, run)
    assert code == MEASUREMENT
    [warning] = re.findall(r"^(\d+ of \d+ trials are INVALID \(.*)", output, re.MULTILINE)
    assert "hub stall" in warning
    noise = "The machine was not quiet while it measured image. Intervals may be too narrow: "
    assert output.index(warning) < output.index(noise) < output.index("For photographs at")


def test_an_invalid_arm_is_no_success_and_a_busy_machine_is_named(tmp_path):
    rows = [figures("client"), figures("server", quiet=False)]
    found = {"workloads": {"image": {"rows": rows, "subject": "photographs"}}}
    trials_on_disk.write(tmp_path, ("image",), 4)
    sound = [trial for trial in read_trials(tmp_path) if trial.sound]
    assert result.exit_code(found, sound) == GOOD
    assert result.KIND.warnings(found, sound) == [
        "The machine was not quiet while it measured image. Intervals may be too narrow: stop the other programs and "
        "measure again."
    ]
    stall = {"rule": "hub stall", "measured": "", "limit": "", "change": ""}
    sound[0].valid, sound[0].findings = False, [stall]
    broken = next(row for row in rows if row["arm"] == sound[0].placement)
    broken |= {"valid": False, "findings": [{**stall, "round": 1}]}
    assert result.exit_code(found, sound) == MEASUREMENT
    assert " INVALID (hub stall). Do not rely on " in result.KIND.warnings(found, sound)[0]


def test_rounds_that_are_short_each_are_judged_together(table, tmp_path, monkeypatch, capsys):
    """Eight arrivals are expected in a trial, and p50 takes seven: every third Poisson schedule has fewer."""
    run = tmp_path / "run"
    shutil.copytree(table[2], run)
    few = {"rule": "too few samples", "measured": "p50 of 5", "limit": "at least 7", "change": "run longer"}
    for file in run.glob("image/*/round-*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"valid": False, "findings": [few]}))
    _, output, _ = again(monkeypatch, capsys, run)
    assert "too few samples" not in output and "trials are INVALID" not in output
    monkeypatch.setattr("loadgen.samples.validity.required_requests", lambda percentile: 1000)
    code, output, _ = again(monkeypatch, capsys, run)
    assert code == MEASUREMENT and "are INVALID." in output and "too few samples: p50 of" in output


@pytest.mark.parametrize("kind", EXPERIMENTS.values(), ids=EXPERIMENTS.keys())
def test_no_output_says_less_than_quiet(kind, tmp_path):
    told = replace(kind, text=lambda result, explain=False: "the figures", banners=lambda *_: [("All", "of it.")])
    assert told.write_output({}, []) == "All of it.\n\nthe figures"


def figures(arm, **known):
    sizes = dict.fromkeys(("p50", "p95", "client_cpu_ms", "server_cpu_ms", "bytes_up", "bytes_down"), 1.0)
    more = {"answers": 40, "scheduled": 40, "shares": None, "gateway_cpu_ms": None, "unloaded": None, "quiet": True}
    return {**row(arm, 0.9, 1.2), **sizes, **more, **known}


def test_the_clients_share_has_a_column_and_a_gateways_cpu_a_line_where_an_arm_has_them():
    plain = [figures("a"), figures("b")]
    columns, cells = result.make_table(plain)
    assert result.SPLIT not in columns and {len(each) for each in cells} == {len(columns)}
    columns, cells = result.make_table([*plain, figures("mixed:0.6", shares={"client": {"books": {"scheduled": 25}}})])
    assert columns[-1] is result.SPLIT and [each[-1] for each in cells] == ["-", "-", "25/40"]
    described = {"parity": [], "losses": {}, "rows": [*plain, figures("gateway", gateway_cpu_ms=0.5)]}
    assert result.list_notes(described) == ["gateway: 0.50 of 1.00 ms of server CPU are the gateway's."]


def test_a_declared_loss_stands_below_the_table():
    loss = {"server:top5": "the five highest are answered"}
    assert result.list_losses({"parity": [], "losses": loss}) == [
        "server:top5 loses something: the five highest are answered."
    ]


def test_a_loss_of_the_first_arm_is_told_beside_the_first_arm_without_one():
    def pair(second, **tensors):
        output = {"output": "logits", "payloads": 4, "same": 4, "largest": 0, "worst": "", "fault": "", "agrees": True}
        return {"names": ["client", second], "outputs": [output], **tensors}

    tensor = {"output": "pixels", "payloads": 4, "same": 3, "fault": "of another shape", "worst": "a.jpg"}
    described = {"parity": [pair("ready"), pair("server", tensors=[tensor])], "losses": {"client": "L", "ready": "M"}}
    assert result.list_losses(described) == [
        "client loses something: L (beside server: logits: equal in 4 of 4; "
        "pixels: of another shape (a.jpg); the same in 3 of 4).",
        "ready loses something: M (beside client: logits: equal in 4 of 4).",
    ]
    assert result.list_losses({"parity": [pair("ready")], "losses": {"client": "L"}})[0].startswith("client loses")


@pytest.mark.parametrize(
    ("transport", "arms"),
    [
        (None, ["a", "b", "ready", "gateway"]),  # mixed needs the names of the tensors of b
        ("grpc", ["a+grpc", "b+grpc", "ready+grpc", "gateway"]),
    ],
)
def test_a_file_has_all_its_arms_where_none_are_named(transport, arms, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from crossover import Placement, Workload, files\n"
        "placements = {'a': Placement('net', lambda file: file), 'b': Placement('whole')}\n"
        "WORKLOAD = Workload(name='mine', payloads=files('*'), placements=placements)\n"
    )
    asked = {"workloads": (str(own),), "arms": None, "transport": transport, "library": "", "payloads": (), "rate": 0}
    options = Namespace(**asked, seed=1, seconds=300, continued=None)
    check(options)
    assert options.arms == {"mine": arms} and set(arms) <= set(options.workloads["mine"].placements)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--arms", "client"], "--arms takes at least two placements of image, not client alone"),
        (["--arms", "client,client:moon"], "unknown placement 'client:moon' of image; try some of client, server, l"),
        (
            ["--arms", "client,mixed:best"],
            "mixed:best is found by `crossover capacity`; here give the client's share, as",
        ),
        (["--arms", "client,mixed:1.5"], "'mixed:1.5' mixes nothing; give the client's share, above 0 and below 1, as"),
        (["--rate", "-1"], "--rate takes requests per second"),
        (["--seconds", "5"], "--seconds must be at least"),
    ],
)
def test_a_wrong_flag_is_one_line(arguments, says, capsys):
    code, _, errors = conduct(capsys, "placements", "image", *arguments)
    [line] = errors.splitlines()
    assert code == 2 and says in line
