"""`crossover ui`: whatever lies in a folder of runs is listed, and two runs are compared as on the terminal."""

import contextlib
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from crossover.cli.main import main
from crossover.experiments.catalogue import EXPERIMENTS
from crossover.measurement import run_directory
from crossover.report.kind import write_report
from crossover.ui.app import make_app
from crossover.ui.listing import read_entry
from tests import trials_on_disk
from tests.cli.test_report import contents, locust_run
from tests.conftest import ROOT
from tests.report.test_page import Structure

FIRST, SECOND = "20261126-101112.131-image-server-async1", "20261126-101512.131-image-client-async1"
HOSTILE = "<script>alert(1)</script> & 'x'"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder `reports` with two comparisons, two runs of Locust's and one that was killed, and what is no run."""
    folder = tmp_path_factory.mktemp("archive")
    reports = folder / "reports"
    for name in ("before", "after"):
        trials_on_disk.write(reports / name, ("image",), 8, broken="")
        for file in reports.glob("after/*/*server*/round-*.json"):
            trial = json.loads(file.read_text())
            file.write_text(json.dumps({**trial, "server_cpu": trial["server_cpu"] * 1.5}))
        write_report(EXPERIMENTS["bench"], reports / name)
    locust_run(reports / FIRST, failed=-1)
    locust_run(reports / SECOND, failed=-1, slower=3, arm="image client async:1")
    locust_run(reports / "killed", finished=False)
    return reports


@pytest.fixture
def foreign(archive):
    """Folders there that are no runs, damaged or half-written; they are gone afterwards."""
    with contextlib.ExitStack() as stack:

        def make(name: str, content: str | None = None) -> Path:
            path = archive / name
            path.mkdir()
            stack.callback(lambda: [*map(Path.unlink, path.iterdir()), path.rmdir()])
            if content is not None:
                (path / "run.json").write_text(content)
            return path

        run = json.loads((archive / "before" / "run.json").read_text())
        make("empty")
        make(HOSTILE.replace("/", ""))
        make("half", '{"created": "2026')
        make("list", "[1]")
        make("deep", "[" * 100_000)
        make("older", json.dumps({**run, "format": 2}))
        make("unknown", json.dumps({**run, "kind": "walk"}))
        make("interrupted", json.dumps({**run, "complete": False}))
        (make("damaged", json.dumps(run)) / "summary.json").write_text('{"workloads": {"image": {"arms": 3}}}')
        os.mkfifo(make("pipe") / "run.json")
        (make("page") / "report.html").write_text("<p>a page</p>")
        (make("not-\udcff-UTF-8", json.dumps(run)) / "report.html").write_text("<p>a page</p>")
        machine = run["machine"] | {"revision": "half a \ud83d"}
        make("half-character", json.dumps(run | {"machine": machine}))
        (archive / "link").symlink_to("/etc")
        stack.callback((archive / "link").unlink)
        yield archive


@pytest.fixture
def client(archive):
    return make_app(archive).test_client()


def read(response, status: int = 200) -> str:
    """The words of a page, which must be well-formed and fetch nothing."""
    assert response.status_code == status, response.text
    seen = Structure(response.text)
    assert "script" not in seen.tags and not {"img", "link", "iframe"} & set(seen.tags)
    return " ".join(seen.text.split("}")[-1].split())


def line(response, status: int) -> str:
    """The one line of a page that says why there is no other."""
    assert response.status_code == status, response.text
    return html.unescape(re.search(r'role="alert">(.*?)</div>', response.text)[1])


def test_every_run_is_listed_with_its_machine_revision_arms_validity_and_verdict(client, archive):
    before = contents(archive)
    text = read(client.get("/"))
    run = json.loads((archive / "before" / "summary.json").read_text())
    for said in (run["machine"]["cpu"], run["machine"]["revision"], "image client", "image server", "VALID"):
        assert said in text
    assert run["workloads"]["image"]["sentence"] in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "5 runs, the newest first" in text
    assert "constant:rate=50: latency p50 23.0, p95 26.0, p99 (26.0) ms; offered 50/s" in text
    assert "no verdict: it is running, or its process was killed" in text
    assert contents(archive) == before


