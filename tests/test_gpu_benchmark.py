"""`benchmarks.gpu` on the CPU: it keeps its deadline, loses nothing, goes on after failures."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import memory, movement, results, sides, unloaded, variants
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.capacity import Probe, combine, search
from benchmarks.gpu.pace import QUICK as QUICK_PACE
from benchmarks.gpu.reading import Left
from benchmarks.gpu.record import FILE, RESERVE, Record, TimeUp
from benchmarks.gpu.site import Way
from loadgen.samples.sample import RECORD
from models import artefacts, standin
from serving.server import Server
from tests.conftest import ROOT

QUICK = ("--weights", "tiny", "--quick")


def start(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", folder, *QUICK, *arguments]
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def lines(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


# Runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_stage_a_measures_three_arms_and_sigterm_leaves_what_was_measured(tmp_path):
    """By two client processes, whatever number of cores there is; ended once the first rates are found."""
    process = start(tmp_path, "--only", "a", "--minutes", "5", "--processes", "2")
    while not (tmp_path / FILE).exists() or "rate without pauses" not in (tmp_path / FILE).read_text():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    left = Left.read(tmp_path)
    assert [note["text"] for note in left.of("note")][-2:] == [
        "interrupted; what was measured so far is written",
        "the end",
    ]
    for arm in ("client", "server-cpu", "server"):
        entry = left.last("a", "640x427", arm, "unloaded latency")
        assert entry["low"] <= entry["value"] <= entry["high"]
        mean = left.last("a", "640x427", arm, "mean latency")
        assert sum(mean["parts"].values()) == pytest.approx(mean["value"])
        assert set(mean["parts"]) == {"processing", "network", "waiting", "movement"}
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.jsonl", "gpu.log", "server.log"}
    [server] = left.of("server")
    assert "admin_key" not in server and server["more_models"] == {"image_preprocess_cpu": "", "image_cpu": ""}


@pytest.mark.long
def test_all_stages_run_to_their_end(tmp_path):
    process = start(tmp_path / "out", "--minutes", "9", "--processes", "2")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    left = Left.read(tmp_path / "out")
    assert {entry["stage"] for entry in left.of("figure")} == set("abcdefgh"), output
    assert {"image_preprocess runs in 2 stubs", "no step runs on a GPU: its memory cannot run out"} <= {
        note["text"] for note in left.of("note")
    }
    assert not left.of("did not fit"), left.of("did not fit")
    assert results.main([str(tmp_path / "out"), "--page", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    for title in (
        "Photographs",
        "Cores",
        "The ensemble",
        "Speech",
        "Arrivals",
        "Another size",
        "FP16",
        "Two",
    ):
        assert f"## {title}" in page
    # Copies between host and card are a section where there is a card.
    assert "## Copies" not in page and any("as there is no GPU" in note["text"] for note in left.of("note"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes", "0"], "--minutes must be at least 0.1, not 0"),
        (["--only", "a,x"], "--only: unknown stage 'x'; try some of a, b, c, d, e, f, g, h, m"),
        (["--only", "a,d:2"], "--only: unknown size 'd:2'; try some of d:2 s, d:15 s"),
        (["--only", "f:640x427"], "--only: unknown size 'f:640x427'; try f, which has none"),
        (["--only", "a:"], "--only: unknown size 'a:'; try some of a:640x427, a:4032x3024"),
        (["--quick", "--short"], "not allowed with argument"),
        (["--processes", "0"], "--processes must be at least 1, not 0"),
        (["--cores", "99"], "--cores '99': expected 'all' or a list of cores"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments, words, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--output", str(tmp_path), *arguments])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert words in line


# The record -------------------------------------------------------------------------------------------------------


def test_a_point_that_fails_does_not_end_the_run(tmp_path):
    record = Record(tmp_path, 60)
    assert record.attempt("a", "one", 1, lambda: 1 / 0) is None
    assert record.attempt("a", "two", 1, lambda: 2) == 2
    assert [(entry["kind"], entry["reason"]) for entry in lines(tmp_path)] == [
        ("failed", "ZeroDivisionError: division by zero")
    ]


def test_a_point_that_does_not_fit_is_not_begun(tmp_path):
    record = Record(tmp_path, RESERVE + 5)
    assert record.attempt("a", "long", 6, pytest.fail) is None
    [entry] = lines(tmp_path)
    assert (entry["kind"], entry["point"], entry["needed"]) == ("did not fit", "long", 6)


def test_a_point_that_hangs_is_cut_off_at_the_deadline(tmp_path):
    record = Record(tmp_path, RESERVE + 0.5)
    assert record.attempt("a", "hangs", 0.1, lambda: time.sleep(60)) is None
    [entry] = lines(tmp_path)
    assert entry["reason"].startswith("cut off after")


def test_time_up_passes_where_clients_catch_exceptions():
    assert issubclass(TimeUp, KeyboardInterrupt)


def test_what_is_no_number_is_null_and_a_key_is_not_printed_whole(tmp_path):
    record = Record(tmp_path, 60)
    record.figure("a", "s", "arm", "figure", np.float64("nan"), low=np.float32(1.5), more=[np.int64(2), None])
    record.fail("a", "point", "x" * 5000)
    figure, failed = lines(tmp_path)
    assert (figure["value"], figure["low"], figure["more"]) == (None, 1.5, [2, None])
    assert len(failed["reason"]) < 700


def test_a_run_after_one_that_was_killed_does_not_join_its_last_line(tmp_path):
    (tmp_path / FILE).write_text('{"kind": "note", "stage": "", "text": "whole"}\n{"kind": "no')
    record = Record(tmp_path, 60)
    record.note("added")
    record.close()
    assert [entry["text"] for entry in Left.read(tmp_path).entries] == ["whole", "added"]


# Starting the server ----------------------------------------------------------------------------------------------


def test_a_server_that_does_not_start_is_tried_in_other_ways():
    way = Way("real", gpu=True)
    way = way.after("model_repository/resnet50/1/model.onnx is missing; run `make models`, or try --weights tiny")
    assert str(way) == "tiny weights"
    way = way.after("image_preprocess does not load on the GPU: why; --on-cpu image_preprocess keeps it off the GPU")
    assert way.flags == ["--on-cpu", "image_preprocess"]
    way = way.after("image_preprocess ...; --on-cpu image_preprocess keeps it off the GPU")
    assert way.flags == ["--no-gpu"]
    assert way.after("the same again") is None


def test_sides_share_no_physical_core(monkeypatch):
    monkeypatch.setattr(sides, "read_siblings", lambda core: [core % 4, core % 4 + 4])
    assert sides.choose_server_cores(None, range(8)) == [2, 3, 6, 7]


def test_siblings_are_read_as_linux_writes_them(monkeypatch, tmp_path):
    monkeypatch.setattr(sides, "SIBLINGS", str(tmp_path / "{}"))
    (tmp_path / "1").write_text("1,9-10\n")
    assert sides.read_siblings(1) == [1, 9, 10]
    assert sides.read_siblings(2) == [2]


# Capacity ---------------------------------------------------------------------------------------------------------


def probe_up_to(capacity):
    return lambda rate: Probe(rate, rate > capacity, 1.0, SimpleNamespace())


@pytest.mark.parametrize("capacity", [20, 95, 130, 900])
def test_a_search_brackets_the_capacity(capacity):
    found = search(probe_up_to(capacity), 100, 1.25, 2, lambda: True)
    assert found.kept.rate <= capacity < found.broken.rate
    assert len(found.probes) <= 9


def test_a_search_without_time_has_one_side_only():
    found = search(probe_up_to(1000), 100, 1.25, 2, lambda: False)
    assert (found.kept.rate, found.broken, found.value) == (100, None, None)
    assert combine([found]) is None


def test_turns_are_combined_into_their_middle_and_outermost_limits():
    first = search(probe_up_to(100), 90, 1.25, 0, lambda: True)  # 90 kept, 112.5 not
    second = search(probe_up_to(110), 100, 1.12, 0, lambda: True)  # 100 kept, 112 not
    both = combine([first, second])
    assert (both.low, both.high, both.turns, both.best.rate) == (90, 112.5, 2, 100)
    assert both.value == pytest.approx((90 * 112.5 * 100 * 112) ** 0.25)


# Unloaded ---------------------------------------------------------------------------------------------------------


def step(queue, read, infer, write):
    ms = {"queue": queue, "compute_input": read, "compute_infer": infer, "compute_output": write}
    return {"ms": ms, "total": sum(ms.values())}


def test_a_latency_is_split_into_parts_that_add_up():
    records = np.zeros(2, RECORD)
    records["prepared"] = records["sent"] = 1_000_000
    records["done"] = 21_000_000
    steps = {"image_preprocess": step(1, 1, 8, 1), "resnet50": step(0.5, 0.5, 4, 1), "image": {"total": 18, "ms": {}}}
    parts = unloaded.split(records, steps, "image", ["image_preprocess", "resnet50"])
    # 20 ms from sending to the answer, of which the server knows of 18, of which the steps know of 17.
    assert parts == pytest.approx({"processing": 1 + 8, "network": 4, "waiting": 1.5, "movement": 21 - 14.5})


def test_without_the_servers_figures_the_rest_is_the_servers():
    records = np.zeros(1, RECORD)
    records["prepared"], records["done"] = 1_000_000, 5_000_000
    assert unloaded.split(records, {}, "image", []) == {"processing": 1, "server": 4}


def test_shares_and_ratios_come_with_intervals():
    dice = np.random.default_rng(1)

    def blocks(scale):
        return [
            unloaded.Block(scale * dice.uniform(9, 11, 20), {"processing": scale * 6, "network": scale * 4})
            for _ in range(8)
        ]

    slow, quick = blocks(2), blocks(1)
    value, low, high = unloaded.median_ratio(slow, quick)
    assert low < value < high and low < 0.5 < high
    assert unloaded.share_of(slow, ["processing"])[0] == pytest.approx(0.6)
    assert unloaded.share_of(slow, ["movement"]) is None


# A step with another configuration --------------------------------------------------------------------------------


@pytest.fixture
def reached(server):
    """The server as the benchmark sees it."""
    return Server.at(server.url, server.state)


def test_a_step_is_loaded_with_a_change_and_afterwards_as_it_was(reached, tmp_path, monkeypatch):
    """Where memory does not run out, as here, every request is answered, and the load goes through."""
    record = Record(tmp_path, 120)
    site = SimpleNamespace(server=reached, on_gpu=True, is_live=True)
    clients = SimpleNamespace(restart=pytest.fail)
    before, stubs = reached.get("/v2/models/resnet50/config"), variants.find_stubs(reached, "resnet50")
    bench, warmed = Bench(record, QUICK_PACE, site, clients, [0]), []
    monkeypatch.setattr(variants, "LEAVING", 60.0)
    # A step that was just loaded takes long for its first request, which the next stage would measure.
    monkeypatch.setattr(bench, "warm_up_again", lambda: warmed.append(variants.find_stubs(reached, "resnet50")))
    memory.measure_memory(bench)
    assert warmed and all(each and not each & stubs for each in warmed)
    run, load = (entry for entry in lines(tmp_path) if entry["kind"] == "figure")
    assert (run["answers"], load["answers"]) == (["ok", "ok", "ok"], ["it loaded", "ok"])
    assert reached.get("/v2/models/resnet50/config") == before


def test_a_change_that_does_not_load_is_one_line_and_the_step_goes_on_as_it_was(reached, tmp_path):
    record = Record(tmp_path, 120)
    site = SimpleNamespace(server=reached, on_gpu=False, is_live=True)

    def spoil(config):
        config["parameters"]["intra_op_thread_count"] = {"string_value": "many"}

    bench = Bench(record, QUICK_PACE, site, SimpleNamespace(restart=lambda: None), [0])
    variants.with_change(bench, "h", "resnet50", spoil, pytest.fail)
    [failed] = (entry for entry in lines(tmp_path) if entry["kind"] == "failed")
    assert "parameter intra_op_thread_count is 'many', expected a whole number" in failed["reason"]
    assert memory.ask(bench, 1) == "ok"


# Copies between the steps -----------------------------------------------------------------------------------------


def test_the_most_to_win_is_the_sum_of_all_copies():
    parts = {"device to host": (1.0, 0.5, 2.0), "copy within the host": (0.1, 0.1, 0.2), "host to device": (2, 1, 3)}
    parts["network, input on the card"] = (9, 9, 9)
    assert movement.most_to_win(parts, 8) == pytest.approx((3.4, 1.9, 5.8))
    assert movement.most_to_win(parts, 1) == pytest.approx((3.3, 1.8, 5.6))  # nothing to merge
    assert movement.most_of_one_step(parts, 8) == pytest.approx((2.2, 1.2, 3.4))


def test_the_probes_measure_what_is_possible_without_a_gpu(capsys, tmp_path):
    movement.main(["decoder"])
    movement.main(["network", str(standin.build(tmp_path) / artefacts.RESNET)])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["batch"] for each in found] == 2 * list(movement.BATCHES)
    assert {name for each in found for name in each["parts"]} == {
        "copy within the host", "network, input in host memory"
    }  # fmt: skip
    assert all(low <= value <= high for each in found for value, low, high in each["parts"].values())
