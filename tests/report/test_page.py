"""Laws of the report's page: it stands alone, says first what matters, and shows only what was measured."""

import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from crossover.experiments.catalogue import EXPERIMENTS
from crossover.experiments.compare import page, tables
from crossover.experiments.compare import plots as compare_plots
from crossover.experiments.compare import result as compare
from crossover.experiments.sweep import result as sweep_result
from crossover.measurement.pooled_rules import list_pooled_rules
from crossover.measurement.trial import read_trials
from crossover.report import format, html, plots, provenance
from crossover.report.kind import write_page
from tests.commands import again
from tests.trials_on_disk import optional, run, write

HOSTILE = "</td><script>alert(1)</script> & 'quoted' \"twice\" $x^2$"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    write(directory)
    return directory


@pytest.fixture(scope="module")
def evaluated(measured):
    return compare.evaluate(run(), read_trials(measured))


@pytest.fixture
def written(measured, evaluated):
    """The page, once `change` had its way with the contents of run.json and summary.json."""

    def write_it(change=lambda described, summary: None, sources: dict | None = None, **others) -> str:
        described, summary = run(), copy.deepcopy(evaluated)
        change(described, summary)
        return compared(measured, described, read_trials(measured), summary, others, sources)

    return write_it


def compared(directory, described, kept, summary, others: dict | None = None, sources: dict | None = None) -> str:
    """The page of a comparison that shows others, too: experiment -> content of its file, and whence it is."""
    shown = {name: EXPERIMENTS[name].sections(run(), result, ()) for name, result in (others or {}).items()}
    elsewhere = provenance.source("elsewhere", run(), run())
    for name, sections in shown.items():
        shown[name] = [replace(each, source=(sources or {}).get(name, elsewhere)) for each in sections]
    write_page(compare.KIND, directory, described, summary, kept, shown)
    return (directory / html.NAME).read_text("utf-8")


