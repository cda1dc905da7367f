"""Laws of the moment when a process has only begun: what dies or is interrupted just then is still said and cleared.

Each race is forced: a process is stopped where it stands, or sends the signal itself from where it would hurt.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from crossover.cli.main import main
from serving import Failure, commands, local, model_loader, smoke_test, state
from serving.__main__ import parse
from serving.processes import stubs
from serving.supervisor import Supervisor
from serving.triton_api import TritonAPI
from tests.conftest import ROOT, launch, ports

GUARD = 120  # seconds: against a hang
UP = ("up", "--engine=local", "--weights=tiny")


def until(true) -> None:
    end = time.monotonic() + GUARD
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def left_of(directory) -> list:
    name = state.name(directory)
    return [*local.processes(name), *local.SHM.glob(f"{name}.*"), *directory.glob("*server.json*")]


def begin(*arguments, module: str = "crossover", **options) -> subprocess.Popen:
    """The launcher, which heeds Ctrl-C whatever this process does."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


@pytest.fixture
def starting(tmp_path):
    """A launcher that is stopped in the middle of `up`: its tritonserver runs, its models are not loaded yet."""
    launcher = begin(*UP, f"--state={tmp_path}", *ports())
    while launcher.poll() is None and not local.alive(state.name(tmp_path)):
        time.sleep(0.01)
    launcher.send_signal(signal.SIGSTOP)
    yield launcher
    launcher.kill()
    launcher.communicate()
    local.stop(state.name(tmp_path), patience=0)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory):
    """A server that may be hurt; `up` heals it, or starts another one, whatever the test before left."""
    directory = tmp_path_factory.mktemp("mortal")
    flags = ports()

    def up():
        if (done := launch(*UP, f"--state={directory}", *flags)).returncode:
            launch("down", f"--state={directory}")
            done = launch(*UP, f"--state={directory}", *flags)
        assert done.returncode == 0, done.stderr
        record = json.loads((directory / "server.json").read_text())
        return SimpleNamespace(**record, state=directory, up=up, said=done.stdout)

    try:
        yield up()
    finally:
        launch("down", f"--state={directory}")


def unsupervised(mortal):
    mortal = mortal.up()
    for pid in local.supervisors(mortal.name):
        local.kill(pid, signal.SIGKILL)
    until(lambda: not local.supervisors(mortal.name))
    return mortal


# a supervisor begins


def test_a_supervisor_whose_server_has_gone_before_it_begins_says_so(mortal):
    mortal = unsupervised(mortal)
    os.kill(mortal.pid, signal.SIGKILL)
    until(lambda: not local.alive(mortal.name))
    done = launch("supervise", f"--state={mortal.state}", module="serving")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"supervisor: tritonserver ({mortal.pid}) is gone; `crossover up` clears what it left" in done.stdout


def test_a_supervisor_whose_server_dies_while_it_begins_says_so(mortal):
    """The server is stopped, so that whatever the supervisor asks it first is not answered; then it is killed."""
    mortal = unsupervised(mortal)
    os.kill(mortal.pid, signal.SIGSTOP)
    supervisor = begin("supervise", f"--state={mortal.state}", module="serving")
    try:
        process = psutil.Process(supervisor.pid)
        until(lambda: any(each.raddr and each.raddr.port == mortal.http_port for each in process.net_connections()))
        os.kill(mortal.pid, signal.SIGKILL)
        told, errors = supervisor.communicate(timeout=GUARD)
        assert (supervisor.returncode, errors) == (1, "")
        assert f"supervisor: tritonserver ({mortal.pid}) is gone; `crossover up` clears what it left" in told
    finally:
        supervisor.kill()
        supervisor.communicate()


@pytest.mark.long
def test_a_number_that_is_another_processs_by_now_is_not_taken_for_the_server(mortal):
    mortal = mortal.up()
    said = []
    Supervisor(vars(mortal), said.append).watch(os.getpid())
    assert said == []


def test_a_model_that_a_killed_supervisor_had_unloaded_is_brought_back(mortal):
    mortal = unsupervised(mortal)
    api = TritonAPI(mortal.address, mortal.admin_key)
    api.unload("resnet50")
    until(lambda: api.index()["resnet50"] == "UNAVAILABLE")
    assert "its supervisor had ended and runs again" in mortal.up().said
    assert api.is_ready()


