"""What Crossover adds to Locust's web UI: a start form reduced to what counts here, its checks, and a live tab."""

import re
from types import SimpleNamespace

from flask import json, jsonify, request
from flask_login import current_user

from loadgen.locust_plugin import web_access
from loadgen.locust_plugin.live_view import Live
from loadgen.locust_plugin.precise_stats import unrounded

OPEN_FORM = """
<script>
// Locust folds an application's own arguments away and shows its closed-loop ones, disabled. Here it is the reverse.
new MutationObserver(() => {
  const form = document.querySelector('form');
  if (!form || form.dataset.crossover) return;
  form.dataset.crossover = 'opened';
  for (const field of form.querySelectorAll('input:disabled'))
    field.closest('.MuiFormControl-root').style.display = 'none';
  for (const summary of form.querySelectorAll('.MuiAccordionSummary-root'))
    if (summary.textContent.includes('Custom')) summary.click();
    else summary.closest('.MuiAccordion-root').style.display = 'none';
}).observe(document.documentElement, {childList: true, subtree: true});
</script>
"""

LIVE = {
    "number": "Run",
    "arm": "Arm",
    "state": "Time (s)",
    "offered": "Offered /s",
    "completed": "Completed /s",
    "in_flight": "In flight",
    "dropped": "Dropped",
    "rejected": "Rejected",
    "timed_out": "Timed out",
    "failed": "Failed",
    "lag_p50": "Dispatch lag p50 (ms)",
    "lag_p99": "Dispatch lag p99 (ms)",
    "wait_p50": "Wait p50 (ms)",
    "prepare_p50": "Prepare p50 (ms)",
    "server_p50": "Server p50 (ms)",
    "latency_p50": "Latency p50 (ms)",
    "latency_p99": "Latency p99 (ms)",
}
"""The live tab's columns: a key of `Live.row` and its title. Locust sorts by `name`; the latest run comes first."""


def live_rows() -> list[dict]:
    return [{"name": -run.number, **run.row()} for run in Live.runs]


def extend(web_ui, environment, check) -> None:
    """`check(options)` raises ValueError for options that cannot be run; the form then says so and nothing starts."""

    web_access.protect(web_ui)
    web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the form in the order declared

    @web_ui.app.before_request
    def refuse_bad_form():
        if request.method != "POST" or request.path.rpartition("/")[2] != "swarm":
            return None
        if web_ui.web_login and not current_user.is_authenticated:
            return None  # Locust sends him to the login page
        try:
            check(SimpleNamespace(**{**vars(environment.parsed_options), **request.form}))
        except ValueError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None

    columns = [{"key": key, "title": title} for key, title in LIVE.items()]
    web_ui.template_args["extended_tabs"] = [{"title": "Live", "key": "live"}]
    web_ui.template_args["extended_tables"] = [{"key": "live", "structure": columns}]

    @web_ui.app.after_request
    def extend_response(response):
        if request.endpoint == "locust.request_stats" and response.is_json:
            stats = {**response.get_json(), "extended_stats": [{"key": "live", "data": live_rows()}]}
            response.set_data(json.dumps(stats))
        elif request.endpoint == "locust.send_assets" and response.mimetype.endswith("javascript"):
            response.direct_passthrough = False
            response.set_data(unrounded(response.get_data(as_text=True)))
            response.cache_control.no_store = True
        elif response.mimetype == "text/html" and not response.direct_passthrough:
            page = response.get_data(as_text=True).replace("</head>", OPEN_FORM + "</head>", 1)
            response.set_data(re.sub(r"(assets/[\w-]+\.js)", r"\1?unrounded", page))  # and no copy kept by a browser
        return response