class Structure(HTMLParser):
    """What a browser would fetch or run, the ids it would see twice, and elements that are not closed."""

    VOID = ("meta", "path", "use", "rect", "col", "br", "image", "input")

    def __init__(self, text: str):
        super().__init__()
        self.fetched, self.tags, self.ids, self.open, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.fetched += [values[key] for key in ("src", "href", "xlink:href", "srcset", "data") if key in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += " " + data


def test_the_page_stands_alone_and_is_small(written, measured):
    text = written(**optional())
    seen = Structure(text)
    assert seen.fetched and all(target.startswith("#") for target in seen.fetched)
    assert {target[1:] for target in seen.fetched} <= set(seen.ids)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert not re.search(r"@import|url\((?!#)|[\"'(](data|javascript):", text)
    assert len(text) < 1_500_000
    assert not list(measured.glob("*.part"))


def test_the_page_is_well_formed_and_names_nothing_twice(written):
    seen = Structure(written(**optional()))
    assert seen.open == []
    assert len(seen.ids) == len(set(seen.ids))


def test_the_verdict_comes_before_any_plot_of_it(written, evaluated):
    first = Structure(written()).text.partition("Further left is faster")[0]
    for found in evaluated["workloads"].values():
        assert format.tied(found["sentence"]) in first


def test_an_unadjusted_ratio_has_a_line_of_its_own_and_no_ratio_runs_into_the_strip(written):
    """The column has room for a short ratio with its interval, and nothing beside it."""

    def adjust(described, summary):
        summary["workloads"]["image"]["comparisons"][0]["unadjusted"] = 1.34

    text = written(adjust)
    assert text.count('<span class="muted aside">unadjusted 1.34</span></td>') == 1
    style = text.partition("</style>")[0]
    for rule in (".forest .ratio { white-space: normal }", ".forest .ratio .muted { display: inline-block }"):
        assert rule in style
    assert ".forest .ratio .aside { display: block;" in style
    assert "grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1.6fr)" in style


def test_the_command_in_the_provenance_is_quoted_for_a_shell(written):
    argv = ["crossover", "compare", "image", "--payloads", "my photos/", "--fail-if", "p95>300"]
    seen = Structure(written(lambda described, summary: described.update(argv=argv)))
    assert "crossover compare image --payloads 'my photos/' --fail-if 'p95>300'" in seen.text


def test_how_many_instances_a_model_has_may_not_be_known(written):
    """Another server than Triton does not say it."""

    def unknown(described, summary):
        described["rounds"] = 1
        for facts in described["server"]["models"].values():
            facts["instances"] = None

    text = Structure(written(unknown)).text
    assert "None" not in text and "1 round from seed" in text


def test_what_a_server_or_a_file_is_called_is_never_markup(tmp_path):
    write(tmp_path, ("image",), 1, broken=HOSTILE)
    for path in tmp_path.glob("image/*/round-01.json"):
        path.write_text(path.read_text().replace("async:1", "<b>&$"))
    kept = read_trials(tmp_path)
    kept[0].valid, kept[0].findings = False, [dict.fromkeys(("rule", "measured", "limit", "change"), HOSTILE)]
    described = run(("image",))
    summary, others = compare.evaluate(described, kept), optional()
    summary["workloads"]["image"]["sentence"] = described["workloads"]["image"]["payloads"][0] = HOSTILE
    described["server"]["version"] = others["crossover"][0]["sweep"] = HOSTILE
    seen = Structure(compared(tmp_path, described, kept, summary, others))
    assert "script" not in seen.tags and "b" not in seen.tags
    assert seen.text.count("<script>alert(1)</script> & 'quoted'") >= 5


def test_what_spoils_a_comparison_is_said_loudly_and_only_then(written):
    def banners(text: str) -> str:
        return " ".join(re.findall(r'<div class="banner".*?</div>', text, re.DOTALL))

    def spoiled(described, summary):
        described["complete"], described["cores"]["client"] = False, [1]

    def spotless(described, summary):
        for facts in described["server"]["models"].values():
            facts.get("provenance", {})["weights"] = "pretrained"

    said = banners(written(spoiled))
    for part in ("incomplete", "1 of 28 trials is INVALID (errors)", "share cores (1)", "predictions are not: random"):
        assert part in said
    assert "The comparison leaves out 1 round whose data are wrong." in said
    said = banners(written(spotless))
    assert said.count("banner") == 1 and "INVALID" in said


def test_the_question_names_the_placements_and_trials_stand_in_the_order_of_the_sections(written):
    text = written(lambda described, summary: None)
    assert "<h1>Which placement is better: client or server?</h1>" in text
    table = text.partition('id="trials"')[2]
    assert 0 < table.index("image client") < table.index("audio client")


def test_the_terminal_says_that_a_run_was_interrupted(tmp_path, monkeypatch, capsys):
    write(tmp_path, ("image",), 2, broken="")
    line = f"{tmp_path} was interrupted: what follows is what was measured until then."
    assert line not in again(monkeypatch, capsys, tmp_path)[1]
    described = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**described, "complete": False}))
    code, output, errors = again(monkeypatch, capsys, tmp_path)
    assert (code, errors) == (130, "") and output.startswith(line)


SPARSE = {
    "rule": "too few samples",
    "measured": "p50 of 2 completed requests",
    "limit": "at least 7",
    "change": "give more --seconds",
}


