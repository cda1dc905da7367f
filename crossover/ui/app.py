"""The page of past runs: what it shows at which address, and whom it answers.

It answers on loopback, to the names of this machine only, and to GET only: it changes nothing.
"""

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from common import plain_file
from crossover.experiments.compare import before_after
from crossover.experiments.compare.run_pair import NothingToCompare, compare_directories
from crossover.measurement.run_directory import BENCH
from crossover.report import html, locust_run
from crossover.report.html import render
from crossover.ui.listing import DAMAGE, LOCUST, PAGES, Entry, Listing, explain, is_plain_file

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost", "::1")
"""Names that a browser on this machine, or behind a tunnel to it, uses. Any other may be a stranger's that leads here
(DNS rebinding)."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""No script runs in any page, a foreign report's included, and no other site embeds one."""
KINDS = {BENCH: "comparison", LOCUST: "Locust", "crossover": "sweep", "study": "clients"}
"""Kind of a run -> what the list calls it, where that is not its name."""
TEMPLATES = Path(__file__).with_name("templates")


class Refusal(Exception):
    """A request that has no answer, in one line; `status` is HTTP's, `link` (words, address) leads on."""

    def __init__(self, text: str, status: int = 400, link: tuple[str, str] | None = None):
        super().__init__(text)
        self.status, self.link = status, link


def make_app(reports: Path) -> Flask:
    """Return the page as a WSGI application that shows the runs in `reports`.

    `/` lists them, `/compare?before=NAME&after=NAME` compares two, with `&anyway` also if their settings differ, and
    `/runs/NAME/PAGE` shows one of PAGES. Another host's name gets status 403; what else is wrong, a page of one line.
    """
    app, listing, one_at_a_time = Flask("crossover.ui", static_folder=None), Listing(reports), threading.Lock()

    @app.before_request
    def check_host() -> Response | None:
        """Refuse a request to a host that is none of HOSTS."""
        try:
            name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            name = None
        if name in HOSTS:
            return None
        return Response(f"this page answers to {' and '.join(HOSTS)} only\n", 403, mimetype="text/plain")

    @app.after_request
    def protect(response: Response) -> Response:
        """Add HEADERS to every answer."""
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(Refusal)
    def refuse(refusal: Refusal) -> tuple[Markup, int]:
        """Answer with a page that has the line, and with its status."""
        return render(TEMPLATES / "message.html.j2", text=str(refusal), link=refusal.link, home="/"), refusal.status

    @app.errorhandler(HTTPException)
    def refuse_address(error: HTTPException) -> tuple[Markup, int]:
        """Answer in the same way where no page has the address, or none takes the method."""
        return refuse(Refusal(f"{request.path}: {(error.name or 'wrong').lower()}", error.code or 400))

    @app.get("/")
    def show_runs() -> Markup:
        """List the runs."""
        try:
            entries = listing.entries()
        except OSError as error:
            raise Refusal(f"cannot list {reports}: {error.strerror}", 404) from None
        return render(TEMPLATES / "runs.html.j2", reports=reports, entries=entries, kinds=KINDS, home="")

    @app.get("/compare")
    def show_comparison() -> Markup:
        """Compare two runs; one comparison at a time is computed."""
        before, after = (find(listing, request.args.get(side, "")) for side in ("before", "after"))
        with one_at_a_time:
            return compare(reports, before, after, "anyway" in request.args)

    @app.get("/runs/<name>/<page>")
    def show_page(name: str, page: str) -> Response:
        """Show a page that a run has left."""
        entry = find(listing, name)
        if page not in PAGES or page not in entry.pages:
            raise Refusal(f"{name} has no {page}", 404)
        return Response(read_page(reports / name, page, entry), mimetype="text/html")

    return app


def find(listing: Listing, name: str) -> Entry:
    """Return the entry of that name, which must be in the list. Raises Refusal."""
    if not name:
        raise Refusal("pick one run as before, and another as after")
    try:
        if name in listing.names():
            return listing.read(name)
    except OSError as error:
        raise Refusal(f"cannot list {listing.reports}: {error.strerror}", 404) from None
    raise Refusal(f"there is no run {name!r} in {listing.reports}", 404)


def compare(reports: Path, before: Entry, after: Entry, anyway: bool) -> Markup:
    """Return the page that `crossover report BEFORE AFTER` writes. Raises Refusal with the line that it prints.

    `anyway` compares also where more differs than what may be changed on purpose.
    """
    for entry in (before, after):
        if not entry.can_be_compared:
            raise Refusal(f"{entry.name} cannot be compared: {entry.problem or f'it is of {entry.kind!r}'}")
    try:
        found = compare_directories(reports / before.name, reports / after.name, anyway)
        return before_after.make_page(found, home="/")
    except NothingToCompare as error:
        address = f"/compare?{request.query_string.decode('latin-1')}&anyway=1"
        raise Refusal(
            str(error), link=("Compare them nevertheless", address) if error.can_be_forced else None
        ) from None
    except DAMAGE as error:
        raise Refusal(explain(error, reports)) from None


def read_page(directory: Path, page: str, entry: Entry) -> str | bytes:
    """Return a page that a run has left; that of a run of Locust's is made. Raises Refusal."""
    try:
        if is_plain_file(directory / page):
            return plain_file.read_written(directory / page)
        run = locust_run.load(directory) if entry.kind == LOCUST and page == html.NAME else None
        if run is None:
            raise Refusal(f"{entry.name} has no {page}", 404)
        return locust_run.make_page(run)
    except DAMAGE as error:
        raise Refusal(explain(error, directory)) from None


class Quiet(WSGIRequestHandler):
    """A handler of requests that prints no line for each of them."""

    server_version, sys_version = "crossover", ""

    def log(self, type: str, message: str, *args: object) -> None:
        """Print nothing."""


def open_server(reports: Path, port: int) -> BaseWSGIServer:
    """Return a server that listens on loopback at that port, a free one for 0; `serve_forever` runs it.

    Raises ValueError, in one line, if it cannot listen.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(32)
    except OSError as error:
        listener.close()
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"cannot listen on {LOOPBACK}:{port}: {why}; choose another with --port") from None
    # The server has a copy of the descriptor.
    with listener:
        return make_server(
            LOOPBACK, port, make_app(reports), threaded=True, request_handler=Quiet, fd=listener.fileno()
        )
