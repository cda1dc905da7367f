"""Laws of being ended: real signals to real processes against the real server, at every moment of their lives."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest

from loadgen.locust_plugin import first_signals
from tests import forks
from tests.commands import only, start
from tests.conftest import ROOT, ports

SIGNALS = pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGHUP, signal.SIGINT))],
    ids=lambda each: each.name,
)
BENCH = ("audio", "--seconds", 30, "--rounds", 3, "--arrivals", "poisson:rate=8")


def locust(url: str, folder: Path, *arguments, first=None) -> subprocess.Popen:
    """In a group of its own, as `timeout` and a terminal make one; its port is its own, too: other tests run beside."""
    files = ["--reports", folder / "reports", "--html", folder / "locust.html"]
    if "--processes" in arguments:
        port = ports()[0].partition("=")[2]
        files += ["--master-bind-port", port, "--master-port", port]
    own = {"start_new_session": True, "stdin": subprocess.DEVNULL, "preexec_fn": first}
    return forks.start("locust", "-f", "loadgen/image.py", "--host", url, *files, *arguments, **own)


def until(process: subprocess.Popen, happened) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def size(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))


def ended(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=600)
    assert "Traceback" not in output and "object at 0x" not in output, output
    return output


def whole_run(folder: Path, output: str, planned: int) -> list[dict]:
    """The samples of a run of 600 s that is in the books until it was stopped, with verdict, summary and report."""
    [directory] = (folder / "reports").iterdir()
    assert {file.name for file in directory.iterdir()} == {"run.json", "summary.json", "samples.parquet"}
    summary = json.loads((directory / "summary.json").read_text())
    scheduled = summary["books"]["scheduled"]
    assert 10 < scheduled < planned / 2
    [found] = summary["findings"]
    assert found["rule"] == "interrupted" and re.fullmatch(r"stopped after \d+ of 600 s", found["measured"])
    assert output.count("INVALID") == 1 and f"books: scheduled {scheduled} = " in output
    assert (folder / "locust.html").read_text().rstrip().endswith("</html>")
    rows = pyarrow.parquet.read_table(directory / "samples.parquet").to_pylist()
    assert len({row["index"] for row in rows}) == len(rows) == scheduled
    return rows


@SIGNALS
def test_a_headless_run_ends_with_books_verdict_samples_and_report(server, tmp_path, number):
    process = locust(server.url, tmp_path, "--headless", "--arrivals", "constant:rate=20", "--seconds", 600)
    until(process, lambda: size(tmp_path, "reports/*/samples.journal") > 1500)
    process.send_signal(number)
    output = ended(process)
    assert process.returncode == 1
    rows = whole_run(tmp_path, output, 12000)
    assert {row["status"] for row in rows} <= {"completed", "unfinished"}
    assert sorted(row["index"] for row in rows) == list(range(len(rows)))


@pytest.mark.parametrize("several", [(), ("--processes", 2)], ids=["one process", "two workers"])
def test_a_script_that_started_it_in_the_background_can_end_it(server, tmp_path, several):
    """A shell without job control starts what is followed by & with Ctrl-C ignored."""

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    arguments = ["--headless", "--arrivals", "constant:rate=40", "--seconds", 600, *several]
    process = locust(server.url, tmp_path, *arguments, first=ignore)
    until(process, lambda: size(tmp_path, "reports/*/*.journal") > 2000)
    process.send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 1
    whole_run(tmp_path, output, 24000)


@pytest.mark.parametrize("everyone", [True, False], ids=["the group", "the master"])
def test_with_workers_nothing_that_they_had_finished_is_lost(server, tmp_path, everyone):
    """A terminal and `timeout` signal the whole group, `docker stop` and `kill` the master alone."""
    arguments = ["--headless", "--processes", 2, "--arrivals", "constant:rate=40", "--seconds", 600]
    process = locust(server.url, tmp_path, *arguments)
    until(process, lambda: size(tmp_path, "reports/*/worker-*.journal") > 4000)
    before = size(tmp_path, "reports/*/worker-*.journal")
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 1
    assert "without a word" not in output
    rows = whole_run(tmp_path, output, 24000)
    finished = [row for row in rows if row["status"] == "completed"]
    assert len(finished) >= before // 97 - 2  # a record has 97 bytes; two may have been under way
    assert {row["reason"] for row in rows if row["status"] == "unfinished"} <= {"the run ended first"}


def test_a_worker_that_is_ended_sends_what_it_has_and_the_others_go_on(server, tmp_path):
    arguments = ["--headless", "--processes", 2, "--arrivals", "constant:rate=40", "--seconds", 6]
    process = locust(server.url, tmp_path, *arguments)
    until(process, lambda: size(tmp_path, "reports/*/worker-1.journal") > 1500)
    [journal] = tmp_path.glob("reports/*/worker-1.journal")
    workers = psutil.Process(process.pid).children()
    owner = next(each for each in workers if str(journal) in {file.path for file in each.open_files()})
    owner.send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 1
    assert "without a word" not in output
    [samples] = tmp_path.glob("reports/*/samples.parquet")
    rows = pyarrow.parquet.read_table(samples).to_pylist()
    assert len(rows) == 240
    # A busy machine's server may refuse some, which is an answer, too.
    assert {row["status"] for row in rows if row["index"] % 2 == 0} <= {"completed", "rejected"}
    own = [row["status"] for row in rows if row["index"] % 2]
    assert own.count("completed") > 10 and own.count("unfinished") > 10
    assert "INVALID: interrupted: a worker ended before the others" in output


@SIGNALS
def test_a_page_ends_its_run_and_then_itself(server, tmp_path, number):
    port = ports()[0].partition("=")[2]
    arguments = ["--autostart", "--web-port", port, "--arrivals", "constant:rate=20", "--seconds", 600]
    process = locust(server.url, tmp_path, *arguments)
    until(process, lambda: size(tmp_path, "reports/*/samples.journal") > 1500)
    process.send_signal(number)
    whole_run(tmp_path, ended(process), 12000)
    assert process.returncode == 1


def test_a_master_that_waits_for_workers_ends_and_writes_nothing(server, tmp_path):
    port = ports()[0].partition("=")[2]
    arguments = ["--headless", "--master", "--expect-workers", 2, "--master-bind-port", port]
    process = locust(server.url, tmp_path, *arguments)
    until(process, lambda: listening(process.pid, int(port)))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert "interrupted before anything was sent" in ended(process)
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


def listening(pid: int, port: int) -> bool:
    return any(each.laddr and each.laddr.port == port for each in psutil.Process(pid).net_connections("tcp"))


DELAYS = (1.2, 2.2, 3.2), (0.3, 1.8, 2.6, 4.0, 5.0)
"""Seconds: in CI, and besides in `make test-faults`."""


@pytest.mark.parametrize(
    ("processes", "delays"),
    [
        (1, DELAYS[0]),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((1, DELAYS[1]), (2, sum(DELAYS, ())))),
    ],
)
def test_whenever_it_comes_nothing_is_half_written(server, tmp_path, processes, delays):
    """From the first import to the report: either nothing at all, or a whole run."""
    for number, delay in enumerate(delays):
        folder = tmp_path / str(number)
        folder.mkdir()
        several = ["--processes", processes] if processes > 1 else []
        arguments = ["--headless", *several, "--arrivals", "constant:rate=20", "--seconds", 1, "--percentile", 50]
        process = locust(server.url, folder, *arguments, first=os.getpid)  # so it has yet to import everything
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGTERM)
        ended(process)
        files = {file.name for file in folder.rglob("*") if file.is_file()} - {"locust.html"}
        assert files in (set(), {"run.json", "summary.json", "samples.parquet"}), delay


@SIGNALS
def test_a_comparison_ends_with_what_was_measured_and_its_report(server, tmp_path, number):
    """SIGTERM comes three times at once, as `timeout` signals its child and then its whole group: it counts once."""
    own = ["--url", server.url, "--state", server.state, "--reports", tmp_path]
    process = start("bench", *BENCH, *own)
    until(process, lambda: len(list(tmp_path.glob("*/audio/*/round-*.json"))) >= 2)
    time.sleep(1)
    for _ in range(3 if number == signal.SIGTERM else 1):
        process.send_signal(number)
        time.sleep(0.02)
    output = ended(process)
    assert process.returncode == 130
    assert (
        "interrupted: what follows is what was measured until here; go on with: crossover compare --continue" in output
    )
    directory = only(tmp_path)
    assert json.loads((directory / "summary.json").read_text())["complete"] is False
    assert (directory / "report.html").stat().st_size > 10_000
    assert not [file for file in directory.rglob("*") if file.suffix in (".part", ".journal", ".reasons")]


SLOW_REPORT = (
    "import time; from crossover.report import html; whole = html.write; "
    "html.write = lambda *a: (time.sleep(3), whole(*a))"
)


COMMANDS = ["crossover compare", "crossover soak", "crossover report"]


@pytest.mark.parametrize("module", COMMANDS)
@SIGNALS
def test_a_signal_while_a_command_is_being_imported_is_one_line(tmp_path, module, number):
    """numpy, which each of them imports, stands still here."""
    stands_still = f"import pathlib, time; pathlib.Path({str(tmp_path)!r}, 'now').touch(); time.sleep(600)"
    (tmp_path / "numpy.py").write_text(stands_still)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", *module.split(), "--help"], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until(process, (tmp_path / "now").exists)
    process.send_signal(number)
    assert (ended(process).strip(), process.returncode) == ("interrupted", 130)


IMPORTS_IN_C = """
import sys, time
try:
    import second  # as C code imports another module