def test_what_a_trial_breaks_only_by_itself_is_not_called_invalid(tmp_path):
    """Its arm, over all rounds, keeps the rule: nothing on the page or in the figures is wrong."""
    write(tmp_path, ("image",), 6, broken="")
    kept = read_trials(tmp_path)
    for trial in kept[:5]:
        trial.valid, trial.findings = False, [SPARSE]
    described = run(("image",))
    assert compare.KIND.judges_arms and EXPERIMENTS["placements"].judges_arms
    summary = compare.evaluate(described, kept)
    write_page(compare.KIND, tmp_path, described, summary, kept, {})
    seen = Structure((tmp_path / html.NAME).read_text("utf-8")).text
    assert "INVALID" not in seen.partition("Every trial")[2]
    assert (tmp_path / html.NAME).read_text().count('class="why quiet"') == 5
    assert seen.count("see its arm") == 5 and "p50 of 2 completed requests (at least 7), by itself" in seen
    assert "give more --seconds" not in seen and "trials are INVALID" not in seen
    # What its arm does not answer for is a fault of the trial, beside what it does.
    other = {**SPARSE, "rule": "hub stall", "change": "keep work off"}
    kept[0].findings = [SPARSE, other]
    write_page(compare.KIND, tmp_path, described, summary, kept, {})
    seen = Structure((tmp_path / html.NAME).read_text("utf-8")).text
    assert seen.count("see its arm") == 4 and "keep work off" in seen
    [(said, _)] = compare.warn_of_invalid(kept, pooled=list_pooled_rules(kept))
    assert said == "1 of 12 trials is INVALID (hub stall)."


def test_an_invalid_trial_says_why_and_what_to_change(written):
    text = Structure(written()).text
    assert "66 = 65 completed + 1 failed" in text
    assert "most common reason 'connection reset' (none allowed); mend the cause or lower the rate" in text


def test_a_round_whose_arms_got_different_schedules_is_named(measured):
    kept = read_trials(measured)
    assert page.list_uneven_rounds(kept) == []
    kept[0].schedule = "another"
    assert page.list_uneven_rounds(kept) == ["audio round 1"]


def test_every_trial_and_every_schedule_is_listed(written, measured):
    text = written()
    for trial in read_trials(measured):
        assert text.count(f"<code>{trial.schedule}</code>") == 3  # a row for each of two arms, and its seed


def test_the_stages_of_an_arm_stand_with_the_mean_batch_of_its_steps(written, evaluated):
    def merged(described, summary):
        for arm in summary["workloads"]["image"]["arms"]:
            arm["steps"]["resnet50"]["mean_batch"] = {"client": 1.25, "server": 3.75}[arm["placement"]]

    text = " ".join(Structure(written(merged)).text.split())
    assert "resnet50 mean batch 1.25 3.75 " in text and "image_preprocess mean batch – 1.00 " in text
    measured = copy.deepcopy(evaluated)
    merged(None, measured)
    printed = [line.split() for line in tables.breakdown_table(measured["workloads"]["image"]["arms"]).splitlines()]
    assert printed[0] == ["mean", "latency,", "ms", "client", "server"]
    assert ["resnet50", "mean", "batch", "1.25", "3.75"] in printed
    assert ["image_preprocess", "mean", "batch", "-", "1.00"] in printed


def test_what_a_gpu_spent_is_shown_where_triton_told_of_one(measured, written):
    kept = [trial for trial in read_trials(measured) if trial.workload == "image"]
    for trial in kept[:4]:
        use = {"utilisation": 0.1 * trial.round, "memory_mb": 1500 * trial.round}
        trial.gpu = {"energy_joules": 12.0 * trial.scheduled, **use}
    found = compare.evaluate(run(("image",)), kept)["workloads"]["image"]
    assert [(arm["gpu_joules"], arm["gpu_utilisation"]) for arm in found["arms"]] == [pytest.approx((12, 0.15))] * 2
    assert [arm["gpu_memory_mb"] for arm in found["arms"]] == [3000] * 2
    printed = tables.breakdown_table(found["arms"]).splitlines()
    rows = dict(line.rsplit(None, 2)[::2] for line in printed if "GPU" in line)
    assert len(rows) == 3 and list(rows.values()) == ["12.0", "15.0", "3.00"]
    text = Structure(compared(measured, run(("image",)), kept, {"workloads": {"image": found}})).text
    assert "GPU, J" in text and "GPU, GB" in text and "joules per request" in text
    without = compare.evaluate(run(), read_trials(measured))["workloads"]["image"]["arms"]
    assert "GPU" not in tables.breakdown_table(without)
    assert "GPU" not in Structure(written()).text


