"""Laws of the launcher: up, down, status, logs, and the one line that each failure gets."""

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serving import Failure, commands, docker, environment_folders, local, settings, smoke_test, state, wheel
from tests.conftest import ROOT, launch, ports

UP = ("up", "--engine=local", "--weights=tiny")


def left_of(directory: Path) -> list:
    """Processes, shared memory, folders of backends and the state file that bear the name of this server."""
    name = state.name(directory)
    memory, files = local.SHM.glob(f"{name}.*"), directory.glob("*server.json*")
    return [*local.processes(name), *memory, *folders_of_backends(name), *files]


def folders_of_backends(name: str) -> list[Path]:
    """What Triton's Python backend would leave in /tmp."""
    return [mark.parent for mark in environment_folders.PARENT.glob(f"{environment_folders.PATTERN}/{name}")]


def refused(done, *words) -> None:
    """The command exited 1 with one line that says all of this."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("crossover") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr


def same_ports(server) -> list[str]:
    return [f"--{kind}-port={getattr(server, f'{kind}_port')}" for kind in ("http", "grpc", "metrics")]


def test_up_again_changes_nothing_and_says_so(server):
    before = local.processes(server.name), (server.state / "server.json").read_text()
    done = launch(*UP, f"--state={server.state}", *same_ports(server))
    assert done.returncode == 0, done.stderr
    assert "nothing was changed" in done.stdout
    assert (local.processes(server.name), (server.state / "server.json").read_text()) == before


@pytest.mark.parametrize("other", ["--weights=real", "--cores=0", "--host=0.0.0.0", "--grpc-port=18299", "--shm"])
def test_up_with_other_wishes_asks_for_down_first(server, other):
    if other == "--cores=0" and server.cores == [0]:
        pytest.skip("this machine has one core")
    before = local.processes(server.name)
    done = launch(*UP, f"--state={server.state}", *same_ports(server), other)
    refused(done, other.split("=")[0], "down")
    assert local.processes(server.name) == before


def test_a_bare_up_leaves_any_server_and_says_how_it_differs_from_what_would_be_started(server):
    before = local.processes(server.name)
    done = launch("up", f"--state={server.state}")
    assert done.returncode == 0, done.stderr
    assert "already up and answering; nothing was changed" in done.stdout and "STAND-IN WEIGHTS" in done.stdout
    assert f"it was started with --weights tiny, --http-port {server.http_port}, " in done.stdout
    assert local.processes(server.name) == before


@pytest.mark.parametrize("tool", ["make", "crossover"])
def test_a_hint_names_the_tool_that_was_called(server, tool):
    done = launch("up", f"--state={server.state}", "--weights=real", CROSSOVER_TOOL=tool)
    refused(done, "already up with --weights tiny, and this call has --weights real", f"with `{tool} down`")


def test_status_says_what_runs_and_logs_what_it_wrote(server):
    done = launch("status", f"--state={server.state}")
    assert done.returncode == 0, done.stderr
    assert server.url in done.stdout and "image and audio answer" in done.stdout and "STAND-IN WEIGHTS" in done.stdout
    done = launch("logs", "-n", "100000", f"--state={server.state}")
    assert "Started HTTPService" in done.stdout


def test_a_reader_of_the_log_that_has_enough_is_no_error(tmp_path):
    (tmp_path / "server.log").write_text("a line of the log\n" * 100_000)
    pipe = f"{sys.executable} -m crossover logs -n 100000 --state={tmp_path} | head -3"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 3, "")


def test_logs_of_a_server_whose_log_was_removed_says_so(server):
    log, aside = server.state / "server.log", server.state / "aside"
    log.rename(aside)
    try:
        refused(launch("logs", f"--state={server.state}"), log, "was removed")
    finally:
        aside.rename(log)


def test_up_clears_what_a_crash_left_and_down_clears_what_runs(tmp_path):
    up = *UP, f"--state={tmp_path}", *ports()
    assert launch(*up).returncode == 0
    servers, stubs = [], []
    for pid, program in local.processes(state.name(tmp_path)).items():
        if program in (local.SERVER, local.STUB):
            (servers if program == local.SERVER else stubs).append(psutil.Process(pid))
        else:
            os.kill(pid, signal.SIGSTOP)  # the supervisor, who would repair it
    for stub in stubs:
        stub.kill()
    refused(launch("status", f"--state={tmp_path}"), "Stub process")
    refused(launch(*up), "Stub process", "down")
    servers[0].kill()
    psutil.wait_procs(servers, timeout=300)
    done = launch("status", f"--state={tmp_path}")
    died, again = "the server that `up` started has died", f"{' '.join(('crossover', *up))}` starts it again\n"
    assert done.returncode == 1 and done.stdout.startswith(died) and done.stdout.endswith(again)
    for command in (["infer"], ["check", "image", "--arms=client,client+grpc"], ["load", "image", "--seconds=12"]):
        refused(launch(*command, f"--state={tmp_path}"), f"; {died}; its log: {tmp_path / 'server.log'}; `", again)
    log = (tmp_path / "server.log").read_text()
    before = left_of(tmp_path)
    assert len(folders_of_backends(state.name(tmp_path))) == 3  # of the Python backend and of both twins

    assert launch(*up).returncode == 0
    assert before and not set(before) & set(left_of(tmp_path)) - {tmp_path / "server.json"}
    assert (tmp_path / "server.log.1").read_text() == log
    assert launch("logs", f"--state={tmp_path}").stderr.endswith(f"{tmp_path / 'server.log.1'}\n")
    assert launch("down", f"--state={tmp_path}").stdout == "stopped\n"
    assert left_of(tmp_path) == []


@pytest.fixture
def starting(tmp_path):
    """A launcher in the middle of `up`: its tritonserver runs, its models are not loaded yet."""
    command = [sys.executable, "-m", "crossover", *UP, f"--state={tmp_path}", *ports()]
    launcher = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while launcher.poll() is None and not local.alive(state.name(tmp_path)):
        time.sleep(0.01)
    yield launcher
    launcher.kill()
    launcher.communicate()
    local.stop(state.name(tmp_path), patience=0)


def test_a_server_that_dies_during_the_start_is_reported_with_its_log(starting, tmp_path):
    for pid, program in local.processes(state.name(tmp_path)).items():
        if program == "tritonserver":
            os.kill(pid, signal.SIGKILL)
    _, errors = starting.communicate(timeout=120)
    refused(subprocess.CompletedProcess([], starting.returncode, "", errors), tmp_path / "server.log")
    assert left_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(starting, tmp_path, number):
    starting.send_signal(number)
    _, errors = starting.communicate(timeout=120)
    assert (starting.returncode, errors) == (130, "\ninterrupted\n")
    assert left_of(tmp_path) == []


def test_a_second_up_waits_its_turn(starting, tmp_path):
    refused(launch(*UP, f"--state={tmp_path}", *ports()), "another", tmp_path)


def test_the_wheels_own_stub_keeps_its_mode(tmp_path):
    """tritonserver changes it if SIGCHLD is ignored, even where whoever started us ignored it."""
    stub, state_directory = wheel.stub(wheel.installed() / "pytriton/tritonserver"), f"--state={tmp_path}"
    before, handler = stub.stat().st_mode, signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        subprocess.run([sys.executable, "-m", "crossover", *UP, state_directory, *ports()], cwd=ROOT, check=False)
    finally:
        signal.signal(signal.SIGCHLD, handler)
        after = stub.stat().st_mode
        stub.chmod(before)
        launch("down", state_directory)
    assert after == before


def test_down_and_status_of_nothing_say_so(tmp_path):
    done = launch("down", f"--state={tmp_path}")
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")
    done = launch("status", f"--state={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "nothing is running\n")
    done = launch("logs", f"--state={tmp_path}")
    assert (done.returncode, done.stdout, done.stderr) == (1, "nothing is running\n", "")


def test_down_leaves_a_server_that_it_may_not_look_into_as_it_is(server):
    """From another user namespace it found no process of the server's, and removed its record and shared memory."""
    command = ["unshare", "--map-root-user", sys.executable, "-m", "crossover", "down", f"--state={server.state}"]
    if subprocess.run([*command[:2], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may make no namespace")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert "is another user's, or of another namespace; stop it where it was started" in line
    assert (server.state / "server.json").exists() and list(local.SHM.glob(f"{server.name}.*"))


def test_without_docker_the_server_is_a_local_process_and_up_says_how_to_force_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    engine, why = commands.choose("auto")
    assert engine == "local" and "no docker command" in why and "--engine docker" in why
    with pytest.raises(Failure, match="--engine local"):
        commands.choose("docker")


@pytest.mark.parametrize("flag", ["models", "workload", "shm", "on-cpu"])
def test_what_only_a_local_server_can_do_is_done_by_one_unless_a_container_is_asked_for(monkeypatch, flag):
    monkeypatch.setattr(docker, "obstacle", lambda: None)
    assert commands.choose("auto", [flag]) == ("local", f"--{flag} is for a local server")
    assert commands.choose("auto")[0] == "docker"
    with pytest.raises(Failure, match=f"--{flag} is for a local server, and --engine docker asks for a container"):
        commands.choose("docker", [flag])


# what up refuses


def test_a_container_whose_engine_is_gone_can_be_cleared(server, tmp_path):
    record = json.loads((server.state / "server.json").read_text())
    gone = {**record, "engine": "docker", "container_pid": 1, "name": state.name(tmp_path)}
    (tmp_path / "server.json").write_text(json.dumps(gone))
    done = launch("down", f"--state={tmp_path}", DOCKER_HOST="unix:///none")
    assert done.returncode == 0, done.stderr
    warning, stopped = done.stdout.splitlines()
    assert warning.startswith("!! ") and "ocker" in warning and f"the containers of {gone['name']}" in warning
    assert stopped == "forgotten, not stopped" and left_of(tmp_path) == []
    assert launch("down", f"--state={tmp_path}").stdout == "nothing was running\n"


@pytest.mark.parametrize("kind", ["http", "grpc", "metrics"])
def test_a_port_in_use_is_named(tmp_path, kind):
    flags = ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = launch(*UP, f"--state={tmp_path}", *flags, f"--{kind}-port={port}")
    refused(done, port, "in use", f"--{kind}-port")
    assert left_of(tmp_path) == []


def test_a_missing_network_is_named_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.model_loader.STEPS", tmp_path)
    from serving import model_loader

    with pytest.raises(Failure, match=r"resnet50/1/model.onnx is missing; run `make models`"):
        model_loader.steps("real", tmp_path)


def up_without_networks(folder: Path, *flags) -> subprocess.CompletedProcess:
    """`crossover up --weights real` where no network is exported, and where no disk has room for an export."""
    script = "import sys; from pathlib import Path; from models import environment, make; from serving import "
    script += "model_loader; from loadgen import command; from crossover.cli import main; environment.ROOM = 1e9; "
    script += "model_loader.STEPS = make.ROOT = Path(sys.argv.pop(1)); sys.exit(command.run(main.main))"
    given = [folder / "checkout", "up", "--engine=local", "--weights=real", *flags]
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", script, *map(str, given)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_up_exports_missing_networks_but_not_where_another_server_is_in_the_way(tmp_path, server):
    state = f"--state={tmp_path}/state"
    done = up_without_networks(tmp_path, state, *ports())
    refused(done, "GiB free, the export needs")
    assert "the networks are not exported yet" in done.stdout and "RANDOM WEIGHTS" in done.stdout
    assert left_of(tmp_path / "state") == []

    done = up_without_networks(tmp_path, state, *ports(), "--no-export")
    refused(done, "resnet50/1/model.onnx is missing")
    assert "RANDOM WEIGHTS" not in done.stdout

    done = up_without_networks(tmp_path, state, *same_ports(server))
    refused(done, "in use", "--http-port")
    assert "exported" not in done.stdout

    done = up_without_networks(tmp_path, f"--state={server.state}", *same_ports(server))
    refused(done, "already up with --weights tiny, and this call has --weights real; stop it first")
    assert "exported" not in done.stdout


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    refused(launch(*UP, f"--state={tmp_path}/file/state"), tmp_path / "file/state", "--state")


@pytest.mark.parametrize(
    ("name", "character"), [("a b", "space"), ("it's", '"\'"'), ("a$HOME", "'$'"), ("a(1)", "'('")]
)
def test_a_path_that_triton_would_not_quote_is_named_before_anything_starts(tmp_path, name, character):
    """Each Python model's stub would die as it begins, and nobody would say of what."""
    words = f"{tmp_path / name}: Triton starts Python models by a shell, and quotes no {character} in a path"
    refused(launch(*UP, f"--state={tmp_path / name}", *ports()), words, "as --state")
    model = tmp_path / name / "model"
    model.mkdir()
    (model / "config.pbtxt").touch()
    given = ["up", "--engine=local", "--only", f"--models={tmp_path / name}", f"--state={tmp_path / 'state'}"]
    done = launch(*given, *ports())
    refused(done, words)
    assert "as --state" not in done.stderr and "starting" not in done.stdout


def test_a_pipe_in_place_of_the_lock_lets_nobody_wait(tmp_path):
    """Opening it would wait for somebody who reads it."""
    os.mkfifo(tmp_path / "lock")
    done = launch("down", f"--state={tmp_path}", timeout=60)
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_has_the_logs_place_and_is_no_file_is_named_and_nothing_is_left(tmp_path, kind):
    log = tmp_path / "server.log"
    {"folder": log.mkdir, "pipe": lambda: os.mkfifo(log), "link": lambda: log.symlink_to("nowhere")}[kind]()
    refused(launch(*UP, f"--state={tmp_path}", *ports(), timeout=60), log, "is no file; remove it")
    assert left_of(tmp_path) == []


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_folder_in_place_of_the_record_is_named(tmp_path, command):
    (tmp_path / "server.json").mkdir()
    given = [*UP, *ports()] if command == "up" else [command]
    refused(launch(*given, f"--state={tmp_path}"), tmp_path / "server.json", "is a directory")


def test_a_file_that_a_full_disk_does_not_take_is_named(tmp_path):
    with pytest.raises(Failure, match=r"^there: no space left on device; mend that"), state.locked(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "from", None, "there")


def test_numpy_2_is_refused_because_the_stubs_would_read_garbage(tmp_path):
    fake = tmp_path / "site" / "numpy-2.1.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.0\n")
    refused(launch(*UP, f"--state={tmp_path}", PYTHONPATH=str(tmp_path / "site")), "numpy 2.1.0", "numpy < 2")


def test_an_interpreter_of_another_environment_is_refused_with_what_it_lacks(tmp_path):
    bare = Path(sys.base_prefix) / "bin" / f"python{wheel.MINOR}"
    path = os.pathsep.join(["/usr/bin", "/bin"])
    refused(launch(*UP, f"--state={tmp_path}", python=bare, PATH=path), "is missing from this environment", "make env")


def test_what_runs_in_a_container_needs_no_more_than_the_gpu_servers_image_has():
    program = "import sys, serving.__main__; print(sorted({'click', 'rich', 'gevent', 'locust'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["up", "down", "status", "logs"])
def test_what_people_type_is_no_command_of_the_containers_program(command):
    done = launch(command, module="serving")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "invalid choice" in done.stderr and "run" in done.stderr


def test_the_launcher_imports_nothing_that_takes_long(tmp_path):
    program = "import sys; from crossover.cli.main import main; main(['down', '--state', sys.argv[1]]); "
    program += "print(sorted({'numpy', 'scipy', 'matplotlib', 'tritonclient', 'gevent'} & set(sys.modules)))"
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_status_as_json_is_one_document(server, tmp_path):
    done = launch("status", "--json", f"--state={server.state}")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["url"], facts["weights"], facts["not_ready"]) == (0, server.url, "tiny", [])
    on_gpu = [step for step, share in server.plan.items() if "gpu" in share]
    assert (facts["card"], facts["on_gpu"]) == (server.card, on_gpu)
    assert facts["running"] and facts["answers"] and not facts["problem"] and facts["supervised"]
    done = launch("status", "--json", f"--state={tmp_path}")
    nothing = {"running": False, "answers": False, "problem": "nothing is running"}
    assert (done.returncode, json.loads(done.stdout)) == (1, nothing)