except BaseException:
    raise ImportError("failed to import") from None
"""


def test_a_signal_that_an_import_would_turn_into_an_importerror_waits_for_its_end(tmp_path):
    """numpy's import_array() does so; what ended the process then was a traceback."""
    (tmp_path / "first.py").write_text(IMPORTS_IN_C)
    (tmp_path / "second.py").write_text("import _thread, time; _thread.interrupt_main(); time.sleep(0.1)")
    script = "import sys, time; from loadgen import command; "
    script += "sys.exit(command.run(lambda: (__import__('first'), time.sleep(60))))"
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout, process.stderr.strip()) == (130, "", "interrupted")


STANDS_STILL = """
import pathlib, gevent.monkey
pathlib.Path({folder!r}, "now").touch()
gevent.monkey.get_original("time", "sleep")(600)
"""


def installed(folder: Path) -> dict:
    """The environment of a process for which this project is installed, as `make env` does, with `folder` before it."""
    text = (ROOT / "pyproject.toml").read_text()
    group, line = re.search(r'^\[project\.entry-points\."(gevent[^"]+)"\].*\n(.+)$', text, re.M).groups()
    (there := folder / "crossover-0.dist-info").mkdir()
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: crossover\nVersion: 0\n")
    (there / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}


@SIGNALS
@pytest.mark.parametrize("file", ["image", "own"])
def test_a_signal_while_locust_imports_itself_is_one_line(tmp_path, number, file):
    """urllib3, which Locust imports right after it has patched the standard library, stands still here."""
    (tmp_path / "urllib3.py").write_text(STANDS_STILL.format(folder=str(tmp_path)))
    process = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", f"loadgen/{file}.py", "--headless", "--reports", tmp_path / "reports"],
        cwd=ROOT, env=installed(tmp_path), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until(process, (tmp_path / "now").exists)
    process.send_signal(number)
    assert (ended(process), process.returncode) == ("interrupted before anything was sent\n", 130)
    assert not (tmp_path / "reports").exists()