def test_the_columns_of_long_arms_do_not_run_together(evaluated):
    workload = json.loads(json.dumps(evaluated["workloads"]["image"]))
    longer = ("thumbnail async:1", "thumbnail-of-a-camera sequential")
    for arm, name in zip(workload["arms"], longer, strict=True):
        arm["arm"] = f"image {name}"
    head, *rows = tables.breakdown_table(workload["arms"]).splitlines()
    ends = [head.index(name) + len(name) for name in longer]
    assert re.split(r"  +", head) == ["mean latency, ms", *longer]
    assert all(row[ends[0] - 1] != " " and row[ends[0]] == " " and len(row) == ends[1] for row in rows)


def test_an_arm_and_its_control_are_told_apart_in_every_table(evaluated):
    one = evaluated["workloads"]["image"]
    both = [{**one["arms"][0], "arm": f"image client async:1{control}"} for control in ("", " again")]
    for table in (tables.arms_table("image", {**one, "arms": both}), tables.breakdown_table(both)):
        assert table.count(" again") == 1 and table.count("client") >= 2


def test_what_was_not_measured_has_no_section(written):
    bare, full = written(), written(**optional())
    for heading in ("What bursts do", *(EXPERIMENTS[name].title for name in optional())):
        assert heading not in bare and heading in full


def swept() -> dict:
    """run.json of a crossover: no server and no load of its own, but a list of what each sweep had."""
    described = {key: value for key, value in run().items() if key not in ("server", "engine", "cores", "workloads")}
    facts = {**run()["server"], "engine": "local", "cores": [1]}
    point = {"x": 1, "label": "500x375", "arrivals": "poisson:rate=7.5", "seconds": 2.0}
    swept = {"real/image-image-size": {"server": facts, "points": [point]}}
    return {**described, "sweeps": swept, "left_out": ["network: no such link"]}


@pytest.mark.parametrize("kind", list(optional()))
def test_an_experiment_has_a_page_of_its_own_whose_sentences_come_first(measured, kind):
    result, described = optional()[kind], swept() if kind == "crossover" else run()
    if kind != "crossover":
        for sent in described["workloads"].values():
            sent.pop("arrivals")
    write_page(EXPERIMENTS[kind], measured, described, result, read_trials(measured), {})
    text = (measured / html.NAME).read_text("utf-8")
    seen = Structure(text)
    assert seen.open == [] and len(seen.ids) == len(set(seen.ids)) and "None" not in seen.text
    first = seen.text.partition(EXPERIMENTS[kind].title)[0]
    [section] = EXPERIMENTS[kind].sections(described, result, ())
    told = [each for sentences in section.sentences.values() for each in sentences]
    assert told
    assert all(format.tied(each) in first for each in told)
    assert "Further left is faster" not in text and "What it costs" not in text
    assert text.count("<code>poisson") == 0 and "28 trials" in text


def test_the_page_says_where_it_turns_and_which_arm_does_not_carry_a_load(written):
    text = Structure(written(**optional())).text
    assert format.tied("below 0.76 [0.41, 1.2] megapixels") in text
    assert format.tied("by mean below 90 [10, 1000] Mbit/s, the client above") in text
    assert "The client does not carry this load at 2 threads (25\N{NO-BREAK SPACE}% of its requests" in text
    assert "no interval at 1 thread (6 rounds or more are needed)" in text
    swept = text.partition("The median of the server's placement")[2].partition("What it costs")[0]
    assert "client cores" not in swept.lower()


def test_sweeps_stand_together_by_workload_and_network():
    groups = sweep_result.groups(optional()["crossover"])
    assert [len(sweeps) for sweeps in groups.values()] == [1, 2]
    assert [heading.partition(", ")[2][:10] for heading in groups] == ["the real n", "an acceler"]


