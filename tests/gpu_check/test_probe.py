"""A check that raises, hangs or crashes is a line that says so, and what it had found before is kept."""

import threading
import time

import psutil
import pytest

from crossover.gpu_check.finding import OK, PROBLEM, SKIPPED
from crossover.gpu_check.probe import Budget, Probe, Runner

TIMELESS = 600.0


def probe(function: str, seconds: float = 120, **arguments) -> Probe:
    return Probe("the check", f"tests.gpu_check.broken:{function}", seconds, arguments)


def run(function: str, seconds: float = 120, budget: float = TIMELESS, **arguments):
    return list(Runner(Budget(budget)).run(probe(function, seconds, **arguments)))


def test_findings_and_arguments_cross_the_border_of_the_process():
    [finding] = run("finish", text="as told")
    assert (finding.state, finding.text, finding.figures) == (OK, "as told", {"figure": 1.5})


def test_what_libraries_print_is_no_finding():
    [finding] = run("chatter")
    assert finding.text == "well"


@pytest.mark.parametrize(
    ("function", "text", "remedy"),
    [
        ("raise_error", "RuntimeError: cuDNN says no,", "issue"),
        ("import_missing", "no_such_library is missing from this environment", "run `make env`"),
        ("run_out_of_memory", "RuntimeError: CUDA failure 2: out of memory; GPU=0", "free memory"),
        ("crash", "ended by SIGSEGV", "--json has the end of its output"),
        ("leave", "terminate called: the driver went away", "issue"),
    ],
)
def test_a_check_that_ends_badly_is_a_problem_in_one_line(function, text, remedy):
    begun, finding = run(function)
    assert (begun.state, begun.text) == (OK, "begun")
    assert (finding.name, finding.state) == ("the check", PROBLEM)
    assert finding.text.startswith(text) and remedy in finding.remedy
    assert len(str(finding).splitlines()) == 1


def test_a_crash_keeps_the_stack_for_json():
    *_, finding = run("crash")
    assert "Segmentation fault" in finding.figures["output"] and "broken.py" in finding.figures["output"]


@pytest.fixture
def new_children():
    """Return what lists the children of this process that other tests have not left."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: set(psutil.Process().children(recursive=True)) - before


def test_a_check_that_hangs_is_killed_at_its_deadline(new_children):
    begun, finding = run("hang", seconds=5)
    assert begun.text == "begun"
    assert (finding.state, finding.text) == (PROBLEM, "no end within 5 s")
    assert not new_children()


def test_a_check_without_time_left_is_skipped():
    [finding] = run("finish", budget=1)
    assert finding.state == SKIPPED and finding.text == "no time left of 1 s; --seconds gives more"


def test_the_budget_ends_a_check_before_its_own_deadline_and_that_is_no_problem_of_the_machine():
    *_, finding = run("hang", seconds=500, budget=5)
    assert finding.state == SKIPPED and not finding.remedy
    assert finding.text == "no time left: it had the last 5 s of 5 s; --seconds gives more"


def test_a_killed_runner_ends_its_check_without_a_word_and_begins_no_other(new_children):
    runner = Runner(Budget(TIMELESS))
    findings = []
    thread = threading.Thread(target=lambda: findings.extend(runner.run(probe("hang"))))
    thread.start()
    while not (runner._process and new_children()):
        time.sleep(0.01)
    runner.kill()
    thread.join(60)
    assert not thread.is_alive() and not new_children()
    assert [finding.text for finding in findings] in ([], ["begun"])
    assert list(runner.run(probe("finish"))) == []
