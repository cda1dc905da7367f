"""The names, types and meanings of the metrics, as docs/metrics.md lists them.

They follow https://prometheus.io/docs/practices/naming/: base units, `_total` behind what only grows.
"""

from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

ARM = ("workload", "arm")
"""The labels of what is counted for each arm."""


class Family(NamedTuple):
    """One metric; a counter's name ends with `_total`."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ARM

    def start(self) -> Any:
        """Return the metric for `prometheus_client`, without a value; its `add_metric(labels, value)` adds one."""
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
        return kinds[self.type](self.name, self.help, labels=self.labels)


DUE = Family("crossover_arrivals_due_total", "counter", "Arrivals whose due time has come.")
FIRED = Family("crossover_arrivals_fired_total", "counter", "Arrivals that the dispatcher handed to the client.")
FINISHED = Family(
    "crossover_arrivals_finished_total", "counter", "Arrivals that ended, by their outcome.", (*ARM, "status")
)
IN_FLIGHT = Family("crossover_arrivals_in_flight", "gauge", "Arrivals that were fired and have not ended.")
LAG = Family("crossover_dispatch_lag_seconds", "histogram", "Seconds from the due time to the dispatch.")
LATENCY = Family("crossover_latency_seconds", "histogram", "Seconds from the due time to a good answer.")
ACTIVE = Family("crossover_run_active", "gauge", "1 while a run goes on, else 0.")
VALID = Family("crossover_run_valid", "gauge", "1 if the last run that ended was VALID, 0 if it was INVALID.")
RUNS = Family("crossover_runs_total", "counter", "Runs that ended, by their validity.", (*ARM, "validity"))
BROKEN = Family("crossover_rules_broken_total", "counter", "Runs that broke a rule of validity.", (*ARM, "rule"))
CONNECTED = Family("crossover_workers_connected", "gauge", "Worker processes that answer to this master.", ())
LOST = Family("crossover_workers_lost_total", "counter", "Worker processes that fell silent during a run.", ())

FAMILIES = (DUE, FIRED, FINISHED, IN_FLIGHT, LAG, LATENCY, ACTIVE, VALID, RUNS, BROKEN, CONNECTED, LOST)
"""All of them, in the order of the page."""
