"""What the README tells a reader to type exists."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def help_of(*command) -> str:
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_every_make_target_named_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    assert {"bench", "test", "up", "down"} <= named
    assert named <= TARGETS


def test_every_make_target_has_its_line_of_help():
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    public = {target for target in TARGETS if not target.startswith(".")}
    assert {line.split()[0] for line in listed.splitlines()} == public


@pytest.mark.parametrize("workload", ["image", "audio"])
def test_every_locust_flag_named_exists(workload):
    lines = [command for command in COMMANDS if f"locust -f loadgen/{workload}.py" in command]
    assert lines
    # `locust --help` leaves a locustfile's own arguments out; the parser that Locust makes of both has them
    program = f"import loadgen.{workload}, locust.argument_parser as parser; parser.get_parser().print_help()"
    known = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for flag in re.findall(r"--[a-z-]+", " ".join(lines)):
        assert flag in known


def test_every_crossover_command_takes_the_flags_it_is_given():
    lines = [command for command in COMMANDS if command.startswith("crossover ")]
    assert lines
    for line in lines:
        known = help_of(sys.executable, "-m", *line.split()[:2])
        for flag in re.findall(r"--[a-z-]+", line):
            assert flag in known, f"{line}: {flag}"


def test_every_module_run_with_python_m_takes_the_flags_it_is_given():
    lines = [command for command in COMMANDS if "python -m " in command]
    assert lines
    for line in lines:
        module = re.search(r"python -m ([a-z.]+)", line).group(1)
        known = help_of(sys.executable, "-m", module)
        for flag in re.findall(r"--[a-z-]+", line.partition(" compose ")[0]):  # the rest is docker compose's
            assert flag in known, f"{line}: {flag}"


def test_every_file_named_exists():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path
    folders = "loadgen|crossover|workloads|preprocess|models|serving|backends|tests|ensembles|model_repository"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", README):
        assert (ROOT / path).exists(), path