def test_a_stub_that_died_before_anybody_watched_is_replaced_and_its_memory_removed(mortal):
    mortal = unsupervised(mortal)
    [victim] = [stub for stub in stubs(mortal.name) if stub.model == "resnet50"]
    os.kill(victim.pid, signal.SIGKILL)
    os.utime(local.SHM / victim.segment, (time.time() - 3600,) * 2)
    young = local.SHM / f"{mortal.name}.of-a-stub-about-to-start"
    young.touch()
    assert "its supervisor had ended and runs again" in mortal.up().said
    assert [stub.pid for stub in stubs(mortal.name) if stub.model == "resnet50"] not in ([], [victim.pid])
    until(lambda: not (local.SHM / victim.segment).exists())
    assert young.exists()
    young.unlink()


def test_a_stub_that_dies_as_soon_as_it_is_loaded_is_seen_at_once(mortal, monkeypatch):
    """Without another look in between: the supervisor that brought it back would wait for an hour for the next."""
    monkeypatch.setattr("serving.supervisor.RESCAN", 3600)
    mortal = unsupervised(mortal)
    said = []
    supervisor = Supervisor(vars(mortal), said.append)
    watching = threading.Thread(target=supervisor.watch, args=(mortal.pid,), daemon=True)
    watching.start()
    until(lambda: supervisor.watched)
    for count in (1, 2):
        [victim] = [stub.pid for stub in stubs(mortal.name) if stub.model == "resnet50"]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(said) == count)  # noqa: B023
        assert f"resnet50: stub {victim} died; reloaded" in said[-1]
    os.kill(mortal.pid, signal.SIGKILL)
    watching.join(GUARD)
    assert not watching.is_alive()


@pytest.mark.long
def test_a_load_whose_stub_died_as_it_began_is_given_up_and_said(mortal, monkeypatch):
    """Triton would wait for it for good, and so would whoever waits for Triton."""
    mortal = unsupervised(mortal)
    api = TritonAPI(mortal.address, mortal.admin_key)
    api.unload("resnet50")
    until(lambda: not [stub for stub in stubs(mortal.name) if stub.model == "resnet50"])
    monkeypatch.setattr(model_loader, "PROMPT", 3.0)
    killing, killed = threading.Event(), []

    def kill():
        while not killing.is_set():
            for stub in stubs(mortal.name):
                if stub.model == "resnet50":
                    os.kill(stub.pid, signal.SIGKILL)
                    killed.append(stub.pid)

    said, restarts = [], []
    killer = threading.Thread(target=kill)
    killer.start()
    supervisor = Supervisor(vars(mortal), said.append, restart=lambda: restarts.append(1))
    supervisor.unseen = set(mortal.plan)
    while not restarts:  # a stub that lives a little longer is one whose end Triton does notice
        supervisor.repair(supervisor.adopt())
    killing.set()
    killer.join()
    assert killed and "resnet50: its Python stub died as it began" in said[-1]
    assert "`crossover down`, then `crossover up`" in said[-1]
    assert api.infer("audio", smoke_test.chirp())
    assert launch("down", f"--state={mortal.state}").returncode == 0


# `up` has only begun


def test_an_up_that_is_interrupted_again_and_again_still_leaves_nothing(starting, tmp_path):
    starting.send_signal(signal.SIGINT)
    starting.send_signal(signal.SIGCONT)
    while starting.poll() is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            starting.send_signal(number)
            time.sleep(0.01)
    assert (starting.returncode, starting.stderr.read()) == (130, "\ninterrupted\n")
    assert left_of(tmp_path) == []


def test_down_during_up_waits_its_turn_and_status_says_what_is_going_on(starting, tmp_path):
    done = launch("down", f"--state={tmp_path}")
    assert done.returncode == 1 and "another `up` or `down` is at work" in done.stderr
    done = launch("status", f"--state={tmp_path}")
    assert (done.returncode, done.stdout, done.stderr) == (1, "`crossover up` is at work\n", "")


