"""What each share of the arrivals came to, of a placement that splits them between client and server (`mixed:0.6`)."""

from collections.abc import Sequence

from crossover.measurement.trial import Trial, pool_records
from loadgen.samples.sample import CLIENT, SERVER
from loadgen.samples.summary import summarise_shares


def pool_shares(trials: Sequence[Trial]) -> dict | None:
    """Return preparer -> figures of its share over several trials of an arm; None where nothing is split.

    These are `books`, `latency` in ms, `client_cpu_ms` and `server_cpu_ms`, both per arrival of the share; the latter
    two are None where they cannot be told apart. Pacing and collecting cost every arrival the same.
    """
    shares = summarise_shares(pool_records(trials)[0])
    if shares is None:
        return None
    counts = {preparer: share["books"]["scheduled"] for preparer, share in shares.items()}
    known = all(trial.shares for trial in trials)
    both = sum(trial.shares["both"] for trial in trials) / max(1, sum(counts.values())) if known else 0.0
    for preparer, share in shares.items():
        own = sum(trial.shares[preparer] for trial in trials) if known else 0.0
        count = counts[preparer]
        share["client_cpu_ms"] = (own / count + both) * 1e3 if known and count else None
        share["server_cpu_ms"] = None
    shares[SERVER]["server_cpu_ms"] = measure_own_steps(trials)
    return shares


def measure_own_steps(trials: Sequence[Trial]) -> float | None:
    """Return the server's CPU in ms per arrival that it prepared, of models in processes of their own; None without.

    Such a model serves that share alone if it answered no more requests than the share has arrivals while the client
    prepared others. What the server spends in its one process on both shares is in no way told apart.
    """
    found = []
    for trial in trials:
        shares = trial.summary["shares"]
        files, prepared = (shares[each]["books"]["scheduled"] for each in (SERVER, CLIENT))
        alone = [m for m in trial.step_cpu if 0 < trial.steps.get(m, {}).get("requests", 0) <= files]
        if not (files and prepared and alone):
            return None
        found.append(sum(trial.step_cpu[model] for model in alone) * 1e3)
    return sum(found) / len(found) if found else None
