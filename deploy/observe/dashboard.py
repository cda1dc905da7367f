"""Make Grafana's dashboard: the load generator and each step of the server on one time axis.

    .venv/bin/python deploy/observe/dashboard.py         # writes grafana/dashboards/crossover.json beside this file

It is written with Grafana's own model (grafana-foundation-sdk), so that nothing else can stand in the file.
"""

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, ValueMap
from grafana_foundation_sdk.models.dashboard import ValueMappingResult as Result

FILE = Path(__file__).parent / "grafana" / "dashboards" / "crossover.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
ARM, STEP = "{{workload}} {{arm}}", "{{model}}"
WINDOW = "[$__rate_interval]"


def rate(metric: str, by: str) -> str:
    """Return the rate of a counter per second, summed by these labels."""
    return f"sum by ({by}) (rate({metric}{WINDOW}))"


def per_request(metric: str) -> str:
    """Return the mean seconds per request of a counter of Triton's in microseconds, by model; idle ones have none."""
    return f"{rate(metric, 'instance, model')} / 1e6 / ({rate('nv_inference_request_success', 'instance, model')} > 0)"


def quantile(share: float, metric: str) -> str:
    """Return a quantile of one of the generator's histograms, by arm."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', 'workload, arm, le')})"


LOAD = {
    "Arrivals and outcomes": (
        "reqps",
        "Offered is what the schedule asks for. Where completed stays below it, a queue grows or arrivals are refused.",
        {
            f"{ARM}: offered": rate("crossover_arrivals_due_total", "workload, arm"),
            f"{ARM}: fired": rate("crossover_arrivals_fired_total", "workload, arm"),
            f"{ARM}: {{{{status}}}}": f"{rate('crossover_arrivals_finished_total', 'workload, arm, status')} > 0",
        },
    ),
    "Latency from the due time": (
        "s",
        "Of good answers, from buckets: a report has the exact percentiles.",
        {f"{ARM} p{share * 100:g}": quantile(share, "crossover_latency_seconds") for share in (0.5, 0.95, 0.99)},
    ),
    "In flight": (
        "short",
        "Fired and not ended, wherever the request waits.",
        {ARM: "sum by (workload, arm) (crossover_arrivals_in_flight)"},
    ),
    "Dispatch lag": (
        "s",
        "How late the generator is. Above 1 ms and 2 % of the median latency at p99 a run is INVALID.",
        {f"{ARM} p{share * 100:g}": quantile(share, "crossover_dispatch_lag_seconds") for share in (0.5, 0.99)},
    ),
}
SERVER = {
    "Queue of each step": (
        "s",
        "Mean wait per request. An ensemble has no queue: its steps have.",
        {STEP: per_request("nv_inference_queue_duration_us")},
    ),
    "Compute of each step": (
        "s",
        "Mean time per request in the model itself; of an ensemble, in all of its steps.",
        {STEP: per_request("nv_inference_compute_infer_duration_us")},
    ),
    "Waiting requests": (
        "short",
        "Requests that no instance has taken yet.",
        {STEP: "sum by (instance, model) (nv_inference_pending_request_count)"},
    ),
    "Answers of each step": (
        "reqps",
        "An ensemble's requests count for its steps, too. Triton counts its failure twice, and for no step.",
        {
            STEP: rate("nv_inference_request_success", "instance, model"),
            f"{STEP}: {{{{reason}}}}": f"{rate('nv_inference_request_failure', 'instance, model, reason')} > 0",
        },
    ),
    "Mean batch": (
        "short",
        "Requests per execution.",
        {
            STEP: f"{rate('nv_inference_count', 'instance, model')}"
            f" / ({rate('nv_inference_exec_count', 'instance, model')} > 0)"
        },
    ),
    "Wait at the busiest step, for autoscaling": (
        "s",
        "What a replica's autoscaler should look at, and beside it the mean over loaded models of NVIDIA's chart.",
        {
            "busiest step": "instance:triton_queue_seconds:max_rate30s",
            "mean over loaded models": "avg by (instance) (rate(nv_inference_queue_duration_us[30s])"
            " / (1 / 30 + rate(nv_inference_request_success[30s]))) / 1e6",
        },
    ),
    "CPU": (
        "short",
        "Cores that the generator (a master without its workers) uses; share of the server's machine that is in use.",
        {
            "generator, cores": "rate(process_cpu_seconds_total{job='loadgen'}" + WINDOW + ")",
            "server's machine, share": "nv_cpu_utilization",
        },
    ),
}
"""Title -> (unit, what it means, legend -> query)."""
STATE = {
    "Last run": "min by (workload, arm) (crossover_run_valid)",
    "Runs": "sum by (validity) (crossover_runs_total)",
    "Broken rules": "sum by (rule) (crossover_rules_broken_total)",
    "Workers lost": "sum(crossover_workers_lost_total)",
}
LEGENDS = {"Last run": ARM, "Runs": "{{validity}}", "Broken rules": "{{rule}}", "Workers lost": "lost"}


def ask(panel: timeseries.Panel | stat.Panel, queries: dict[str, str]) -> None:
    """Add queries to a panel, A, B and so on, and give it a number of its own."""
    panel.id(1 + [*STATE, *LOAD, *SERVER].index(panel.build().title or ""))
    for number, (legend, expression) in enumerate(queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        panel.with_target(query.datasource(SOURCE))


def make_chart(title: str, unit: str, means: str, queries: dict[str, str]) -> timeseries.Panel:
    """Make a chart over time, half as wide as the page."""
    legend = VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE).calcs(["mean", "max"]).show_legend(True)
    panel = timeseries.Panel().title(title).description(means).unit(unit).min(0).datasource(SOURCE).span(12).height(8)
    panel.legend(legend.placement(common.LegendPlacement.BOTTOM)).show_points(common.VisibilityMode.NEVER)
    panel.tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)).line_width(1).fill_opacity(0)
    ask(panel, queries)
    return panel


def make_state(title: str, expression: str) -> stat.Panel:
    """Make a panel of single figures, a quarter of the page wide."""
    panel = stat.Panel().title(title).datasource(SOURCE).span(6).height(4).no_value("none")
    panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME).graph_mode(common.BigValueGraphMode.NONE)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    if title == "Last run":
        words = {"0": Result(text="INVALID", color="red"), "1": Result(text="VALID", color="green")}
        panel.mappings([ValueMap(options=words)])
    ask(panel, {LEGENDS[title]: expression})
    return panel


def make() -> str:
    """Return the dashboard as JSON."""
    page = dashboard.Dashboard("Crossover").uid("crossover").tags(["crossover", "triton"]).readonly()
    page.description("The load generator and the steps of the server. Made by deploy/observe/dashboard.py.")
    page.refresh("5s").time("now-15m", "now").tooltip(DashboardCursorSync.CROSSHAIR).timezone("browser")
    page.with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    page.with_row(dashboard.Row("Load generator").id(101))
    for title, expression in STATE.items():
        page.with_panel(make_state(title, expression))
    for title, chart in LOAD.items():
        page.with_panel(make_chart(title, *chart))
    page.with_row(dashboard.Row("Server").id(102))
    for title, chart in SERVER.items():
        page.with_panel(make_chart(title, *chart))
    return json.dumps(page.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    FILE.write_text(make())
    print(f"wrote {FILE}")
