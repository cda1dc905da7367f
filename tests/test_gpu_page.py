"""The page of `benchmarks.gpu`: every figure of a run, advice where ranges are apart, and what is missing."""

import json

import pytest

from benchmarks.gpu import results
from benchmarks.gpu.movement import PARTS
from benchmarks.gpu.page import BEGIN, END
from benchmarks.gpu.record import FILE
from tests.conftest import ROOT


def figure(stage, size, arm, name, value, low=None, high=None, **more):
    line = {"kind": "figure", "stage": stage, "size": size, "arm": arm, "figure": name, "value": value}
    return {**line, "low": low, "high": high, "unit": "", **more}


def write(folder, *entries):
    card = {"name": "NVIDIA H100", "memory_mb": 81559, "driver": "580.1", "capability": "9.0", "sm_clock_max": 1980}
    machine = {"cpu": "Xeon", "cores": 16, "system": "Linux", "versions": {"numpy": "1.26.4"}, "revision": "abc"}
    run = {
        "kind": "run", "command": "python -m benchmarks.gpu --output out", "machine": machine, "quick": False,
        "cards": [{**card, "power_limit_watts": 700}], "client_cores": [0, 1], "server_cores": [2, 3],
    }  # fmt: skip
    plan = {"image_preprocess": {"instances": 1, "threads": 2, "gpu": 0}, "resnet50": {"instances": 1, "threads": 1}}
    server = {"kind": "server", "way": "real weights", "gpu": True, "plan": plan}
    folder.mkdir()
    (folder / FILE).write_text("".join(json.dumps(entry) + "\n" for entry in (run, server, *entries)))


def placement(arm, latency, rate, turns=2):
    low, high = rate * 0.95, rate * 1.05
    costs = {"slo_ms": 100, "p95": 80, "batch": {"resnet50": 7.5, "image": 1}, "client_cpu_ms": 0.5, "joules": 0.25}
    return [
        figure("a", "640x427", arm, "unloaded latency", latency, latency - 0.1, latency + 0.1, n=40),
        figure("a", "640x427", arm, "share beyond the network", 0.75, 0.7, 0.8),
        figure("a", "640x427", arm, "capacity", rate, low, high, turns=turns, limit="server", **costs),
    ]


def make_page(folder, capsys):
    assert results.main([str(folder / "out"), "--page", str(folder / "page.md")]) == 0, capsys.readouterr().err
    return (folder / "page.md").read_text()


def test_the_page_has_the_figures_and_advises_where_ranges_are_apart(tmp_path, capsys):
    ratio = figure("a", "640x427", "server", "unloaded ratio to client", 0.5, 0.45, 0.55)
    unclear = figure("a", "640x427", "server-cpu", "unloaded ratio to client", 1.02, 0.9, 1.1)
    arms = [*placement("client", 4.0, 500), *placement("server-cpu", 4.1, 520), *placement("server", 2.0, 1500)]
    write(tmp_path / "out", *arms, ratio, unclear)
    page = make_page(tmp_path, capsys)
    assert "NVIDIA H100, 82 GB, driver 580.1" in page and "client 0-1, server 2-3" in page
    assert "image_preprocess 1x2 on the GPU, resnet50 1x1" in page
    assert "| 640x427 | server, GPU decode | 2 [1.9, 2.1] | 40 |" in page
    assert "| 75 [70, 80] |" in page
    assert "| 1500 [1425, 1575] | 100 | 80 | resnet50 7.5 | 0.5 | - | 0.25 |" in page
    advice = next(line for line in page.splitlines() if line.startswith("- **640x427**"))
    assert "for the highest rate, server, GPU decode carries 1500 [1425, 1575]/s" in advice
    assert "2.88 times server, CPU decode and 3 times client" in advice
    assert "server, GPU decode takes 0.5 [0.45, 0.55] times as long as client;" in advice
    assert "server, CPU decode takes 1.02 [0.9, 1.1] times as long as client, which decides nothing" in advice
    assert "No figure here is of a GPU" not in page


def test_one_search_or_ranges_that_meet_decide_nothing(tmp_path, capsys):
    write(tmp_path / "out", *placement("client", 4.0, 500), *placement("server", 4.0, 520))
    assert "server, GPU decode carries 520 [494, 546]/s, not clear of client" in make_page(tmp_path, capsys)
    (tmp_path / "once").mkdir()
    write(tmp_path / "once" / "out", *placement("client", 4.0, 500, 1), *placement("server", 2.0, 1500, 1))
    assert "of one search each, which decides nothing" in make_page(tmp_path / "once", capsys)


def test_a_new_page_keeps_what_people_wrote(tmp_path, capsys):
    write(tmp_path / "out", *placement("client", 4.0, 500))
    page = make_page(tmp_path, capsys)
    (tmp_path / "page.md").write_text(page.replace("None written yet.", "The card slept."))
    assert f"{BEGIN}\nThe card slept.\n{END}" in make_page(tmp_path, capsys)