def test_other_locustfiles_and_programs_keep_their_handlers(tmp_path):
    (tmp_path / "image.py").write_text("")
    ours = [["-f", "loadgen/image.py"], ["-floadgen/own.py"], [f"--locustfile=x.py,{ROOT}/loadgen/audio.py"]]
    assert all(map(first_signals.runs_ours, ours))
    others = [["-f", str(tmp_path / "image.py")], ["loadgen/image"], ["-m", "x"], [""], ["benchmarks/dispatch.py"]]
    assert not any(map(first_signals.runs_ours, others))
    script = "import signal; before = signal.getsignal(signal.SIGINT); from gevent import monkey; monkey.patch_all(); "
    script += "assert signal.getsignal(signal.SIGINT) is before"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=installed(tmp_path), check=True)


DELETES_SLOWLY = """
import gc, io, os, signal, sys, time
from loadgen import command, interrupts

def end():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)

class Slow:
    def __del__(self):
        end()

class Unclosed(io.RawIOBase):
    def close(self):
        super().close()
        end()

def main():
    if "silently" in sys.argv:
        unclosed = Unclosed()
        unclosed.itself = unclosed
        del unclosed
        gc.collect()
    else:
        Slow()
    if "deferred" in sys.argv:
        with interrupts.defer_interrupts():
            time.sleep(0.5)
            print("written", flush=True)
    time.sleep(600)

sys.exit(command.run(main))
"""


