"""Paths that are no files, and values that an unset variable of the shell has left empty: one line, exit code 2."""

import os
import socket
import subprocess

import pytest

from tests.conftest import ROOT, launch
from tests.locust_plugin.locust_runs import LOCUST


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder of named pipes, which nobody writes into, and other things that are no files."""
    folder = tmp_path_factory.mktemp("odd")
    for name in ("pipe.py", "pipe.jpg", "pipe.pem", "run/run.json", "pipe.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folder / name)
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "empty").mkdir()
    (folder / "nul.py").write_bytes(b"a = 1\nb = 2\0\n")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)  # the path of a socket is short
        listener.bind("socket.jpg")
        os.chdir(ROOT)
    return folder


PATHS = [
    (["check", "pipe.py"], "workload {}/pipe.py cannot be read: it is no regular file"),
    (["compare", "pipe.py"], "workload {}/pipe.py cannot be read: it is no regular file"),
    (["check", "nul.py"], "workload {}/nul.py, line 2: a NUL byte; it is no Python file"),
    (["check", "empty"], "workload {}/empty cannot be read: it is a folder"),
    (["infer", "pipe.jpg"], "{}/pipe.jpg: it is no regular file"),
    (["infer", "device.jpg"], "{}/device.jpg: it is no regular file"),
    (["infer", "socket.jpg"], "{}/socket.jpg: it is no regular file"),
    (["infer", "nothere.jpg"], "{}/nothere.jpg: No such file or directory"),
    (["infer", "empty"], "{}/empty: it is a folder; give its files"),
    (["infer", "/dev/zero"], "/dev/zero: its name ends in none of"),
    (["report", "run"], "it is no regular file"),
    (
        ["up", "--requirements", "pipe.txt", "--models", "examples/imagenet/model_repository"],
        "pipe.txt: it is no regular file",
    ),
    (["check", "image", "--url", "https://localhost:1", "--cacert", "pipe.pem"], "it is no regular file; give a file"),
]


@pytest.mark.parametrize(("arguments", "says"), PATHS)
def test_a_path_that_is_no_file_is_refused_before_it_is_read(odd, tmp_path, arguments, says):
    here = [str(odd / each) if (odd / each).exists() or each == "nothere.jpg" else each for each in arguments]
    state = () if arguments[0] == "report" else (f"--state={tmp_path}",)
    done = launch(*here, *state, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert says.format(odd) in done.stderr and done.stderr.count("\n") == 1


EMPTY = [
    (["infer", "--url", ""], "--url is empty"),
    (["infer", "--url="], "--url is empty"),
    (["compare", "--continue", ""], "--continue is empty"),
    (["compare", "--like="], "--like is empty"),
    (["compare", "image", "--payloads", ""], "--payloads is empty"),
    (["compare", "--reports", ""], "--reports is empty"),
    (["check", "--cacert", ""], "--cacert is empty"),
    (["up", "--workload", ""], "--workload is empty"),
    (["status", "--state", ""], "--state is empty"),
    (["sweep", "--url", ""], "--url is empty"),
    (["report", ""], "an argument is empty"),
    (["infer", "image", ""], "an argument is empty"),
]


@pytest.mark.parametrize(("arguments", "says"), EMPTY)
def test_an_empty_path_or_address_is_not_taken_for_the_default(arguments, says):
    done = launch(*arguments, timeout=60)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"crossover {arguments[0]}: {says}")


@pytest.mark.parametrize("given", [("--host", ""), ("--host=",), ("-H", ""), ("--payloads=",), ("--reports", "")])
def test_locust_does_not_take_an_empty_address_or_path_for_the_default(given):
    command = [LOCUST, "-f", "loadgen/image.py", "--headless", "--seconds", "1", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{given[0].rstrip('=')} is empty: leave it out" in done.stderr and "Traceback" not in done.stderr


def test_locust_does_not_wait_for_a_pipe_in_place_of_a_workload(odd):
    command = [LOCUST, "-f", "loadgen/own.py", "--headless", "--workload", odd / "pipe.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "it is no regular file" in done.stderr