def test_what_a_killed_up_left_is_named_and_the_next_up_clears_it(starting, tmp_path):
    starting.kill()
    starting.wait()
    before = local.processes(state.name(tmp_path))
    assert local.SERVER in before.values()
    done = launch("status", f"--state={tmp_path}")
    assert done.returncode == 1 and "an `up` was killed before its end" in done.stdout
    done = launch(*UP, f"--state={tmp_path}", *ports())
    assert done.returncode == 0 and "killed before its end" in done.stdout
    assert not set(before) & set(local.processes(state.name(tmp_path)))
    assert launch("down", f"--state={tmp_path}").stdout == "stopped\n"
    assert left_of(tmp_path) == []


def test_a_signal_between_a_processs_birth_and_its_program_leaves_no_process(tmp_path):
    """The child itself sends it, before it bears the name by which it could be found, and takes its time."""
    script = f"""
import os, signal, sys, time
from serving import local
from serving.signals import interrupt_once
signal.signal(signal.SIGTERM, interrupt_once)
def hurt():
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(1)
record = {{"name": {state.name(tmp_path)!r}, "cores": sorted(os.sched_getaffinity(0))}}
try:
    local.spawn(["sleep", "600"], record, dict(os.environ), None, hurt)
except KeyboardInterrupt:
    local.stop(record["name"])
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=GUARD)
    time.sleep(2)  # a child that was not found would bear its name by now
    assert local.processes(state.name(tmp_path)) == {}


@pytest.mark.long
def test_what_fails_after_the_server_is_up_leaves_no_server_either(tmp_path, monkeypatch, capsys):
    def interrupted(record, directory):
        assert local.alive(record["name"])
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "supervise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main([*UP, f"--state={tmp_path}", *map(str, ports())])
    assert left_of(tmp_path) == []


def test_a_server_that_dies_before_it_is_watched_ends_run_with_its_code(tmp_path, monkeypatch, capsys):
    def kill(record):
        for pid, program in local.processes(record["name"]).items():
            if program == local.SERVER:
                os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(commands, "summary", kill)
    with pytest.raises(Failure, match="tritonserver ended with code -9"):
        commands.run(parse(["run", "--weights=tiny", f"--state={tmp_path}", *ports()]))
    assert left_of(tmp_path) == []


def test_a_stub_that_dies_while_its_model_is_loaded_ends_up_in_one_line(starting, tmp_path):
    name = state.name(tmp_path)
    starting.send_signal(signal.SIGCONT)
    until(lambda: stubs(name))
    os.kill(stubs(name)[0].pid, signal.SIGKILL)
    _, errors = starting.communicate(timeout=GUARD)
    assert starting.returncode == 1
    assert errors.startswith("crossover up: ") and errors.count("\n") == 1 and "stub" in errors.lower()
    assert left_of(tmp_path) == []


def test_another_server_that_took_the_port_meanwhile_is_not_filled_with_our_models(server, tmp_path, monkeypatch):
    """Even if it takes our key."""
    monkeypatch.setattr(local, "check_ports", lambda record: None)
    monkeypatch.setattr(model_loader, "load_all", lambda *_: pytest.fail("loaded into another's server"))
    record = {**vars(server), "name": state.name(tmp_path)}
    with pytest.raises(Failure, match=r"tritonserver exited with code \d+; .*already in use"):
        local.up(record, tmp_path, tmp_path / "server.log", print)
    assert left_of(tmp_path) == []
    smoke_test.run(TritonAPI(server.address))


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"engine": "docker"}'])
def test_a_state_file_that_was_cut_short_is_no_record(tmp_path, content):
    (tmp_path / "server.json").write_text(content)
    done = launch("status", f"--state={tmp_path}")
    assert (done.returncode, done.stdout, done.stderr) == (1, "nothing is running\n", "")
    done = launch("down", f"--state={tmp_path}")
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")
    assert left_of(tmp_path) == []


@pytest.mark.long
def test_a_server_whose_state_file_was_cut_short_is_found_all_the_same(mortal):
    mortal = mortal.up()
    (mortal.state / "server.json").write_text("{")
    done = launch("status", f"--state={mortal.state}")
    assert done.stdout == "nothing is running; `crossover down` clears what it left\n"
    assert launch("down", f"--state={mortal.state}").stdout == "stopped\n"
    assert left_of(mortal.state) == []
