"""A pipeline of one's own: one file, taken by every command; and what is no such file is one line."""

import ast
import json
import re
import socket
import subprocess
import sys
import time

import pytest

from loadgen.arm import Arm, Mode
from preprocess.image import LIBRARIES
from serving import smoke_test
from tests.commands import again, only, refuses, run
from tests.conftest import ROOT
from tests.locust_plugin.test_locustfiles import fetch, headless, locust, post, rows
from workloads import catalogue, flags, image
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.payloads import Payload
from workloads.workload import Placement, UnsoundWorkload, Workload, per_thread

DOCS = (ROOT / "docs" / "own-pipeline.md").read_text()
EXAMPLE, COMMANDS = (re.search(rf"```{kind}\n(.*?)```", DOCS, re.S)[1] for kind in ("python", "sh"))
PLACEMENTS = ("phone", "cloud", "thumbnail")
OK = (0, 3)  # 3: a machine that was too busy to measure on


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The example of docs/own-pipeline.md, with photographs beside it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "photos").mkdir()
    for payload in image.photographs((320, 640)):
        (folder / "photos" / payload.name).write_bytes(payload.encoded)
    (folder / "my_pipeline.py").write_text(EXAMPLE)
    return folder / "my_pipeline.py"


@pytest.fixture(scope="module")
def at(server):
    return ["--url", server.url, "--state", server.state]


# Every command ----------------------------------------------------------------------------------------------------


def test_any_two_placements_are_compared_and_the_first_is_the_baseline(own, at, tmp_path, monkeypatch, capsys):
    quick = ["--seconds", 6, "--rounds", 1, "--reports", tmp_path]
    code, output = run("bench", own, "--arms", "thumbnail,cloud", *at, *quick)
    assert code in OK, output
    summary = json.loads((only(tmp_path) / "summary.json").read_text())
    found = summary["workloads"]["detector"]
    assert list(found["placements"]) == ["thumbnail", "cloud"] and found["subject"] == "photographs"
    assert found["steps"] == ["image_preprocess", "resnet50"]
    assert [arm["placement"] for arm in found["arms"]] == ["thumbnail", "cloud"]
    assert all(arm["errors"] == 0 and "resnet50 compute" in arm["stages"] for arm in found["arms"])
    up = {arm["placement"]: arm["bytes_up"] for arm in found["arms"]}
    assert 0 < up["thumbnail"] < up["cloud"]
    [p50] = [each for each in found["comparisons"] if each["metric"] == "p50"]
    assert p50["names"] == ["thumbnail", "cloud"]
    assert p50["ratio"] == pytest.approx(p50["candidate"] / p50["baseline"])
    assert found["sentence"].startswith("For photographs at ")
    assert "cloud/thumbnail" in output and "Traceback" not in output
    page = (only(tmp_path) / "report.html").read_text()
    assert "cloud ÷ thumbnail" in page and "preprocessed by" not in page
    code, output, errors = again(monkeypatch, capsys, only(tmp_path))  # without the file
    assert code == 0 and "cloud/thumbnail" in output, errors


def test_without_arms_the_first_two_are_compared_and_a_directory_replaces_the_payloads(own, at, tmp_path):
    quick = ["--seconds", 6, "--rounds", 1, "--reports", tmp_path / "reports"]
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "one.bin").write_bytes(image.photographs((320,))[0].encoded)
    code, output = run("bench", own, "--payloads", tmp_path / "sent", *at, *quick)
    assert code in OK, output
    found = json.loads((only(tmp_path / "reports") / "summary.json").read_text())["workloads"]["detector"]
    assert list(found["placements"]) == ["phone", "cloud"] and found["payloads"] == ["one.bin"]


@pytest.mark.long
def test_capacity_takes_all_three(own, at, tmp_path):
    quick = ["--percentile", 90, "--loads", "", "--reports", tmp_path]
    shorter = "search.LASTING, search.SHORTEST, search.ALLOWED, search.START = 2, 0, 0, 1.5; plan.TURNS = 2"
    code, output = run("capacity", own, "--arms", ",".join(PLACEMENTS), *at, *quick, shorter=shorter)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "capacity.json").read_text())["detector"]
    assert [each["arm"].split()[1] for each in found["capacity"]] == list(PLACEMENTS)
    page = (only(tmp_path) / "report.html").read_text()
    assert "preprocessed by the thumbnail placement" in page
    assert "var(--baseline)" in page and "var(--candidate)" in page and "var(--third)" in page