def test_a_run_that_has_not_come_to_its_end_is_not_valid_in_the_list(archive):
    with contextlib.ExitStack() as stack:
        path = archive / "after" / "run.json"
        stack.callback(path.write_text, path.read_text())
        assert read_entry(path.parent).validity == "VALID"
        path.write_text(json.dumps({**json.loads(path.read_text()), "complete": False}))
        entry = read_entry(path.parent)
        assert (entry.validity, entry.problem) == ("", "incomplete: it was interrupted, or is being measured")


def test_an_invalid_run_says_so_in_the_list(archive):
    with contextlib.ExitStack() as stack:
        path = archive / "after" / "summary.json"
        stack.callback(path.write_text, path.read_text())
        result = json.loads(path.read_text())
        result["workloads"]["image"]["arms"][0]["valid"] = False
        path.write_text(json.dumps(result))
        assert "INVALID: image client" in read(make_app(archive).test_client().get("/"))


@pytest.mark.parametrize("sides", [("before", "after"), (FIRST, SECOND)])
def test_two_runs_on_the_page_have_the_ratios_and_intervals_of_the_command_line(sides, client, archive, capsys):
    text = read(client.get("/compare", query_string=dict(zip(("before", "after"), sides, strict=True))))
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    assert main(["report", *(str(archive / side) for side in sides), "--json", "-o", str(archive.parent / "both")]) == 0
    arms = json.loads(capsys.readouterr().out)["result"]["arms"]
    assert len(arms) == (2 if sides[0] == "before" else 1)
    rows = [row for arm in arms.values() for row in arm["comparisons"] if row["ratio"] is not None]
    assert len([row for row in rows if row["low"]]) >= (14 if sides[0] == "before" else 1)
    for row in rows:
        interval = f" [{row['low']:.3g}, {row['high']:.3g}]" if row["low"] else ""
        assert f"{row['ratio']:.3g}{interval}" in text, row
    for arm in arms.values():
        assert arm["sentence"].partition(": ")[2][1:] in text
    page = (archive.parent / "both" / "before-after.html").read_text()
    shown = client.get("/compare", query_string=dict(zip(("before", "after"), sides, strict=True))).text
    assert shown.replace('<nav><a href="/">All runs</a></nav>\n', "") == page


def test_the_list_learns_of_runs_that_come_and_change(archive):
    client = make_app(archive).test_client()
    read(client.get("/"))
    run = locust_run(archive / "new", finished=False)
    try:
        assert "6 runs" in read(client.get("/"))
        (run / "summary.json").write_text((archive / FIRST / "summary.json").read_text())
        assert read(client.get("/")).count("no verdict: it is running") == 1
    finally:
        for file in run.iterdir():
            file.unlink()
        run.rmdir()


def test_what_is_no_run_is_one_line_in_the_list_and_never_an_error(foreign):
    client = make_app(foreign).test_client()
    text = read(client.get("/"))
    for said in (
        "empty is no run: it has no run.json",
        "run.json is damaged: ",
        "older was made on ",
        "unknown experiment 'walk'",
        "incomplete: it was interrupted, or is being measured",
        "a file of damaged is damaged: it lacks or has wrong:",
        "run.json is no file that a run has written",
        "a link, which is not followed",
        r"not-\udcff-UTF-8 its name is not in UTF-8, so that no page can have it",
        r"half a \ud83d",
        HOSTILE.replace("/", ""),
    ):
        assert said in text, said
    assert client.get("/runs/page/report.html").text == "<p>a page</p>"
    for name in ("empty", "half", "deep", "older", "pipe", "damaged", "link", "interrupted"):
        for both in (("before", name), (name, "before"), (name, name)):
            response = client.get("/compare", query_string=dict(zip(("before", "after"), both, strict=True)))
            assert line(response, 400)