def test_the_grpc_and_metrics_ports_follow_the_http_port():
    options = SimpleNamespace(cores="0", host="localhost", http_port="9000", grpc_port=None, metrics_port=None)
    options.on_cpu, options.models = ["wav2vec2", "resnet50", "resnet50"], []
    options.only, options.requirements, options.admission, options.weights = False, "", False, "tiny"
    settings.complete(options)
    assert options.on_cpu == ["resnet50", "wav2vec2"]
    assert (options.host, options.cores) == ("127.0.0.1", [0])
    assert (options.http_port, options.grpc_port, options.metrics_port) == (9000, 9001, 9002)


def test_an_environment_without_the_wheel_is_refused_with_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "installed", lambda: None)
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", "/bin"]))
    with pytest.raises(Failure, match="the wheel is missing from this environment; run `make env`"):
        wheel.tritonserver(tmp_path)


def test_a_python_that_the_wheel_has_no_stub_for_is_told_which_it_has():
    with pytest.raises(Failure, match=r"no stub for Python 3.7, only for 3.8, .*3.10"):
        wheel.stub(wheel.installed() / "pytriton/tritonserver", "3.7")


def test_a_missing_libpython_is_named_with_its_package(tmp_path):
    stub = wheel.stub(wheel.installed() / "pytriton/tritonserver", "3.8")
    _, environment = wheel.tritonserver(tmp_path)
    with pytest.raises(Failure, match=r"libpython3.8.so.1.0.*apt install libpython3.8`"):
        wheel.check_libraries(stub, environment)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start"], "status"),
        (["up", "--engine=podman"], "docker"),
        (["up", "--cores=many"], "0-3,6"),
        (["up", "--slo=-1"], "x>=0"),
        (["up", "--slo=soon"], "soon"),
        (["up", "--http-port=x"], "--http-port: 'x' is no port; expected a number from 1 to 65535"),
        (["up", "--http-port=65535"], "--grpc-port: '65536' is no port"),
        (["up", "--grpc-port=8000"], "must differ"),
        (["up", "--host=no.such.host.invalid"], "127.0.0.1"),
        (["up", "--weights=tiny", "--nonsense"], "nonsense"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(arguments, words):
    done = launch(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and words in done.stderr


def test_the_smoke_tests_sound_is_a_wav_file_of_the_length_it_says():
    with wave.open(io.BytesIO(smoke_test.chirp(seconds=0.25))) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (16000, 4000)
