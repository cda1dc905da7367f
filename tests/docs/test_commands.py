"""Every command of README and docs can be typed: its own parser takes it, or it is run against the test's server."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest

from crossover.cli.main import crossover
from serving import wheel
from serving.ports import free_ports
from serving.triton_api import TritonAPI
from tests import forks
from tests.conftest import ROOT
from tests.docs.pages import PAGES, Command, list_commands, read_blocks

COMMANDS = list_commands()
OTHERS = {
    ".": "the shell's",
    "export": "the shell's",
    "mkdir": "",
    "cp": "",
    "prometheus": "its flags are those of tests/observe",
    "perf_analyzer": "NVIDIA's: run by `make bench-loadgen`",
    "pip": "",
    "helm": "Helm's: tests/chart renders the same chart by its library",
    "docker": "Docker's",
    "kubectl": "Kubernetes': no test has a cluster",
    "tritonserver": "run so by the tests of the examples",
    "$TRITON/bin/tritonserver": "run below",
}


ADD_ONE = """
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        inputs = [backend.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [backend.InferenceResponse([backend.Tensor("y", x + 1)]) for x in inputs]
"""


def of(program: str) -> list[Command]:
    return [each for each in COMMANDS if each.words[0] == program]


def each(program: str, chosen: Callable[[Command], bool] = lambda _: True):
    return pytest.mark.parametrize("command", [found for found in of(program) if chosen(found)], ids=str)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: files of their own, the example of docs/own-pipeline.md, and the repository's."""
    place = tmp_path_factory.mktemp("reader")
    photograph = ROOT / "workloads" / "photographs" / "cat.jpg"
    for name in ("photos", "my-photos", "my-recordings"):
        (place / name).mkdir()
        shutil.copy(photograph, place / name)
    shutil.copy(photograph, place / "photo.jpg")
    for name in ("workloads", "examples"):
        (place / name).symlink_to(ROOT / name)
    (place / "my_pipeline.py").write_text(read_blocks(PAGES["docs/own-pipeline.md"], "python")[0])
    return place


def test_there_are_commands_of_every_program():
    programs = {command.words[0] for command in COMMANDS}
    assert programs == {"crossover", "make", "locust", "python", "curl", *OTHERS}


@each("crossover")
def test_crossover_takes_its_arguments(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    parse(*command.words[1:])


def parse(name: str, *arguments: str) -> None:
    """Parse the arguments of `crossover <name>`; the name alone may stand for the command.

    Raises click.UsageError for what it does not take.
    """
    with crossover.make_context("crossover", [name]) as context:
        taken = crossover.get_command(context, name)
        assert taken, f"there is no command {name}"
        try:
            taken.make_context(name, list(arguments), parent=context)
        except click.exceptions.Exit as shown:  # --help
            assert shown.exit_code == 0
        except click.MissingParameter:
            if arguments:
                raise


WRONG = (("nonsense",), ("compare", "--nonsense"), ("up", "--engine", "nonsense"), ("arrivals", "--no-plot"))


@pytest.mark.parametrize("arguments", WRONG)
def test_what_is_wrong_is_noticed(arguments):
    with pytest.raises((click.UsageError, AssertionError)):
        parse(*arguments)


def test_every_command_of_crossover_is_in_the_docs():
    with crossover.make_context("crossover", ["up"]) as context:
        assert set(crossover.list_commands(context)) <= {command.words[1] for command in of("crossover")}


@each("make")
def test_make_has_the_target(command):
    done = subprocess.run(["make", "-n", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_make_target_has_its_line_of_help():
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M)
    assert {line.split()[0] for line in listed.splitlines()} == set(targets)


@each("python", lambda found: found.words[1] != "-m")
def test_a_script_is_there_and_takes_its_flags(command):
    command = [sys.executable, *command.words[1:], "--help"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0


@each("python", lambda found: found.words[1] == "-m" and not found.words[2].startswith("tests."))
def test_a_module_takes_its_flags(command):
    known = write_help(command.words[2])
    rest = command.words[3:]
    own = rest[: rest.index("compose")] if "compose" in rest else rest  # the rest is docker compose's
    for flag in re.findall(r"--[a-z-]+", " ".join(own)):
        assert flag in known, f"{command}: {flag}"


@cache
def write_help(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout


@each("python", lambda found: found.words[1] == "-m" and found.words[2].startswith("tests."))
def test_a_module_of_the_tests_can_be_run(command):
    found = importlib.util.find_spec(command.words[2])
    assert '__name__ == "__main__"' in Path(found.origin).read_text()


LOCUSTFILES = [found.words for found in of("locust") if found.words[1] == "-f"]


@pytest.mark.parametrize("file", sorted({Path(words[2]).stem for words in LOCUSTFILES}))
def test_locust_takes_its_flags(file, folder):
    """Locust's own parser, which knows a locustfile's flags once that is imported, takes each line of this file."""
    lines = [words[1:] for words in LOCUSTFILES if Path(words[2]).stem == file]
    program = (
        "import importlib, json, sys\n"
        f"lines = json.loads(sys.argv.pop()); sys.argv += lines[0]; importlib.import_module('loadgen.{file}')\n"
        "from locust.argument_parser import parse_options\n"
        "from loadgen.locust_plugin import ports\n"
        "ports.check_port = lambda host, port, *_: port  # another program may have it at this moment\n"
        "for line in lines:\n"
        "    try:\n        parse_options(line)\n"
        "    except SystemExit as shown:  # --flags\n        assert not shown.code, line\n"
    )
    done = forks.run("locust", json.dumps(lines), script=program, cwd=folder)
    assert done.returncode == 0, done.stderr


@each("curl")
def test_curl_gets_an_answer(command, server, folder):
    assert "localhost:8000" in " ".join(command.words)
    words = [word.replace("localhost:8000", server.url.partition("//")[2]) for word in command.words]
    done = subprocess.run(["curl", "--fail", *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "200\n" or json.loads(done.stdout)


def test_the_wheels_tritonserver_serves_a_repository_with_the_lines_of_the_page(tmp_path):
    [block] = [each for each in read_blocks(PAGES["docs/own-pipeline.md"], "sh") if "my_backends" in each]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "my_repository" / "add_one" / "1").mkdir(parents=True)
    (tmp_path / "my_repository" / "add_one" / "1" / "model.py").write_text(ADD_ONE)
    tensors = "input { name: 'x' data_type: TYPE_FP32 dims: [-1] } output { name: 'y' data_type: TYPE_FP32 dims: [-1] }"
    (tmp_path / "my_repository" / "add_one" / "config.pbtxt").write_text(f"backend: 'python' {tensors}")
    http, grpc, metrics = free_ports()
    flags = f"--http-port={http} --grpc-port={grpc} --metrics-port={metrics} --http-address=127.0.0.1"
    lines = f"{block.strip().replace('3.11', wheel.MINOR)} {flags} > log 2>&1"
    started = subprocess.Popen(["bash", "-c", lines], cwd=tmp_path, start_new_session=True)
    try:
        api = TritonAPI(f"127.0.0.1:{http}")
        while not api.is_ready("add_one"):
            assert started.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
        content, _ = api.call("/v2/models/add_one/infer", json.dumps(body).encode())
        assert json.loads(content)["outputs"][0]["data"] == [2]
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait()


@pytest.mark.long
def test_a_reader_gets_to_a_result_of_their_own(server, folder):
    """README's comparison with a folder and a rate of one's own, as it stands there but for its length."""
    [line] = [found.words for found in of("crossover") if found.page == "README.md" and "--payloads" in found.words]
    arguments = ["20" if before == "--seconds" else word for before, word in pairwise(line)]
    command = [sys.executable, "-m", "crossover", *arguments, "--url", server.url, "--state", str(server.state)]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: a machine that was too busy to measure on
    [report] = folder.glob("reports/*/report.html")
    assert "cat.jpg" in (report.parent / "run.json").read_text()