def place(path: Path, what: str) -> None:
    """Put a pipe that nobody writes to, or a file of 50 GB without a block on the disk, at that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(50_000_000_000)


@pytest.mark.parametrize("what", ["pipe", "huge"])
@pytest.mark.parametrize("name", ["image/client-async/round-09.json", "summary.json", "report.html"])
def test_no_pipe_and_no_huge_file_in_a_run_stops_the_page(archive, tmp_path, what, name):
    """Deeper in the folder than run.json, too."""
    shutil.copytree(archive / "before", tmp_path / "bad")
    shutil.copytree(archive / "after", tmp_path / "good")
    place(tmp_path / "bad" / name, what)
    client = make_app(tmp_path).test_client()
    assert client.get("/").status_code == 200
    assert client.get("/runs/good/report.html").status_code == 200
    if name == "report.html":
        assert line(client.get("/runs/bad/report.html"), 404 if what == "pipe" else 400)
    elif name != "summary.json":  # a comparison is computed anew
        assert line(client.get("/compare?before=bad&after=good"), 400)


@pytest.mark.parametrize("what", ["pipe", "huge"])
def test_no_pipe_and_no_huge_file_in_a_run_of_locusts_stops_the_page(archive, tmp_path, what):
    shutil.copytree(archive / FIRST, tmp_path / FIRST)
    place(tmp_path / FIRST / "summary.json", what)
    client = make_app(tmp_path).test_client()
    assert client.get("/").status_code == 200
    assert line(client.get(f"/runs/{FIRST}/report.html"), 400)


@pytest.mark.parametrize("sweep", ["../before", "/etc", "a/../../before"])
def test_a_sweep_outside_of_its_run_is_not_read(tmp_path, sweep):
    with pytest.raises(ValueError, match="lies outside of it"):
        run_directory.check_inside(["network", sweep])


def test_what_report_and_arrivals_have_left_is_no_fault(tmp_path):
    for name, file in (("a-b-report", "before-after.html"), ("arrivals", "poisson.png"), ("x-report", "note.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("<p>a page</p>")
    client = make_app(tmp_path).test_client()
    made, _, others = read(client.get("/")).partition("Folders that are no runs")
    assert "a-b-report left by crossover report before-after.html arrivals left by crossover arrivals" in made
    assert "x-report is no run: it has no run.json" in others and "arrivals" not in others
    assert client.get("/runs/a-b-report/before-after.html").text == "<p>a page</p>"


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 400, "pick one run as before, and another as after"),
        ("before=before", 400, "pick one run as before, and another as after"),
        ("before=before&after=before", 400, "before is given twice"),
        ("before=before&after=no", 404, "there is no run 'no' in "),
        ("before=before&after=../reports/after", 404, "there is no run '../reports/after' in "),
        ("before=before&after=.", 404, "there is no run '.' in "),
        (f"before=before&after={FIRST}", 400, "is Locust's; give two comparisons, or two runs of Locust's"),
        (f"before={FIRST}&after=killed", 400, "killed was cut short, so that arrivals lack their twins"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_one_line(query, status, says, client):
    assert says in line(client.get(f"/compare?{query}"), status)


def test_runs_of_other_settings_are_compared_when_asked_for(client, archive):
    run = locust_run(archive / "other", failed=-1, timeout=5.0)
    try:
        response = client.get(f"/compare?before={FIRST}&after=other")
        assert line(response, 400) == "not comparable: timeout, s: 30 against 5"
        [link] = re.findall(r'href="(/compare[^"]*)"', response.text)
        assert "The runs are not of one setting. timeout, s: 30 against 5." in read(client.get(html.unescape(link)))
    finally:
        for file in run.iterdir():
            file.unlink()
        run.rmdir()


def test_what_has_nothing_to_compare_is_not_offered_to_be_compared_nevertheless(client, archive):
    run = locust_run(archive / "other", failed=-1, timeout=5.0)
    try:
        described = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps({**described, "arm": "audio server async:1"}))
        response = client.get(f"/compare?before={FIRST}&after=other")
        assert "; nothing to compare: they are of different workloads" in line(response, 400)
        assert "anyway" not in response.text
    finally:
        for file in run.iterdir():
            file.unlink()
        run.rmdir()


def test_each_run_has_its_report_and_nothing_else_is_served(client, archive):
    assert client.get("/runs/before/report.html").data == (archive / "before" / "report.html").read_bytes()
    assert "How did this load go?" in read(client.get(f"/runs/{FIRST}/report.html"))
    assert not (archive / FIRST / "report.html").exists()
    for path in (
        "before/run.json",
        "before/before-after.html",
        "no/report.html",
        "../report.html",
        "%2e%2e/report.html",
    ):
        assert client.get(f"/runs/{path}").status_code == 404
    for path in ("/runs/before/image/report.html", "/etc/passwd", "/static/x", "/runs/"):
        assert client.get(path).status_code == 404


def test_a_report_that_is_a_link_is_not_followed(client, archive):
    page = archive / "before" / "before-after.html"
    page.symlink_to(archive / "before" / "run.json")
    try:
        assert client.get("/runs/before/before-after.html").status_code == 404
    finally:
        page.unlink()


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost", "localhost:1", "[::1]:8090", "LOCALHOST:8090"])
def test_it_answers_to_the_names_of_this_machine(host, client):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["rebound.example:8090", "localhost.example", "", "[::1", "127.0.0.1.example", "10.0.0.1"]
)
def test_it_answers_to_no_name_that_a_stranger_may_own(host, client):
    for path in ("/", "/compare?before=before&after=after", "/runs/before/report.html", "/no"):
        response = client.get(path, headers={"Host": host})
        assert response.status_code == 403 and "before" not in response.text
        assert response.mimetype == "text/plain" and response.headers["X-Content-Type-Options"] == "nosniff"


def test_it_changes_nothing_and_runs_no_script(client):
    for method in (client.post, client.put, client.delete, client.patch):
        for path in ("/", "/compare", "/runs/before/report.html"):
            assert method(path).status_code == 405
    for path in ("/", "/no", "/runs/before/report.html"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "script" not in policy


def test_no_page_runs_what_stands_in_its_address(client):
    script = "<svg onload=alert(1)>"
    runs = ("/runs/{}/report.html", "/runs/before/{}")
    for path in ("/{}", *runs, "/compare?before={}&after=after", "/compare?before=before&after=after&{}"):
        response = client.get(path.format(script))
        assert script not in response.text and "script" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    client = make_app(tmp_path / "gone").test_client()
    assert line(client.get("/"), 404).endswith("gone: No such file or directory")
    assert line(client.get("/compare?before=a&after=b"), 404).endswith("gone: No such file or directory")


def test_a_folder_without_runs_says_how_to_make_one(tmp_path):
    assert "No run is here yet: crossover compare makes one." in read(make_app(tmp_path).test_client().get("/"))


def start(reports: Path, port: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "crossover", "ui", "--reports", str(reports), "--port", str(port)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_listens_on_loopback_and_ctrl_c_ends_it(archive):
    process = start(archive, 0)
    try:
        told = process.stdout.readline()
        port = int(re.match(r"http://127\.0\.0\.1:(\d+) shows the runs in ", told)[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        taken = start(archive, port)
        output, errors = taken.communicate(timeout=120)
        assert (taken.returncode, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith(f"crossover ui: cannot listen on 127.0.0.1:{port}: address already in use; ")
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, output, errors) == (0, "", "")
