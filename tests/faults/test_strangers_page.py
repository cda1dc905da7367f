"""What a stranger, or another site's page, must not do with Locust's page: on the real Locust."""

import contextlib
import http.client
import http.cookiejar
import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serving.ports import free_ports
from tests.conftest import ROOT
from tests.locust_plugin.test_locust_stats import python, within


@contextlib.contextmanager
def page(folder: Path, *arguments, **environment):
    """The real Locust with our image file; what it printed is in `output` once it has ended."""
    port, master = free_ports(2)
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        "loadgen/image.py",
        "--host=http://127.0.0.1:9",
        f"--web-port={port}",
    ]
    command += [f"--reports={folder}", f"--master-bind-port={master}", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    run = SimpleNamespace(port=port, master=master, process=psutil.Process(process.pid), output="")
    try:
        within(300, lambda: process.poll() is not None or send(run, "/")[0])
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
        run.output, _ = process.communicate(timeout=3000)
        run.code = process.returncode


def test_a_page_without_a_server_starts_and_says_so_in_one_line(tmp_path):
    with page(tmp_path) as run:
        pass
    lines = [line for line in run.output.splitlines() if "no Triton server answers at http://127.0.0.1:9" in line]
    assert len(lines) == 1 and lines[0].startswith("!! ") and "; the page starts, and sends nothing" in lines[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A master's page, as it is by default."""
    with page(tmp_path_factory.mktemp("page"), "--master") as run:
        yield run


def send(run, path: str, form: str | None = None, opener=None, **headers) -> tuple[int, str]:
    """(status, text) of a GET, or of a form's POST. Raises URLError while nobody answers."""
    url = f"http://127.0.0.1:{run.port}{path}"
    request = urllib.request.Request(url, None if form is None else form.encode(), headers)
    try:
        with (opener or urllib.request.build_opener()).open(request, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def listening(run) -> dict[int, str]:
    connections = run.process.net_connections("inet")
    return {each.laddr.port: each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def test_the_page_and_the_masters_port_listen_on_loopback_unless_asked_otherwise(alone):
    assert listening(alone) == {alone.port: "127.0.0.1", alone.master: "127.0.0.1"}


COMMANDS = ["/swarm", "/stop", "/stats/reset", "/user"]
TAB = ["/crossover/", "/crossover/runs", "/crossover/runs/1/chart", "/crossover/runs/1/samples.parquet"]
ELSEWHERE = ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "http://[", ""]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_another_sites_page_can_neither_command_nor_read(alone, origin):
    for path in COMMANDS:
        assert send(alone, path, "arrivals=gama:3", Origin=origin)[0] == 403
    for path in ("/stats/requests", "/logs", "/exceptions", "/tasks", *TAB):
        status, told = send(alone, path, Origin=origin)
        assert status == 403 and "{" not in told
    assert json.loads(send(alone, "/stats/requests")[1])["state"] == "ready"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_cannot_have_a_report_made_by_an_image_and_a_link_opens_the_page(alone, site):
    for path in ("/", "/stats/requests/csv", "/crossover/runs/1/report.html"):
        for kind in ("image", "script", "iframe", "empty"):
            status, told = send(alone, path, **{"Sec-Fetch-Site": site, "Sec-Fetch-Dest": kind})
            assert status == 403 and told.startswith("rejected: a page of another site")
    assert send(alone, "/", **{"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"})[0] == 200
    for own in ("same-origin", "none"):
        assert send(alone, "/stats/requests", **{"Sec-Fetch-Site": own, "Sec-Fetch-Dest": "empty"})[0] == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[", "evil.example."]
)
def test_the_page_does_not_answer_to_a_name_that_a_stranger_can_own(alone, name):
    for host in (name, f"{name}:{alone.port}"):
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            assert send(alone, "/stats/requests", **headers)[0] == 403
            assert send(alone, "/swarm", "arrivals=gama:3", **headers)[0] == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "master", "LOCALHOST"])
def test_the_page_obeys_its_own_scripts_and_curl(alone, name):
    host = f"{name}:{alone.port}"
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        status, told = send(alone, "/swarm", "arrivals=gama:3", **headers)
        assert status == 200 and "try one of" in json.loads(told)["message"]
        assert send(alone, "/", **headers)[0] == 200


def test_the_page_cannot_be_put_into_another_sites_frame(alone):
    with urllib.request.urlopen(f"http://127.0.0.1:{alone.port}/", timeout=300) as answer:
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_the_tab_serves_its_own_files_and_those_of_its_own_runs_and_nothing_else(alone):
    assert send(alone, "/crossover/tab.js")[0] == 200
    for path in (
        "head.html",
        "..%2fweb_ui.py",
        "uplot/README.md",
        "runs/1/run.json",
        "runs/1/..%2f..%2fsecret",
        "runs/x",
    ):
        status, told = send(alone, f"/crossover/{path}")
        assert status == 404 and "Traceback" not in told


SCRIPT = "<svg onload=alert(document.domain)>"
QUOTED = urllib.parse.quote(SCRIPT, safe="")
REFLECTED = [
    *(("GET", f"/crossover/{where}{QUOTED}") for where in ("", "runs/", "runs/1/", "runs/1/chart?since=")),
    *(("GET", f"/{where}{QUOTED}") for where in ("", "assets/", "login/", "stats/", "stats/report?theme=", "?tab=")),
    *(("POST", f"/{where}") for where in ("swarm", "user", "login", QUOTED, f"crossover/{QUOTED}")),
]


def assert_no_script(url: str, method: str, path: str, **headers: str) -> bytes:
    """What a browser would be sent there, which must not let `SCRIPT` run. Returns the body."""
    connection = http.client.HTTPConnection(url, timeout=300)
    form = f"user_count={QUOTED}&spawn_rate={QUOTED}&arrivals={QUOTED}&seconds=1" if method == "POST" else None
    kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    connection.request(method, path, form, {**kind, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    policy = answer.headers["Content-Security-Policy"]
    if answer.status >= 400:
        assert answer.headers.get_content_type() in ("text/plain", "application/json"), (path, answer.headers)
    if answer.headers.get_content_type() == "text/html":
        assert SCRIPT.encode() not in body, path
        assert "frame-ancestors" in policy and "base-uri 'none'" in policy, path
    else:
        assert "default-src 'none'" in policy, path
    return body


@pytest.mark.parametrize(("method", "path"), REFLECTED)
def test_no_answer_runs_what_a_stranger_put_into_its_address_or_form(alone, method, path):
    assert_no_script(f"127.0.0.1:{alone.port}", method, path)


@pytest.mark.parametrize("headers", [{"Host": SCRIPT}, {"Origin": f"http://{SCRIPT}"}])
def test_no_refusal_runs_what_a_stranger_put_into_a_header(alone, headers):
    assert SCRIPT.encode() in assert_no_script(f"127.0.0.1:{alone.port}", "GET", "/", **headers)


def test_a_machines_own_dotted_name_is_its_own():
    program = """
import socket
from loadgen.locust_plugin import web_access as access
socket.gethostname = lambda: "First.lab.example"
print([access.is_local_name(f"{name}.lab.example:8089") for name in ("first", "FIRST", "second")])
"""
    assert python(program).stdout == "[True, True, False]\n"  # elsewhere, for Locust patches what imports it


def test_a_page_for_everybody_without_a_login_is_refused_in_one_line(tmp_path):
    with page(tmp_path, "--web-host=0.0.0.0") as run:
        pass
    assert run.code == 2 and "Traceback" not in run.output
    [line] = [line for line in run.output.splitlines() if "--web-host" in line]
    assert "0.0.0.0" in line and "--web-login" in line


def test_a_page_that_something_else_guards_may_be_open(tmp_path):
    with page(tmp_path, "--web-host=0.0.0.0", CROSSOVER_WEB_OPEN="1") as run:
        assert listening(run) == {run.port: "0.0.0.0"}


def test_a_login_without_a_password_is_refused_in_one_line(tmp_path):
    with page(tmp_path, "--web-login", CROSSOVER_WEB_PASSWORD="") as run:
        pass
    assert run.code == 2 and "CROSSOVER_WEB_PASSWORD" in run.output and "Traceback" not in run.output


def test_with_a_login_strangers_see_and_command_nothing_and_the_password_lets_in(tmp_path):
    (tmp_path / "secret.csv").write_text("swordfish\n")
    with page(tmp_path, "--web-login", "--web-host=0.0.0.0", CROSSOVER_WEB_PASSWORD="open sesame") as run:
        for path in ("/stats/requests", "/logs", "/exceptions", "/tasks", "/worker-count", *TAB):
            assert "/login" in unfollowed(run, path)
        for form in ("arrivals=constant:rate=1", f"arrivals=trace:file={tmp_path}/secret.csv"):
            assert "/login" in unfollowed(run, "/swarm", form)
        assert "/login" in unfollowed(run, "/enter", "username=x&password=guess")
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        send(run, "/enter", "username=x&password=open+sesame", browser, Host=f"bench.example:{run.port}")
        status, told = send(run, "/swarm", "arrivals=gama:3", browser)
        assert status == 200 and "try one of" in json.loads(told)["message"]
        assert send(run, "/swarm", "arrivals=gama:3", browser, Origin="http://evil.example")[0] == 403
        assert json.loads(send(run, "/stats/requests", None, browser)[1])["state"] == "ready"
    assert "WARNING" not in run.output and "sesame" not in run.output


class Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def unfollowed(run, path: str, form: str | None = None) -> str:
    """Where the answer sends its reader, who has no cookie."""
    request = urllib.request.Request(f"http://127.0.0.1:{run.port}{path}", None if form is None else form.encode())
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(Unfollowed).open(request, timeout=300)
    assert answer.value.code == 302
    return answer.value.headers["Location"]
