"""The rule that finds replicas of a server which did not share a run's requests evenly."""

from collections.abc import Mapping

from loadgen.samples.verdict import Facts, Violation

MAX_OFF, MAX_REQUESTS = 0.1, 3
"""How far a replica's requests may be off the even share: as a share of it, and in requests; a run breaks the rule
above both."""


def check_replicas(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find replicas that did not share the load evenly, that came or went, or whose requests are not known.

    The busiest replica is the first that is full: where it has 10 % more than the even share, N replicas carry N / 1.1
    times what one does. So the figures of such a run are those of its balance, whether a proxy or chance has made it.
    The limits are ours; a few requests more come from health checks.
    """
    if facts.replicas is None:
        return None
    known = {name: count for name, count in facts.replicas.items() if count is not None}
    if not known or len(known) < len(facts.replicas):
        lost = ", ".join(sorted(facts.replicas.keys() - known.keys())) or "every replica"
        measured = f"{lost} did not tell its requests both before and after the run: it came, went or started again"
        return measured, "the same replicas from start to end", "find out why, and measure again"
    share = sum(known.values()) / len(known)
    name, count = max(known.items(), key=lambda each: abs(each[1] - share))
    if abs(count - share) > max(MAX_OFF * share, MAX_REQUESTS):
        measured = f"{name} had {count} of {sum(known.values())} requests, where an even share is {share:.0f}"
        limit = f"within {MAX_OFF * 100:g} % of it, or {MAX_REQUESTS} requests"
        return measured, limit, "let a proxy spread single requests over replicas of one kind (docs/swarm.md)"
    return None


def describe_replicas(counts: Mapping[str, int | None]) -> str:
    """Return in one line how many requests each replica ended."""
    each = (f"{name} {'not known' if count is None else count}" for name, count in counts.items())
    return f"requests per replica: {', '.join(each)}"
