"""A real tritonserver behind TLS, a path of a proxy's and a login: every command gets through, or says why not."""

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from benchmarks import tls_cost
from tests.conftest import ROOT, launch
from tests.test_unreachable import COMMANDS
from tests.tls_proxy import Authority, proxy
from workloads.image import IMAGE

TOKEN = "a-token-of-31-letters-no-log-has"
OURS = [each for each in COMMANDS if each not in ("dispatch", "ours")]  # those are benchmarks, for our own servers
QUICK = ("compare", "infer", "locust")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def behind(server, authority):
    """The real server behind a proxy with all three."""
    context = authority.context("localhost")
    with proxy(server.url, context, prefix="/triton/a", authorization=f"Bearer {TOKEN}") as running:
        yield running


def run(command, url, out, *flags, **environment):
    arguments = [each.format(url=url, out=out) for each in COMMANDS[command]]
    return subprocess.run(
        [sys.executable, *arguments, *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_files_get_their_answers(behind, authority):
    done = launch("infer", IMAGE.example, "--url", behind.url, "--cacert", authority.file, CROSSOVER_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "stand-in " in done.stdout
    assert set(behind.authorizations) == {f"Bearer {TOKEN}"}
    assert all(path.startswith("/triton/a/v2") for path in behind.paths)


def test_placements_are_checked_with_a_user_and_a_password(server, authority):
    basic = "Basic " + base64.b64encode(b"me:pass word").decode()
    with proxy(server.url, authority.context("localhost"), authorization=basic) as running:
        flags = ("--url", running.url, "--cacert", authority.file)
        login = {"CROSSOVER_USERNAME": "me", "CROSSOVER_PASSWORD": "pass word"}
        assert launch("check", "image", *flags, **login).returncode == 0
    assert set(running.authorizations) == {basic}


def test_no_report_has_the_login_and_each_says_that_nothing_was_checked(behind, tmp_path):
    flags = ("image", "--rate", 4, "--seconds", 3, "--reports", tmp_path, "--url", behind.url, "--insecure")
    done = launch("load", *flags, CROSSOVER_TOKEN=TOKEN)
    assert done.returncode in (0, 3), done.stderr  # too few requests for a verdict on a busy machine
    warning = f"the certificate of {behind.url} is not checked (--insecure)"
    assert done.stderr.startswith(f"crossover load: !! {warning}")
    [run_json], [page] = tmp_path.rglob("run.json"), tmp_path.rglob("report.html")
    assert json.loads(run_json.read_text())["server"]["unprotected"][0].startswith(warning)
    assert "The way to the server is not protected." in page.read_text()
    assert_nowhere(tmp_path, done)


def assert_nowhere(folder, done):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(TOKEN.encode() in path.read_bytes() for path in files)
    assert TOKEN not in done.stdout + done.stderr


@contextlib.contextmanager
def grpc_proxy(server, context):
    """Passes TLS connections on to the real server's gRPC port; yields its own port."""
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                target = ("127.0.0.1", server.grpc_port)
                threading.Thread(target=tls_cost.pass_on, args=(accepted, target, context), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def test_grpc_has_the_same_tls(server, behind, authority):
    flags = ("check", "image", "--url", behind.url, "--cacert", authority.file, "--transport", "grpc", "--grpc-port")
    for names, code in ((["localhost"], 0), (["other.example"], 2)):
        with grpc_proxy(server, authority.context(*names)) as port:
            done = launch(*flags, port, CROSSOVER_TOKEN=TOKEN)
        assert done.returncode == code, done.stderr
    assert "no server answers gRPC" in done.stderr


def run_locust(behind, out, *flags):
    done = run("locust", behind.url, out, "--arrivals", "constant:rate=5", *flags, CROSSOVER_TOKEN=TOKEN)
    [path] = out.rglob("summary.json")
    summary = json.loads(path.read_text())
    assert summary["books"]["completed"] == 5, done.stderr
    assert set(behind.authorizations) == {f"Bearer {TOKEN}"}
    assert_nowhere(out, done)
    return done, path.parent


def test_locusts_workers_get_through(behind, authority, tmp_path):
    _, directory = run_locust(behind, tmp_path / "out", "--cacert", authority.file, "--processes", 2)
    assert "unprotected" not in json.loads((directory / "run.json").read_text())


def test_a_page_of_locusts_run_says_that_nothing_was_checked(behind, tmp_path):
    done, directory = run_locust(behind, tmp_path / "out", "--insecure")
    assert "!! the certificate of " in done.stdout + done.stderr
    assert launch("report", directory, "--output", tmp_path / "page").returncode in (0, 1, 3)
    [page] = tmp_path.rglob("report.html")
    assert "The way to the server is not protected." in page.read_text()


WRONG = {
    "certificate": (["{url}"], {"CROSSOVER_TOKEN": TOKEN}, "is not trusted .*give its authority's as --cacert FILE"),
    "token": (
        ["{url}", "--cacert", "{authority}"],
        {"CROSSOVER_TOKEN": "wrong"},
        "does not take the login of CROSSOVER_",
    ),
    "none": (["{url}", "--cacert", "{authority}"], {}, "asks for a login .*set CROSSOVER_TOKEN, or CROSSOVER_USER"),
    "file": (["{url}", "--cacert", "none.pem"], {"CROSSOVER_TOKEN": TOKEN}, "--cacert none.pem: No such file"),
}


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        *((each, wrong) for each in QUICK for wrong in ("certificate", "token")),
        *(("infer", wrong) for wrong in ("none", "file")),
        *(pytest.param(each, wrong, marks=pytest.mark.long) for each in OURS if each not in QUICK for wrong in WRONG),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2_before_anything_is_sent(
    behind, authority, tmp_path, command, wrong
):
    flags, environment, says = WRONG[wrong]
    url, *flags = (each.format(url=behind.url, authority=authority.file) for each in flags)
    done = run(command, url, tmp_path / "out", *flags, **environment)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and not behind.paths, done.stderr
    assert len(lines) == (2 if command == "locust" else 1)  # its name and version
    assert re.search(says, lines[-1]), lines
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["infer", "compare", "locust"])
def test_a_redirect_is_not_followed_and_carries_no_login(server, authority, tmp_path, command):
    with proxy(server.url, None) as other:
        there = other.url.replace("localhost", "127.0.0.1")
        with proxy(server.url, authority.context("localhost"), redirect=there) as running:
            done = run(command, running.url, tmp_path / "out", "--cacert", authority.file, CROSSOVER_TOKEN=TOKEN)
    assert done.returncode == 2, done.stderr
    assert running.authorizations and not other.authorizations
    assert "no redirect is followed: give the right address" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_server_that_url_does_not_name_gets_no_login(server, tmp_path):
    with proxy(server.url, None) as running:
        port = int(running.url.rpartition(":")[2])
        record = {**json.loads((server.state / "server.json").read_text()), "address": f"127.0.0.1:{port}"}
        (tmp_path / "server.json").write_text(json.dumps(record))
        launch("infer", IMAGE.example, "--state", tmp_path, CROSSOVER_TOKEN=TOKEN)
    assert set(running.authorizations) == {None}