def test_the_study_takes_its_placements(own, at, tmp_path):
    code, output = run("study", own, "--arms", "cloud", "--rounds", 1, "--seconds", 10, *at, "--reports", tmp_path)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "study.json").read_text())["workloads"]["detector"]
    assert {row["placement"] for row in found["conditions"]} == {"cloud"}
    assert (only(tmp_path) / "study.png").stat().st_size > 10_000


def test_sweeps_take_it(own, at, tmp_path):
    given = [own, "--sweeps", "size,workers", "--arms", "cloud,thumbnail"]
    quick = ["--rounds", 1, "--seconds", 40, "--reports", tmp_path]
    shorter = "points.LEAST, points.MOST, grid.SHORTEST, grid.WORKERS = 3, 5, 0.3, (1, 2)"
    code, output = run("crossover", *given, *at, *quick, shorter=shorter)
    assert code in OK, output
    assert "left out: size: detector has no sizes to sweep" in output
    [found] = json.loads((only(tmp_path) / "crossover.json").read_text())
    assert (found["workload"], list(found["placements"])) == ("detector", ["cloud", "thumbnail"])
    assert [point["x"] for point in found["points"]] == [1, 2]
    assert "thumbnail/cloud" in output and "thumbnail p50" in output


def test_efficiency_takes_the_ensemble_that_is_asked_with_files_as_they_are(own, at, tmp_path):
    code, output = run("efficiency", own, "--seconds", 3, *at, "--reports", tmp_path)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "efficiency.json").read_text())["detector"]
    assert found["ensemble"] == "image" and list(found["steps"]) == ["image_preprocess", "resnet50"]
    # Whether its efficiency can be told depends on how busy the machine is.
    concludes = r"For photographs (the ensemble answers|this run does not show how efficient the ensemble is)"
    assert re.search(concludes, (only(tmp_path) / "report.html").read_text())


def test_efficiency_says_which_placement_asks_no_ensemble(own, at, tmp_path):
    code, output = run("efficiency", own, "--arms", "phone", "--seconds", 3, *at, "--reports", tmp_path)
    assert code == 1 and "phone of detector asks resnet50, which is no ensemble; try --arms" in output


