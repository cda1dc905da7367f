"""What is no pipeline of one's own is one line, of every command, before anything is sent."""

import pytest

from tests.commands import refuses, run
from tests.locust_plugin.locust_runs import headless
from tests.workloads.own_pipeline import HEAD, infer


def defined(**other: str) -> str:
    """A file with a sound workload, but for what is given."""
    usual = {"name": "'x'", "payloads": "files('*')", "placements": "{'a': Placement('m')}"} | other
    return f"{HEAD}WORKLOAD = Workload({', '.join(f'{key}={value}' for key, value in usual.items() if value)})\n"


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
    defined(payloads="[b'x' * 10**6]"): "payloads of x must be files('...') or a function, not [b'" + 74 * "x" + "...",
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


UNKNOWN = "unknown placement 'moon' of image; try some of client, server, local"


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
    path.write_text(f"{HEAD}WORKLOAD = Workload(name='x', payloads=files('*.jpg'), placements={placements})\n")
    code, output = run("bench", path, *at, "--reports", tmp_path / "reports")
    assert code == 2 and not (tmp_path / "reports").exists()
    [line] = output.splitlines()
    assert "has no model nowhere, which placement 'b' of mine.py asks: " in line


@pytest.mark.parametrize("experiment", ["compare", "capacity", "sweep", "clients", "efficiency", "overload"])
def test_an_empty_list_of_arms_is_refused(experiment, capsys):
    refuses(experiment, ["image", "--arms", ""], "--arms is empty", capsys)
