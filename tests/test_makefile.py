"""The Makefile's aliases, in a folder of their own: what each runs, what none installs, which codes it passes on."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

READERS = ("status", "down", "logs")


@pytest.fixture
def make(tmp_path):
    """`make ...` in a folder with the Makefile and the requirements, as a fresh clone: (exit code, output, errors)."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    # MAKE* and ARGS would be those of a make that runs this test.
    environment = {name: each for name, each in os.environ.items() if not name.startswith("MAKE") and name != "ARGS"}

    def run(*arguments: str) -> tuple[int, str, str]:
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def installed(make, tmp_path):
    """The same where everything is installed: a stand-in for Python ends with the code that stands in `code`."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$*" in *compare*|*status*|*logs*) exit $(cat code);; esac\n')
    python.chmod(0o755)
    (tmp_path / "code").write_text("0")
    for done in ("run.done", "test.done"):
        (tmp_path / ".venv" / done).touch()
    return make


@pytest.mark.parametrize("target", [*READERS, "clean"])
def test_in_a_fresh_clone_nothing_is_installed_by_what_only_looks_or_stops(make, tmp_path, target):
    code, output, errors = make(target)
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "nothing is installed, nothing runs"
    assert not (tmp_path / ".venv").exists()


def test_help_shows_first_what_a_newcomer_needs_and_is_what_make_alone_prints(make):
    code, output, _ = make()
    names = [line.split()[0] for line in output.splitlines()]
    assert (code, names[:5]) == (0, ["bench", "up", "down", "image", "audio"])
    assert output == make("help")[1] and all(len(line) <= 130 for line in output.splitlines())


@pytest.mark.parametrize("target", ["sweep", "overload", "soak"])
def test_what_starts_servers_of_its_own_has_the_networks_exported_first_and_tiny_ones_need_none(installed, target):
    assert "crossover models" not in installed("-n", target, "WEIGHTS=tiny")[1]
    assert "crossover models && " in installed("-n", target)[1]
    assert "crossover models --fp16 && " in installed("-n", target, "WEIGHTS=fp16")[1]


def test_bench_leaves_the_export_to_up_and_says_in_the_end_that_the_server_still_runs(installed):
    assert "crossover models" not in installed("-n", "bench")[1]
    assert installed("bench")[1].splitlines()[-1] == "the server still runs; `make down` stops it"


def test_variables_become_flags_and_unset_ones_leave_the_defaults_to_the_command(installed):
    given = ("WEIGHTS=tiny", "PORT=9000", "CORES=0-1", "ENGINE=local", "SLO=500", "HOST=0.0.0.0", "SHM=1")
    _, up, _ = installed("-n", "up", *given)
    assert up.split()[-1] == "--shm"
    for flag in ("--weights tiny", "--http-port=9000", "--cores=0-1", "--engine=local", "--slo=500", "--host=0.0.0.0"):
        assert flag in up
    _, up, _ = installed("-n", "up", "MODELS=my models", "ONLY=1", "REQUIREMENTS=r.txt", "WORKLOAD=w.py")
    assert "--models='my models' --requirements='r.txt' --workload='w.py' --only" in up
    assert "--only" not in installed("-n", "up", "MODELS=models", "ONLY=0")[1]
    _, up, _ = installed("-n", "up")
    assert up.split()[-1] == "up" and "=" not in up
    assert "up --weights real" in installed("-n", "up", "WEIGHTS=real")[1]
    assert all("up --weights real" in installed("-n", target)[1] for target in ("bench", "capacity"))
    assert "compare --seconds=80" in installed("-n", "bench", "QUICK=1")[1]
    assert "--seconds" not in installed("-n", "bench", "ARGS=--continue DIR")[1]


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 0), (1, 2), (2, 2), (4, 2), (130, 2)])
def test_only_a_measurement_that_decides_nothing_is_no_error_of_make(installed, tmp_path, code, ends):
    (tmp_path / "code").write_text(str(code))
    made, _, errors = installed("bench")
    assert made == ends
    # 130 is that somebody interrupted it, and no error of what was measured.
    assert (f"Error {code}" in errors) == bool(ends)


def test_a_sweep_starts_its_own_servers_and_no_other(installed):
    _, sweep, _ = installed("-n", "sweep", "WEIGHTS=tiny", "ENGINE=local")
    assert "crossover sweep --engine=local" in sweep and "crossover up" not in sweep


@pytest.mark.parametrize("target", ["status", "logs"])
def test_that_nothing_runs_is_an_error_of_make_only_where_a_server_was_started(installed, tmp_path, target):
    (tmp_path / "code").write_text("1")
    assert installed(target)[::2] == (0, "")
    (tmp_path / "code").write_text("2")
    assert installed(target)[0] == 2
    (tmp_path / "code").write_text("1")
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "server.json").touch()
    assert installed(target)[0] == 2


def test_observe_without_compose_is_one_line(installed, tmp_path, monkeypatch):
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'docker: unknown command: docker compose' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    code, output, errors = installed("observe", f"PATH={tmp_path}:{os.environ['PATH']}")
    assert (code, output) == (2, "make observe needs Docker with compose; without: docs/metrics.md\n")
    assert len(errors.splitlines()) == 1  # make's own, with the code


def test_setting_up_counts_packages_and_shows_what_goes_wrong(make, tmp_path):
    python = tmp_path / "python"
    lines = ["Collecting numpy<2 (from -r requirements/run.txt (line 1))", "  Using cached numpy.whl", "Collecting av"]
    lines += ["WARNING: Location 'file:///wheels' is ignored", "ERROR: no room left", "Collecting click"]
    lines += ["Installing collected packages: av, click, numpy"]
    says = "\n".join(f"echo '{line}'" for line in lines)
    venv, pip = 'mkdir -p .venv/bin; cp "$0" .venv/bin/python', f"{says}\nexit 1"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"-m venv"*) {venv};; *"-m pip"*) {pip};; esac\n')
    python.chmod(0o755)
    code, output, _ = make("env", f"PYTHON={python}")
    assert code == 2 and not (tmp_path / ".venv" / "run.done").exists()
    assert output.replace("\r", "\n").splitlines() == [
        "installing the environment into .venv: 2 GB, a minute or two",
        "ERROR: no room left", "  packages: 3, unpacking them",
    ]  # fmt: skip


def test_setting_up_without_a_network_is_one_line_that_says_so(make, tmp_path):
    """The real pip, asking an index at a port where nobody listens; what it installed would lie in `target`."""
    python = tmp_path / "python"
    settings = "PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_FIND_LINKS= PIP_RETRIES=1 PIP_CONFIG_FILE=/dev/null"
    venv = 'mkdir -p .venv/bin; cp "$0" .venv/bin/python'
    pip = f'{settings} PIP_TARGET={tmp_path}/target exec {sys.executable} "$@"'
    python.write_text(f'#!/bin/sh\ncase "$*" in *"-m venv"*) {venv};; *"-m pip"*) {pip};; esac\n')
    python.chmod(0o755)
    code, output, errors = make("env", f"PYTHON={python}")
    assert (code, len(output.splitlines())) == (2, 2), output
    assert output.splitlines()[1].startswith("the package index does not answer: ") and "PIP_INDEX_URL" in output
    assert len(errors.splitlines()) == 1  # make's own, with the code
    assert not (tmp_path / ".venv" / "run.done").exists()


@pytest.mark.parametrize(("flag", "gpu"), [("GPU=1", True), ("GPU=0", False), ("GPU=", False)])
def test_the_libraries_of_a_gpu_are_installed_where_one_is_asked_for(make, flag, gpu):
    code, output, _ = make("-n", "env", flag)
    assert code == 0 and ("requirements/gpu.txt" in output) is gpu
    assert ("uninstall --yes --quiet onnxruntime onnxruntime-gpu" in output) is gpu


@pytest.mark.parametrize(("flag", "says"), [("GPU=1", False), ("GPU=0", True), ("GPU=", False)])
def test_gpu_0_also_keeps_the_server_to_the_cpu(installed, tmp_path, flag, says):
    (tmp_path / ".venv" / "gpu.done").touch()
    assert ("--no-gpu" in installed("-n", "up", "WEIGHTS=tiny", flag)[1]) is says


def test_a_driver_that_answers_is_enough(make, tmp_path):
    """A stand-in for Python stands for a driver: what asks for it prints 1."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 1\n")
    python.chmod(0o755)
    assert "requirements/gpu.txt" in make("-n", "env", f"PYTHON={python}")[1]
    python.write_text("#!/bin/sh\necho 0\n")
    assert "requirements/gpu.txt" not in make("-n", "env", f"PYTHON={python}")[1]
