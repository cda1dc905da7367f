"""Extend Locust's web UI: a start form reduced to the options that apply, its checks, and a live tab.

Locust offers templates for tabs and tables of one's own; form and scripts are changed in its responses.
"""

import re
from argparse import Namespace
from collections.abc import Callable
from html import escape
from pathlib import Path

from flask import json, jsonify, request
from flask_login import current_user
from locust.env import Environment

from loadgen.locust_plugin import flags, web_access
from loadgen.locust_plugin.live_view import COLUMNS, LiveRun
from loadgen.locust_plugin.precise_stats import show_four_digits

PAGE = Path(__file__).with_name("page.html").read_text()
"""What is added to the page's head."""


def make_live_rows() -> list[dict]:
    """Return the live tab's rows. Locust sorts them by `name`, so that the latest run comes first."""
    return [{"name": -run.number, **run.row()} for run in LiveRun.runs]


def extend(web_ui, environment: Environment, check: Callable[[Namespace], object], subject: str = "") -> None:
    """Protect and extend the page; `web_ui` is Locust's WebUI, and `subject` is what is sent, for its title.

    `check` takes the options of a form and raises ValueError if they cannot be run, ConnectionError if no server
    answers; the form then shows the message and nothing starts.
    """
    web_access.protect(web_ui)
    # The form keeps the order in which the options were declared.
    web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}

    @web_ui.app.before_request
    def reject_bad_form():
        """Answer a start form that cannot be run with a message; None lets Locust go on."""
        if request.method != "POST" or request.path.rpartition("/")[2] != "swarm":
            return None
        if web_ui.web_login and not getattr(current_user, "is_authenticated", False):
            return None  # Locust redirects to the login page
        try:
            check(Namespace(**{**vars(environment.parsed_options), **request.form}))
        except (ValueError, ConnectionError) as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        flags.last_form.update(request.form)
        return None

    columns = [{"key": key, "title": title} for key, title in COLUMNS.items()]
    web_ui.template_args["extended_tabs"] = [{"title": "Live", "key": "live"}]
    web_ui.template_args["extended_tables"] = [{"key": "live", "structure": columns}]

    @web_ui.app.after_request
    def extend_response(response):
        """Add the live tab's rows to the statistics, precision to the scripts, PAGE and a title to the page."""
        if request.endpoint == "locust.request_stats" and response.is_json:
            stats = {**response.get_json(), "extended_stats": [{"key": "live", "data": make_live_rows()}]}
            response.set_data(json.dumps(stats))
        elif request.endpoint == "locust.send_assets" and response.mimetype.endswith("javascript"):
            response.direct_passthrough = False
            response.set_data(show_four_digits(response.get_data(as_text=True)))
            response.cache_control.no_store = True
        elif response.mimetype == "text/html" and not response.direct_passthrough:
            title = f"<title>Crossover: {escape(subject)}</title>"
            page = response.get_data(as_text=True).replace("</head>", PAGE + "</head>", 1)
            page = page.replace("<title>Locust</title>", title, 1)
            # Another address than Locust's, so that the browser takes no cached copy of its script.
            response.set_data(re.sub(r"(assets/[\w-]+\.js)", r"\1?precise", page))
        return response