def test_an_experiment_of_other_weights_is_shown_but_not_silently(written):
    other = run()
    facts = other["server"]["models"]["resnet50"]
    facts["provenance"] = {**facts["provenance"], "weights": "pretrained"}
    other["complete"] = False
    source = provenance.source("reports/elsewhere", run(), other)
    text = Structure(written(**optional(), sources={"capacity": source})).text
    assert "From reports/elsewhere, 2026-11-24" in text
    assert "The capacity shown is incomplete" in text
    assert "The capacity shown was measured on something else." in text and "weights of resnet50: pretrained" in text
    assert provenance.source("x", run(), run())["differs"] == provenance.source("x", run(), swept())["differs"] == []


def test_stand_ins_vouch_for_neither_latency_nor_predictions(written):
    def standing_in(described, summary):
        facts = described["server"]["models"]["resnet50"]
        facts["provenance"] = {**facts["provenance"], "weights": "stand-in"}

    text = Structure(written(standing_in)).text
    assert "Neither latency nor predictions are those of the real networks: stand-in weights." in text
    assert "Latency is valid, predictions are not: random weights. In wav2vec2" in " ".join(text.split())


def test_a_ratio_without_an_interval_says_so(written):
    def few(described, summary):
        for row in summary["workloads"]["image"]["comparisons"]:
            row.update(low=None, high=None, rounds=2, ratio=None if row["metric"] == "p50" else row["ratio"])

    assert "too few rounds" in written(few)
    assert page.forest("image", [])["groups"] == []


def pages(measured, written) -> dict[str, str]:
    """The page of each experiment, by its name."""
    found = {"bench": written(**optional())}
    for kind, result in optional().items():
        described = swept() if kind == "crossover" else run()
        write_page(EXPERIMENTS[kind], measured, described, result, read_trials(measured), {})
        found[kind] = (measured / html.NAME).read_text("utf-8")
    return found


def test_every_table_scrolls_by_itself_and_keeps_its_first_column(measured, written):
    """A page that is as wide as its widest table cuts its columns on a phone, and on paper."""
    for kind, text in pages(measured, written).items():
        for before in re.findall(r"(.{40})<table(?! class=\"forest\")", text, re.DOTALL):
            assert before.endswith('<div class="scroll" tabindex="0">'), (kind, before)
    style = (html.TEMPLATES / "style.css").read_text()
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", style)
    assert re.search(r"\.scroll tr > :first-child[^{]*\{[^}]*position: sticky; left: 0", style)
    # Side by side there is room for few columns; a forest plot becomes a list where the page is narrow.
    assert re.search(r"max-width: 40rem.*\.forest tr \{ display: grid", style, re.DOTALL)


def test_a_legend_is_one_line_and_the_rest_is_folded(measured, written):
    for kind, text in pages(measured, written).items():
        shown = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
        found = re.findall(r'<p class="how">.*?</p>', shown, re.DOTALL)
        legends = [" ".join(Structure(each).text.split()) for each in found]
        assert legends and max(map(len, legends)) <= 130, (kind, max(legends, key=len))
        assert '<details class="legend">' in text


def test_an_arm_is_called_by_what_tells_it_apart(measured, written):
    """`async:1` says nothing where all arms have it; a study compares the modes, and names them."""
    for kind, text in pages(measured, written).items():
        seen = re.sub(r"<td class=\"left folder\">.*?</td>", "", text)
        assert ("async:1" in seen) == (kind in ("bench", "study")), kind  # the bench's page shows the study here
    assert "async:1" not in written()
    assert "async:1" not in tables.text(compare.evaluate(run(), read_trials(measured)))


def test_noise_and_what_is_not_known_are_no_figures(measured, written):
    def noisy(described, summary):
        for arm in summary["workloads"]["image"]["arms"]:
            arm["stages"]["rest of the server"] = -7e-15
            arm["stages"]["client waiting"] = -2.91  # what two clocks counted
            arm["service"]["p50"] = float("nan")

    described, summary = run(), compare.evaluate(run(), read_trials(measured))
    noisy(described, summary)
    kept = read_trials(measured)
    kept[0].schedule = None  # of a closed loop
    for text in (written(noisy), tables.text(summary), compared(measured, described, kept, summary)):
        seen = Structure(text).text
        assert "-2.91" not in seen
        assert not re.search(r"e-\d|\bnan\b|\binf\b|\bNone\b", seen)


