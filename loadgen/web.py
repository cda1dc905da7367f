"""What Crossover adds to Locust's web UI: a start form reduced to what counts here, and its checks."""

from types import SimpleNamespace

from flask import jsonify, request

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


def extend(web_ui, environment, check) -> None:
    """`check(options)` raises ValueError for options that cannot be run; the form then says so and nothing starts."""

    web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the form in the order declared

    @web_ui.app.before_request
    def refuse_bad_form():
        if request.method != "POST" or request.path.rpartition("/")[2] != "swarm":
            return None
        try:
            check(SimpleNamespace(**{**vars(environment.parsed_options), **request.form}))
        except ValueError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None

    @web_ui.app.after_request
    def open_form(response):
        if response.mimetype == "text/html" and not response.direct_passthrough:
            response.set_data(response.get_data(as_text=True).replace("</head>", OPEN_FORM + "</head>", 1))
        return response