@pytest.mark.long
def test_overload_takes_it(own, at):
    flags = ["--arms", "thumbnail", "--seconds", "96", "--capacity", "4"]
    command = [sys.executable, "-m", "crossover", "overload", own, *at, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "detector thumbnail: alone" in done.stdout and "Traceback" not in done.stderr


def infer(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "crossover", "infer", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_infer_prints_outputs_whose_meaning_it_does_not_know(own, server):
    for placement in ("", *PLACEMENTS):
        chosen = ["--placement", placement] if placement else []
        done = infer(own, "--url", server.url, *chosen, smoke_test.JPEG)
        assert done.returncode == 0, done.stderr
        assert re.search(r"smoke_test\.jpg: logits FP32 \[1, 1000\]: [-\d.e]+, .*, \.\.\.\n$", done.stdout)


@pytest.mark.parametrize(("placement", "processes"), [("phone", 1), ("cloud", 1), ("thumbnail", 1), ("cloud", 2)])
def test_locust_takes_it_from_the_command_line(own, server, tmp_path, placement, processes):
    given = ["--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 50, "--placement", placement]
    given += ["--processes", processes] if processes > 1 else []
    code, output = headless("own", server.url, tmp_path, "--workload", own, *given)
    assert code in OK and "Traceback" not in output, output
    assert "books: scheduled 10 = completed 10 + failed 0" in output
    assert len(rows(tmp_path)) == 10


def test_locust_takes_it_in_its_web_form(own, server, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = ["--web-host", "127.0.0.1", "--web-port", port, "--workload", own]
    process, base = locust("own", "--host", server.url, *web, "--reports", tmp_path), f"http://127.0.0.1:{port}"
    try:
        page = fetch(base, process)
        assert all(f'"{name}"' in page for name in ("placement", "arrivals", *PLACEMENTS))
        form = "arrivals=constant:rate=10&seconds=1&placement="
        assert "try one of phone, cloud, thumbnail" in json.loads(post(f"{base}/swarm", form + "client"))["message"]
        assert json.loads(post(f"{base}/swarm", form + "thumbnail"))["success"]
        while json.loads(fetch(f"{base}/stats/requests", process))["state"] != "stopped":
            time.sleep(0.2)
        [stats] = [s for s in json.loads(fetch(f"{base}/stats/requests", process))["stats"] if s["method"]]
        assert (stats["method"], stats["num_requests"], stats["num_failures"]) == ("thumbnail", 10, 0)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_what_the_docs_say_can_be_typed():
    """Every module, flag and locustfile of docs/own-pipeline.md exists."""
    for line in COMMANDS.splitlines():
        words = line.partition("#")[0].split()
        if words[0] == "locust":
            assert (ROOT / words[2]).is_file() and "--workload" in words
            continue
        command = words[1:3] if words[0] == "python" else ["-m", *words[:2]]
        done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0
        assert all(word in done.stdout for word in words if word.startswith("--"))


# Bad input --------------------------------------------------------------------------------------------------------

GOOD = "from crossover import Placement, Workload, files\n"


def defined(**other: str) -> str:
    """A file with a sound workload, but for what is given."""
    usual = {"name": "'x'", "payloads": "files('*')", "placements": "{'a': Placement('m')}"} | other
    return f"{GOOD}WORKLOAD = Workload({', '.join(f'{key}={value}' for key, value in usual.items() if value)})\n"


BAD = {
    "import no_such_module\n": "does not import: line 1: ModuleNotFoundError: No module named 'no_such_module'",
    "x = 1\n\ndef f(:\n": "does not import: line 3: SyntaxError: ",
    "import sys\nsys.exit('bye')\n": "does not import: line 2: SystemExit: bye",
    "x = 1\n": "defines no WORKLOAD; it needs a line WORKLOAD = Workload(...)",
    "WORKLOAD = {'name': 'x'}\n": "is a dict, not a Workload",
    defined(placements=""): "line 2: TypeError: ",
    defined(placements="{}"): "line 2: placements of x must map names",
    defined(placements="{'a': 'm'}"): "'a' of x is no Placement, but 'm'",
    defined(placements="{'a b': Placement('m')}"): "unlike 'a b'",
    defined(placements="{'a': Placement('m', 3)}"): "must be a function",
    defined(placements="{'a': Placement('')}"): "a placement names a served model, not ''",
    defined(name="'x y'"): "unlike 'x y'",
    defined(name="'report.html'"): "line 2: no workload may be called 'report.html', as reports are",
    defined(name="'run.JSON'"): "no workload may be called 'run.JSON'",
    defined(payloads="'*'"): "payloads of x must be files",
    defined(): "x has one placement, a; a comparison needs two",
}


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_a_file_that_is_no_workload_is_one_line_and_exit_code_two(content, tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(content)
    refuses("compare", [path], BAD[content], capsys)


NOWHERE = "workload no/such.py does not exist; give a name (image, audio) or the path of a Python file"


@pytest.mark.parametrize("experiment", ["compare", "capacity", "sweep", "clients", "efficiency", "overload"])
def test_every_experiment_refuses_it_before_anything_is_sent(experiment, capsys):
    refuses(experiment, ["no/such.py"], NOWHERE, capsys)
    refuses(experiment, ["image", "--arms", "client,moon"], UNKNOWN, capsys)


UNKNOWN = "unknown placement 'moon' of image; try some of client, server, with commas"


def test_arms_must_be_as_many_as_are_compared_and_different(capsys):
    refuses("bench", ["image", "--arms", "client"], "--arms takes 2 different placements of image", capsys)
    refuses("bench", ["image", "--arms", "client,client"], "--arms takes 2 different", capsys)
    refuses("efficiency", ["image", "--arms", "client,server"], "--arms takes 1", capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "loadgen/own.py needs --workload: image, audio, or the path of a Python file"),
        (["--workload", "no/such.py"], NOWHERE),
        (["--workload=film"], "unknown workload 'film'; try one of image, audio, or the path of a Python file"),
    ],
)
def test_locust_refuses_it_in_one_line(arguments, says, tmp_path):
    code, output = headless("own", "http://127.0.0.1:9", tmp_path, *arguments)
    assert code == 2 and [line for line in output.splitlines() if line] == [output.strip()] and says in output


def test_infer_refuses_it_in_one_line():
    done = infer("no/such.py", "x.jpg")
    assert done.returncode == 2 and done.stderr.startswith(f"crossover infer: {NOWHERE}")
    assert done.stderr.count("\n") == 1
    done = infer("--placement", "moon", "x.jpg")
    assert done.returncode == 2 and "unknown placement 'moon' of image; try one of client, server" in done.stderr


def test_a_model_that_the_server_lacks_is_named_with_who_asks_for_it(at, tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"x")
    placements = "{'a': Placement('image'), 'b': Placement('nowhere')}"
    path = tmp_path / "mine.py"
    path.write_text(f"{GOOD}WORKLOAD = Workload(name='x', payloads=files('*.jpg'), placements={placements})\n")
    code, output = run("bench", path, *at, "--reports", tmp_path / "reports")
    assert code == 1 and not (tmp_path / "reports").exists()
    [line] = output.splitlines()
    assert "has no model nowhere, which placement 'b' of x asks: " in line


# Workloads --------------------------------------------------------------------------------------------------------


def toy(**other) -> Workload:
    usual = {"name": "toy", "placements": {"a": Placement("m")}, "payloads": lambda: [Payload("x", b"x")]}
    return Workload(**{**usual, **other})


def test_files_are_relative_to_the_workloads_file(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [payload.name[:5] for payload in catalogue.find(str(own)).load()] == ["china", "china", "flowe", "flowe"]


def test_a_file_may_import_its_neighbours_and_hides_no_module_of_ours(tmp_path):
    (tmp_path / "workloads.py").write_text("raise SystemExit")
    (tmp_path / "beside_it.py").write_text("NAME = 'neighbour'")
    (tmp_path / "mine.py").write_text(
        f"from beside_it import NAME\n{GOOD}"
        "WORKLOAD = Workload(name=NAME, payloads=files('*'), placements={'a': Placement('m')})\n"
    )
    assert catalogue.find(str(tmp_path / "mine.py")).name == "neighbour"


def test_two_workloads_of_one_name_are_refused(tmp_path):
    (tmp_path / "mine.py").write_text("from workloads.image import IMAGE as WORKLOAD\n")
    with pytest.raises(ValueError, match="two of these workloads are called 'image'"):
        catalogue.find_all(["image", str(tmp_path / "mine.py")])
    assert list(catalogue.find_all([str(tmp_path / "mine.py"), "audio"])) == ["image", "audio"]


def test_per_thread_makes_one_each_and_a_function_is_shared():
    def prepare(encoded):
        return encoded

    assert Placement("m", prepare).preprocessor() is Placement("m", prepare).preprocessor() is prepare
    made = Placement("m", per_thread(lambda: list))
    assert made.prepares and made.preprocessor()(b"\x01") == [1]
    assert not Placement("m").prepares and Placement("m").preprocessor()(b"\x01\x02").tolist() == [1, 2]
    libraries = Placement("m", {"first": prepare, "second": per_thread(lambda: bytes.upper)})
    assert libraries.preprocessor() is prepare and libraries.preprocessor("second")(b"x") == b"X"


def test_a_library_is_called_by_its_name_and_a_lambda_by_none():
    def shrink(encoded):
        return encoded

    prepares = {"a": per_thread(LIBRARIES["pillow"]), "b": lambda encoded: encoded, "c": shrink, "d": None}
    named = toy(placements={name: Placement("m", prepare) for name, prepare in prepares.items()})
    assert named.libraries == ("pillow", "shrink")
    chosen = [Arm(named, name, Mode("sequential")).chosen for name in named.placements]
    assert chosen == ["pillow", "", "shrink", ""]
    assert named.placements["b"].preprocessor("pillow") is prepares["b"]


def test_arms_are_different_placements_by_name():
    three = {"toy": toy(placements={name: Placement("m") for name in "abc"})}
    assert flags.choose_arms(None, three) == {"toy": ["a", "b"]}
    assert flags.choose_arms("c, a", three, 2) == {"toy": ["c", "a"]}
    bad = {
        "": "--arms is empty; name some placements of toy, of a, b, c",
        " , ": "--arms is empty",
        "a,": "unknown placement '' of toy",
        "a,b,b": "--arms takes different placements of toy, of a, b, c; not 'a, b, b'",
    }
    for text, says in bad.items():
        with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
            flags.choose_arms(text, three)
    with pytest.raises(ValueError, match="takes 2 different placements of toy"):
        flags.choose_arms("a,b,b", three, 2)
    with pytest.raises(ValueError, match=r"^toy has one placement, a; a comparison needs two$"):
        flags.choose_arms(None, {"toy": toy()}, 2)
    assert flags.choose_arms(None, {"toy": toy()}, 0) == {"toy": ["a"]}


@pytest.mark.parametrize("experiment", ["compare", "capacity", "sweep", "clients", "efficiency", "overload"])
def test_an_empty_list_of_arms_is_refused(experiment, capsys):
    refuses(experiment, ["image", "--arms", ""], "--arms is empty", capsys)


def test_a_library_is_chosen_where_a_workload_has_it():
    flags.check_library("pillow", {"image": IMAGE, "audio": AUDIO})
    assert flags.choose_library("pillow", IMAGE) == "pillow" and flags.choose_library("pillow", AUDIO) == ""
    with pytest.raises(ValueError, match="unknown library 'pillow'; audio has librosa"):
        flags.check_library("pillow", {"audio": AUDIO})


@pytest.mark.parametrize("other", [{"share": 0}, {"share": -1}, {"placements": []}, {"name": ""}, {"name": "a/b"}])
def test_an_unsound_workload_is_refused(other):
    with pytest.raises(UnsoundWorkload):
        toy(**other)


def test_payloads_that_are_none_are_one_line():
    for made in ([], ["x"], None):
        with pytest.raises(ValueError, match="the payloads of toy must be a list of Payload"):
            toy(payloads=lambda made=made: made).load()


# Twins, and nobody else who knows --------------------------------------------------------------------------------


def test_the_audio_twin_of_an_image_file_is_found_by_changing_one_word():
    for path in ("workloads/image.py", "loadgen/image.py", "preprocess/image.py"):
        assert (ROOT / path).is_file() and (ROOT / path.replace("image", "audio")).is_file()
    for name in ("name", "placements", "payloads", "typical", "sizes", "answer", "subject", "steps"):
        assert getattr(IMAGE, name) and getattr(AUDIO, name)
    assert list(IMAGE.placements) == list(AUDIO.placements)


WORKLOADS, PLACES = {"image", "audio"}, {"client", "server"}
FILES = {
    "loadgen/image.py": "the locustfile of that workload",
    "loadgen/audio.py": "the locustfile of that workload",
    "crossover/analysis/costs.py": "prices of the CPU of the client's and of the server's machine",
    "crossover/experiments/sweep/network_link.py": "the two ends of a link",
    "crossover/experiments/sweep/site.py": "the two ends of a link",
}
LINES = {
    r"cores": "which core belongs to whose process",
    r"""(run|sweep|report|each|other|a)\["server"\]|"server": (\{|self\.server\.facts)|"server" in (run|other)""":
        "what run.json says of the server",
    r"for side in ": "whose cores, again",
}  # fmt: skip


def decides(text: str) -> list[str]:
    """The lines of a source that decide by the name of a workload or a placement."""
    tree, lines, hits = ast.parse(text), text.splitlines(), set()

    def is_name(node, names):
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names

    for node in ast.walk(tree):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *(part for each in node.comparators for part in getattr(each, "elts", [each]))]
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, ast.Dict):
            parts = node.keys
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts if len({each.value for each in node.elts if is_name(each, PLACES)}) > 1 else []
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        hits |= {part.lineno for part in parts if is_name(part, PLACES)}
        if is_name(node, WORKLOADS):
            hits.add(node.lineno)
        if isinstance(node, ast.ImportFrom) and re.fullmatch(r"workloads\.(image|audio)\w*", node.module or ""):
            hits.add(node.lineno)
        if isinstance(node, ast.Attribute) and node.attr in ("IMAGE", "AUDIO"):
            hits.add(node.lineno)
    return [lines[number - 1].strip() for number in sorted(hits)]


def test_nothing_outside_workloads_decides_by_the_name_of_a_workload_or_a_placement():
    found, sources = {}, [path for folder in ("loadgen", "crossover") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(sources) > 80
    for path in sources:
        lines = [line for line in decides(path.read_text()) if not any(re.search(each, line) for each in LINES)]
        if lines:
            found[str(path.relative_to(ROOT))] = lines
    assert found.keys() == FILES.keys(), found


@pytest.mark.parametrize(
    "line",
    [
        'x = arm.placement == "client"',
        'x = "server" in names',
        'x = shares["image"]',
        'x = {"image": 0.4}',
        'x = {"client": blue, "server": red}',
        'PLACEMENTS = ("client", "server")',
        'x = Arm(workload, "client") if name in ("client",) else None',
        'match name:\n    case "server": pass',
        "from workloads.image import IMAGE",
        "x = workload is workloads.IMAGE",
        'x = figures["server"]',
    ],
)
def test_a_decision_by_name_would_be_found(line):
    assert [each for each in decides(line) if not any(re.search(allowed, each) for allowed in LINES)]
    assert decides('"""Of image and "client"."""\nx = outcome("image.jpg", client)') == []