def test_nothing_answered_is_no_error(tmp_path):
    write(tmp_path, ("image",), 1)
    kept = read_trials(tmp_path)
    nothing = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "p99.9", "max"))
    summary = compare.evaluate(run(("image",)), kept)
    for arm in summary["workloads"]["image"]["arms"]:
        arm.update(latency=nothing, service=nothing, stages={}, server_cpu_ms=None, bytes_up=None, bytes_down=None)
    summary["workloads"]["image"].update(comparisons=[], sentence="")
    for trial in kept:
        trial.summary["books"]["completed"], trial.summary["latency"] = 0, nothing
    text = compared(tmp_path, run(("image",)), kept, summary)
    assert "No request was completed." in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (0, "0"),
        (-7e-15, "0"),
        (2e-5, "0.00002"),
        (0.004, "0.004"),
        (0.157, "0.16"),
        (1.5, "1.50"),
        (12.34, "12.3"),
        (-1234.5, "-1,234"),
    ],
)
def test_a_number_has_the_digits_that_mean_something(value, shown):
    assert format.number(value) == shown


def test_a_placement_has_the_colour_of_its_place_and_every_colour_is_the_pages(written):
    def colour(arm, *placements):
        return plots.look(arm, placements)["color"]

    assert colour("image client async:1", "client", "server") == plots.BASELINE
    assert colour("audio client threads:4", "server", "client") == plots.CANDIDATE
    assert colour("image thumbnail async:1", "thumbnail", "server") == plots.BASELINE
    assert colour("image elsewhere async:1", "client", "server") == plots.INK
    one, other = (plots.look(f"image client async:1{control}", ["client"]) for control in ("", " again"))
    assert one["linestyle"] != other["linestyle"]
    for svg in re.findall(r"<svg.*?</svg>", written(**optional()), re.DOTALL):
        ElementTree.fromstring(svg)
        assert not re.search(r"(fill|stroke): #", svg)


def test_every_stage_has_a_look_of_its_own():
    names = ["dispatch lag", "client waiting", "client preprocessing", "client sending", "network and wire"]
    names += [f"{step} {kind}" for step in ("a", "b", "c") for kind in ("queue", "compute")] + ["rest of the server"]
    looks = [tuple(paint.values()) for paint in compare_plots.choose_paints(names).values()]
    assert len(set(looks)) == len(names)


def test_a_client_without_a_named_library_is_not_said_to_use_one():
    sent = {"library": "", "payloads": ["one.jpg"]}
    assert provenance.describe_load({"workloads": {"mine": sent}}) == {"mine": "payloads one.jpg"}
    named = provenance.describe_load({"workloads": {"mine": {**sent, "library": "pillow"}}})
    assert named == {"mine": "client preprocesses with pillow, payloads one.jpg"}


def test_arms_that_prepare_with_different_libraries_are_named_with_theirs():
    placements = {"client": "opencv", "server": "", "ready": "opencv", "client:pillow": "pillow"}
    described = {name: {"library": library} for name, library in placements.items()}
    sent = {"library": "opencv", "payloads": ["one.jpg"], "placements": described}
    said = provenance.describe_load({"workloads": {"mine": sent}})["mine"]
    assert said.startswith("client preprocesses with opencv (client, ready) and pillow (client:pillow), payloads")
    del described["client:pillow"]
    assert provenance.describe_load({"workloads": {"mine": sent}})["mine"].startswith(
        "client preprocesses with opencv,"
    )


def test_no_line_breaks_between_a_number_and_its_unit_or_within_an_option():
    text = format.tied("+3.19 ms [1, 2] at 5 % and 8 GB (--prices), 3 months <b>")
    assert text == (
        "+3.19\u00a0ms\u00a0[1,\u00a02] at 5\u00a0% and 8\u00a0GB "
        '<span class="tied">(--prices)</span>, 3 months &lt;b&gt;'
    )
