"""The Crossover tab: a page of its own under Locust's, with charts of the session's runs and their files.

The page in `tab/` asks for the runs every two seconds, and for the points of their charts that it does not have yet.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, request, send_file
from locust.env import Environment

from loadgen.locust_plugin import web_access
from loadgen.locust_plugin.live_view import RUNNING, LiveRun

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("tab")
ASSETS = {name: PAGE / name for name in ("tab.css", "tab.js", "charts.js")}
ASSETS |= {name: PAGE / "uplot" / name for name in ("uPlot.iife.min.js", "uPlot.min.css")}
"""What the page loads, all of it from here: it works without a network."""
FILES = {"report.html": "HTML", "samples.parquet": "Parquet", "summary.json": "JSON"}
"""What may be downloaded of a run -> what the link says; the report is made when it is asked for."""


def describe_runs() -> list[dict[str, Any]]:
    """Return what the page shows of each run, the latest first: its row, its findings, and which files it has."""
    return [
        {
            **run.row(),
            "phase": run.state,
            "seconds": run.seconds,
            "colour": run.colour,
            "findings": [] if run.validity is None else run.validity.as_dict()["findings"],
            "files": list_files(run),
        }
        for run in reversed(LiveRun.runs)
    ]


def list_files(run: LiveRun) -> list[tuple[str, str]]:
    """Return the name of each file that a run has or that can be made, with what its link says."""
    if run.validity is None or run.directory is None:
        return []
    has_samples = (run.directory / "samples.parquet").exists()
    return [(name, label) for name, label in FILES.items() if has_samples or (run.directory / name).exists()]


def make_report(directory: Path, into: Path) -> str:
    """Make the page of a run as `crossover report` does, in a process of its own; return why not, or "" if it is made.

    This process goes on serving the web page meanwhile.
    """
    command = [sys.executable, "-m", "crossover", "report", str(directory.resolve()), "-o", str(into)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if (into / "report.html").exists():
        return ""
    return (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]


def add_routes(web_ui: Any, environment: Environment, subject: str, workload: str) -> None:
    """Serve the tab under Locust's page; `subject` says what is sent, `workload` is its name. `web_ui` is Locust's."""
    base = getattr(environment.parsed_options, "web_base_path", None) or ""
    pages = Blueprint("crossover", __name__, url_prefix=f"{base}/crossover")

    def serve(path: str) -> Callable[[Callable], Callable]:
        """Serve what a function returns, to those whom Locust's page lets in."""
        return lambda view: pages.get(path)(web_ui.auth_required_if_enabled(view))

    @serve("/")
    def index() -> Response:
        response = send_file(PAGE / "index.html")
        response.headers[web_access.POLICY] = "default-src 'self'; base-uri 'none'; frame-ancestors 'self'"
        return response

    @serve("/<name>")
    def asset(name: str) -> Response:
        return send_file(ASSETS[name]) if name in ASSETS else abort(404)

    @serve("/runs")
    def runs() -> Response:
        host = environment.host or next((user.host for user in environment.user_classes), "") or ""
        named = f"workload {workload}, server {host}"
        told = {"subject": f"Crossover: {subject}", "workload": named, "runs": describe_runs()}
        return Response(json.dumps(told), mimetype="application/json")

    @serve("/runs/<int:number>/chart")
    def chart(number: int) -> Response:
        since = request.args.get("since", 0, int)
        return Response(find_run(number).chart(max(0, since)), mimetype="application/json")

    @serve("/runs/<int:number>/<file>")
    def download(number: int, file: str) -> Response:
        run = find_run(number)
        if run.directory is None or file not in dict(list_files(run)):
            abort(404, f"run {number} has no {file}" + ("" if run.validity else " until it has ended"))
        named = f"{run.directory.name}-{file}"
        if file != "report.html":
            return send_file((run.directory / file).resolve(), as_attachment=True, download_name=named)
        if LiveRun.runs[-1].state == RUNNING:
            abort(409, "a run goes on, and making a report takes CPU from it: ask again when it has ended")
        with tempfile.TemporaryDirectory() as folder:
            if fault := make_report(run.directory, Path(folder) / "page"):
                abort(500, f"no report: {fault}")
            page = (Path(folder) / "page" / "report.html").read_bytes()
        attached = {"Content-Disposition": f'attachment; filename="{named}"'}
        return Response(page, mimetype="text/html", headers=attached)

    def find_run(number: int) -> LiveRun:
        run = next((run for run in LiveRun.runs if run.number == number), None)
        return run or abort(404, f"this session has no run {number}, or no longer")

    @pages.errorhandler(Exception)
    def explain(error: Exception) -> Response:
        text = str(getattr(error, "description", None) or error)
        return web_access.say_plainly(text, getattr(error, "code", None) or 500)

    web_ui.app.register_blueprint(pages)
