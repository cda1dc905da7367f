"""The table of shares: what became of the arrivals that the client prepared, and of those that it sent as files."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from crossover.measurement.shares import pool_shares
from crossover.measurement.trial import Trial
from crossover.report.format import P95_NEEDS, bracketed, label_arms, ms
from crossover.report.html import TEMPLATES, Section, render
from crossover.report.terminal import Column, draw_table
from loadgen.samples.sample import CLIENT, COMPLETED, REJECTED, SERVER

TITLE = "Shares"
WORDS = {CLIENT: "client-prepared", SERVER: "server-prepared"}
COLUMNS = (
    Column("share of the arrivals", left=True),
    *map(Column, ("arrivals", "answered", "refused", "p50", "p95", "client CPU", "server CPU")),
)
UNSPLIT = "The server's CPU is not split: of the processes that were measured there, none serves one share alone."
STEPS = (
    "Server CPU: only of models that have processes of their own and prepare. The rest serves both, and is not split."
)
UNKNOWN = "The client's CPU is not split: gRPC's threads, and Locust's, serve both shares."


def list_shares(trials: Sequence[Trial], by_load: bool = False) -> list[tuple[str, dict]]:
    """Return (arm, its shares by preparer) of each arm that splits its arrivals; of each load, if `by_load`."""
    groups: dict[str, list[Trial]] = {}
    labels = label_arms((trial.arm for trial in trials), workload=True)
    for trial in trials:
        groups.setdefault(labels[trial.arm] + f", {trial.arrivals}" * by_load, []).append(trial)
    found = ((name, pool_shares(group)) for name, group in groups.items() if group[0].summary.get("shares"))
    return [(name, shares) for name, shares in found if shares]


def list_rows(found: Sequence[tuple[str, Mapping]]) -> list[tuple[str, ...]]:
    """Return the cells of each share, in the order of COLUMNS."""
    return [
        (
            f"{name}: {WORDS[preparer]}",
            str(share["books"]["scheduled"]),
            str(share["books"][COMPLETED]),
            str(share["books"][REJECTED]),
            ms(share["latency"]["p50"]),
            bracketed(share["latency"]["p95"], share["books"][COMPLETED], needs=P95_NEEDS),
            ms(share.get("client_cpu_ms")),
            ms(share.get("server_cpu_ms")),
        )
        for name, shares in found
        for preparer, share in shares.items()
    ]


def list_notes(found: Sequence[tuple[str, Mapping]]) -> list[str]:
    """Say whose CPU is not split between the shares."""
    shares = [share for _, by_preparer in found for share in by_preparer.values()]
    notes = [STEPS if any(share.get("server_cpu_ms") is not None for share in shares) else UNSPLIT]
    lacks = any(share.get("client_cpu_ms") is None and share["books"]["scheduled"] for share in shares)
    return [*notes, *([UNKNOWN] if lacks else [])]


def text(found: Sequence[tuple[str, Mapping]]) -> str:
    """Return the table for the terminal; empty where nothing is split."""
    return "\n".join([draw_table(COLUMNS, list_rows(found)), *list_notes(found)]) if found else ""


def list_sections(found: Sequence[tuple[str, Mapping]]) -> list[Section]:
    """Return the table as a section of a page; none where nothing is split."""
    return [Section(make_body(found), TITLE)] if found else []


def make_body(found: Sequence[tuple[str, Mapping]]) -> Markup:
    """Return the table for a page."""
    return render(TEMPLATES / "shares.html.j2", columns=COLUMNS, rows=list_rows(found), notes=list_notes(found))