@pytest.mark.parametrize("dropped", ["", "silently"])
@pytest.mark.parametrize("then", ["", "deferred"])
def test_a_signal_that_python_drops_as_an_object_is_being_deleted_is_not_lost(then, dropped):
    command = [sys.executable, "-c", DELETES_SLOWLY, then, dropped]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (process.returncode, process.stdout) == (130, "written\n" if then else ""), process.stderr
    assert process.stderr.strip() == "interrupted"


COLLECTS_GARBAGE = """
import _thread, collections, functools, gc, operator, signal, sys, time
from loadgen import interrupts

def stop(count):
    print("asked", count, flush=True)
    sys.exit(7)

interrupts.install(stop)
arrives = functools.partial(_thread.interrupt_main, signal.SIGTERM)
# All of it in C, so that the first Python code to see the signal is what the collector calls.
collections.deque(map(operator.call, [arrives, gc.collect] if sys.argv[1] == "begins" else []))

class Deleted:
    def __del__(self):
        arrives()
        time.sleep(0.01)

if sys.argv[1] == "deletes":
    Deleted()
time.sleep(30)
"""


@pytest.mark.parametrize(("moment", "times"), [("begins", 1), ("deletes", 2)])
def test_what_a_signal_raises_besides_keyboardinterrupt_is_not_lost_either(moment, times):
    """Locust's is SystemExit; what is dropped is raised once more, and nobody sees a traceback."""
    command = [sys.executable, "-c", COLLECTS_GARBAGE, moment]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (7, "asked 1\n" * times, "")


def test_a_report_that_is_being_written_is_finished(server, tmp_path):
    own = ["--url", server.url, "--state", server.state, "--reports", tmp_path]
    short = ["audio", "--seconds", 5, "--rounds", 1, "--arrivals", "poisson:rate=8"]
    process = start("bench", *short, *own, shorter=SLOW_REPORT)
    until(process, lambda: list(tmp_path.glob("*/summary.json")))
    process.send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 130
    assert (only(tmp_path) / "report.html").stat().st_size > 10_000
    assert "samples, summary.json and report.html: " in output


def test_a_second_signal_cuts_a_report_short_and_leaves_no_half_of_it(server, tmp_path):
    own = ["--url", server.url, "--state", server.state, "--reports", tmp_path]
    short = ["audio", "--seconds", 5, "--rounds", 1, "--arrivals", "poisson:rate=8"]
    process = start("bench", *short, *own, shorter=SLOW_REPORT.replace("(3)", "(30)"))
    until(process, lambda: list(tmp_path.glob("*/summary.json")))
    process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 130
    assert "its report can be made (again) by: crossover report" in output
    assert not (only(tmp_path) / "report.html").exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("pipe", [pytest.param("| head -1", marks=pytest.mark.long), "2>&1 | head -1"])
def test_a_measurement_goes_on_where_the_reader_of_its_output_has_enough(server, tmp_path, pipe):
    own = f"--url {server.url} --state {server.state} --reports {tmp_path}"
    bench = f"{sys.executable} -m crossover compare audio --seconds 10 --rounds 2 --arrivals poisson:rate=8 {own}"
    script = f"set -o pipefail; {bench} {pipe}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 3), done
    assert done.stdout.count("\n") == 1 and not done.stderr
    assert (only(tmp_path) / "report.html").exists() and (only(tmp_path) / "summary.json").exists()
