"""Make Locust's statistics precise: response times to three significant digits, from 10 microseconds up.

Locust counts response times in whole milliseconds (0.4 becomes 0, 147 becomes 150) and cuts them again on the way to
the console, the CSV files, the web page and the HTML report. `install` replaces each of those places, and no other.
"""

import re

import locust
from locust import html, stats


def bucket(ms: float) -> float:
    """Return the key under which a response time is counted.

    The key is off by less than 0.5 %; there are at most 900 keys per decade.
    """
    if ms < 0.01:
        return round(ms, 4) + 0.0  # no -0.0
    exact = float(f"{ms:.3g}")
    return exact if exact < 100 else int(exact)


def fine_round(ms: float, digits: int = 0) -> float:
    """Round to four digits, or as finely as Locust asks.

    The web page uses it for the least and the greatest time, and for averages over time.
    """
    return float(f"{ms:.4g}") if ms < 1000 else round(ms, digits)


def format_ms(ms: float) -> str:
    """Return a response time for the console, in ms: three digits, whole numbers from 1000 on."""
    return str(bucket(ms) if ms < 1000 else round(ms))


def has_no_times(entry: stats.StatsEntry) -> bool:
    """Return True if no request of the entry has a response time: only good answers do (`user.fire_request_event`)."""
    return 0 < entry.num_requests == entry.num_none_requests


def to_string(entry: stats.StatsEntry, current: bool = True) -> str:
    """Return a line of the console's table of requests."""
    rates = (entry.current_rps, entry.current_fail_per_sec) if current else (entry.total_rps, entry.total_fail_per_sec)
    times = entry.avg_response_time, entry.min_response_time or 0, entry.max_response_time, entry.median_response_time
    average, least, greatest, median = ("-",) * 4 if has_no_times(entry) else map(format_ms, times)
    return (
        f"{entry.method or '':<{stats.STATS_TYPE_WIDTH}} "
        f"{entry.name:<{stats.STATS_NAME_WIDTH - stats.STATS_TYPE_WIDTH + 4}} {entry.num_requests:>7} "
        f"{f'{entry.num_failures}({entry.fail_ratio:.2%})':>12} |"
        f"{average:>7} {least:>7} {greatest:>7}{median:>7} | {rates[0]:>7.2f} {rates[1]:>11.2f}"
    )


def print_progress(entries: stats.RequestStats, current: bool = True, write=stats.print_stats) -> None:
    """Print Locust's table of requests while a run goes on; after it, `run_recorder` has said how it ended."""
    if current:
        write(entries)


def percentile_fields(self: stats.StatsCSV, entry: stats.StatsEntry, use_current: bool = False) -> list:
    """Return the percentiles of a row of the CSV files; "N/A" each where nothing has a response time."""
    if not entry.num_requests or has_no_times(entry):
        return self.percentiles_na
    current = use_current and entry.use_response_times_cache
    of = entry.get_current_response_time_percentile if current else entry.get_response_time_percentile
    return [of(p) or 0 for p in self.percentiles_to_report]


def show_four_digits(script: str) -> str:
    """Return Locust's minified script with medians and averages to four digits instead of two decimals."""
    return re.sub(r"""(\(ms\)[`"],)round:2""", r"\1formatter:e=>e<1e3?+e.toPrecision(4):Math.round(e)", script)


render_template = html.render_template_from


def render_report(file: str, *args, **kwargs) -> str:
    """Render a template of Locust's, such as the HTML report, with four digits."""
    return show_four_digits(render_template(file, *args, **kwargs))


# Private parts of Locust: `install` fails at once where a new version has renamed one.
REPLACEMENTS = (
    (stats, "bucket_response_time", bucket),  # Locust documents that it may be replaced
    (stats, "proper_round", fine_round),
    (stats.StatsEntry, "to_string", to_string),
    (stats, "print_stats", print_progress),
    (stats, "print_percentile_stats", lambda entries: None),  # for the same reason
    (stats.StatsCSV, "_percentile_fields", percentile_fields),
    (html, "render_template_from", render_report),
)


def install() -> None:
    """Replace Locust's functions, in every process before its first request.

    Workers count, the master merges and shows, so both need it. Raises RuntimeError for a Locust that lacks one.
    """
    for owner, name, replacement in REPLACEMENTS:
        if not hasattr(owner, name):
            raise RuntimeError(
                f"Locust {locust.__version__} has no {owner.__name__}.{name}, which "
                "loadgen/locust_plugin/precise_stats.py replaces: install that of requirements/run.txt"
            )
        setattr(owner, name, replacement)