def test_what_did_not_fit_and_what_failed_is_said_and_a_line_cut_off_is_left_out(tmp_path, capsys):
    entries = [
        {"kind": "did not fit", "stage": "e", "point": "1920x1080 unloaded", "needed": 12.0, "left": 3.0},
        {"kind": "failed", "stage": "b", "point": "the load generator", "reason": "Failure: no"},
    ]
    write(tmp_path / "out", *placement("client", 4.0, 500), *entries)
    with (tmp_path / "out" / FILE).open("a") as file:
        file.write('{"kind": "fig')
    page = make_page(tmp_path, capsys)
    assert "- e, 1920x1080 unloaded: did not fit (about 12 s)\n- b, the load generator: Failure: no" in page


def test_a_later_run_that_measured_a_stage_answers_for_what_an_earlier_one_left_out(tmp_path, capsys):
    gap = {"kind": "did not fit", "stage": "a", "point": "640x427 unloaded", "needed": 12.0, "left": 3.0}
    write(tmp_path / "out", *placement("client", 4.0, 500), gap)
    assert "a, 640x427 unloaded" in make_page(tmp_path, capsys)
    lines = (tmp_path / "out" / FILE).read_text().splitlines()
    (tmp_path / "out" / FILE).write_text("\n".join([*lines, *lines[:-1]]) + "\n")
    assert "a, 640x427 unloaded" not in make_page(tmp_path, capsys)
    (tmp_path / "out" / FILE).write_text("\n".join([*lines, lines[0], lines[-1]]) + "\n")
    assert make_page(tmp_path, capsys).count("a, 640x427 unloaded") == 1


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert results.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.gpu.results: ")


@pytest.mark.parametrize("line", ["null", "[1]", "{}", '{"kind": "run"}', '{"kind": "figure"}', '{"kind": ["x"]}', "{"])
def test_a_line_damaged_in_the_middle_is_named_with_its_number(line, tmp_path, capsys):
    run = (ROOT / "docs" / "gpu" / "h200" / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([*run[:20], line, *run[20:]]) + "\n")
    code = results.main([str(tmp_path), "--page", str(tmp_path / "page.md")])
    said = capsys.readouterr().err
    if line == '{"kind": ["x"]}':  # of a kind that nobody knows
        assert code == 0
    else:
        assert code == 2 and f"{FILE}, line 21 " in said and said.count("\n") == 1


