"""Extend Locust's web UI: a start form reduced to the options that apply, its checks, and the Crossover tab.

The form is changed by a script in the page's head, which also puts the tab's page where Locust has an empty tab.
"""

from argparse import Namespace
from collections.abc import Callable
from html import escape

from flask import jsonify, request
from flask_login import current_user
from locust.env import Environment

from loadgen.locust_plugin import crossover_tab, flags, web_access

HEAD = (crossover_tab.PAGE / "head.html").read_text()
"""What is added to the page's head."""


def extend(
    web_ui, environment: Environment, check: Callable[[Namespace], object], subject: str = "", workload: str = ""
) -> None:
    """Protect and extend the page of Locust's WebUI; `subject` is what the workload of that name sends, for titles.

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

    crossover_tab.add_routes(web_ui, environment, subject, workload)
    web_ui.template_args["extended_tabs"] = [{"title": "Crossover", "key": "crossover"}]

    @web_ui.app.after_request
    def extend_response(response):
        """Add HEAD and a title to Locust's page."""
        if response.mimetype == "text/html" and response.status_code == 200 and not response.direct_passthrough:
            title = f"<title>Crossover: {escape(subject)}</title>"
            page = response.get_data(as_text=True).replace("</head>", HEAD + "</head>", 1)
            response.set_data(page.replace("<title>Locust</title>", title, 1))
        return response