def test_the_page_of_a_run_on_a_card_has_its_sections_and_no_row_of_another_width(tmp_path):
    assert results.main([str(ROOT / "docs" / "gpu" / "h200"), "--page", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    for title in ("Photographs", "Cores", "The ensemble", "Speech", "Beside what others"):
        assert f"\n## {title}" in page
    tables = [part.splitlines() for part in page.split("\n\n") if part.startswith("|")]
    assert len(tables) > 20
    for rows in tables:
        assert len(rows) > 2 and len({row.count("|") for row in rows}) == 1


def movement(batch, each):
    parts = [figure("f", f"batch {batch}", "movement", name, each, each * 0.9, each * 1.1) for name in PARTS]
    return [*parts, figure("f", f"batch {batch}", "movement", "most to win", 99, copies=9)]  # as another count had it


def test_copies_between_the_steps_are_a_share_of_latency_and_of_capacity(tmp_path, capsys):
    without_pauses = figure("a", "640x427", "server", "rate without pauses", 500)
    write(tmp_path / "out", *placement("server", 10.0, 500), without_pauses, *movement(1, 0.04), *movement(8, 0.4))
    page = make_page(tmp_path, capsys)
    assert "| batch 1 | 0.04 [0.036, 0.044] |" in page
    assert "| 0.2 [0.18, 0.22] | 2 [1.8, 2.2] | - |" in page  # five copies of single rows, of 10 ms
    assert "| 2.4 [2.16, 2.64] | - | 7.5 [6.75, 8.25] |" in page  # one step's three of six; eight share 2 ms each
    assert "of the unloaded latency 1.8 to 2.2 % at most: not worth it" in page
    assert "of the time per answer 6.75 to 8.25 % at most: worth a try" in page
    (tmp_path / "less").mkdir()
    write(tmp_path / "less" / "out", *placement("server", 10.0, 500), without_pauses, *movement(16, 0.4))
    page = make_page(tmp_path / "less", capsys)
    assert "of the time per answer 3.38 to 4.13 % at most: not worth it" in page


def test_visits_stay_apart_and_each_names_its_card(tmp_path, capsys):
    write(tmp_path / "out", *placement("client", 4.0, 500), *placement("server", 2.0, 1500))
    write(tmp_path / "second", *placement("client", 8.0, 250), *movement(1, 0.2))
    first, second = ((tmp_path / name / FILE).read_text() for name in ("out", "second"))
    run, *rest = map(json.loads, second.splitlines())
    run |= {"visit": "2026-11-27", "cards": [{**run["cards"][0], "name": "NVIDIA H200"}]}
    (tmp_path / "out" / FILE).write_text(first + "".join(json.dumps(entry) + "\n" for entry in (run, *rest)))
    before, _, after = make_page(tmp_path, capsys).partition("# Visit 2: NVIDIA H200, 2026-11-27")
    assert "| card | NVIDIA H100" in before and "| card | NVIDIA H200" in after
    assert "| 640x427 | client | 4 [3.9, 4.1] |" in before and "| 640x427 | client | 8 [7.9, 8.1] |" in after
    assert "carries 1500" in before and "too few capacities were measured to compare" in after
    # The rate of the first visit is no base for the second one's copies.
    assert "No share is known" in after
    assert "\n## Photographs" in before and "\n### Photographs" in after


def test_variants_of_a_step_stand_beside_it(tmp_path, capsys):
    step = [figure("h", "640x427", arm, "rate", rate, rate - 9, rate + 9) for arm, rate in
            (("one instance", 800), ("two instances", 1300))]  # fmt: skip
    variants = [{**entry, "stage": stage, "arm": arm} for stage, arm in (("h", "server-two"), ("g", "server-fp16"))
                for entry in placement("server", 2.0, 1400, 1)]  # fmt: skip
    half = [figure("g", "640x427", "resnet50 FP16", "rate", 2000, 1900, 2100),
            figure("g", "640x427", "resnet50 FP16", "largest difference of logits", 0.012, same_top1=1.0)]  # fmt: skip
    memory = figure("m", "", "resnet50", "out of memory in a run", None, answers=["ok", "503 no memory", "ok"])
    write(tmp_path / "out", *placement("server", 2.0, 900), *step, *variants, *half, memory)
    page = make_page(tmp_path, capsys)
    assert "| two instances | 1300 [1291, 1309] |" in page
    assert "- two instances: 1.62 times the rate of one instance; their ranges are apart." in page
    assert "| 640x427 | server, GPU decode | 900 [855, 945] |" in page.partition("## Two instances")[2]
    assert "| 640x427 | server, two instances that decode | 1400 [1330, 1470] |" in page
    assert "| 640x427 | resnet50 FP16 | 2000 [1900, 2100] | - | - | 1.2 | 100 |" in page
    assert "| 640x427 | server, network in FP16 | 2 [1.9, 2.1] | 40 |" in page
    assert "- in a run: one row: ok; 32 rows: 503 no memory; then one row: ok" in page


def test_what_a_later_run_measured_at_that_size_is_not_missing_any_more(tmp_path, capsys):
    missing = [
        {"kind": "did not fit", "stage": "a", "point": f"{size} client capacity, turn 2", "needed": 6.6, "left": 1.0}
        for size in ("640x427", "4032x3024")
    ]
    write(tmp_path / "out", *placement("client", 4.0, 500), *missing)
    write(tmp_path / "second", *placement("client", 8.0, 250))
    both = "".join((tmp_path / name / FILE).read_text() for name in ("out", "second"))
    assert "- a, 640x427 client capacity" in make_page(tmp_path, capsys)
    (tmp_path / "out" / FILE).write_text(both)
    page = make_page(tmp_path, capsys)
    assert "- a, 640x427 client capacity" not in page and "- a, 4032x3024 client capacity" in page


def join(folder, *others):
    """Append the lines of other folders: more runs of one visit."""
    texts = [(each / FILE).read_text() for each in (folder / "out", *others)]
    (folder / "out" / FILE).write_text("".join(texts))


def test_figures_that_stand_together_are_of_one_run(tmp_path, capsys):
    """Rates of one machine differ from run to run, so an arm of one beside an arm of another is no comparison."""
    write(tmp_path / "out", *placement("server", 2.0, 700), *placement("client", 4.0, 900))
    two = [figure("h", "640x427", arm, "rate", rate, rate - 9, rate + 9) for arm, rate in
           (("one instance", 800), ("two instances", 805))]  # fmt: skip
    variant = [{**entry, "stage": "h", "arm": "server-two"} for entry in placement("server", 2.0, 1100)]
    write(tmp_path / "again", *placement("server", 1.5, 1000), *two, *variant)
    join(tmp_path, tmp_path / "again")
    page = make_page(tmp_path, capsys)
    first, _, second = page.partition("## Two instances")
    assert "server, GPU decode | 700 [665, 735]" in first and "1000" not in first
    assert "client carries 900 [855, 945]/s, 1.29 times server, GPU decode" in first
    assert "server, GPU decode | 1000 [950, 1050]" in second and "700 [" not in second
    assert "- two instances: 1.01 times the rate of one instance; their ranges meet, which decides nothing." in page


def test_of_runs_with_the_same_arms_the_later_one_is_shown(tmp_path, capsys):
    write(tmp_path / "out", *placement("client", 4.0, 500), *placement("server", 2.0, 700))
    write(tmp_path / "again", *placement("client", 4.0, 600), *placement("server", 2.0, 800))
    join(tmp_path, tmp_path / "again")
    page = make_page(tmp_path, capsys)
    assert "| 600 [570, 630] |" in page and "| 800 [760, 840] |" in page and "| 700 [" not in page
