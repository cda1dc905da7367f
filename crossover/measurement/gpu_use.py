"""What requests cost a server's GPUs, pooled over trials."""

from collections.abc import Sequence

from crossover.measurement.trial import Trial


def summarise_gpu(trials: Sequence[Trial]) -> dict:
    """Return joules per request, mean utilisation (0 to 1) and most memory in use (MB) over the trials that know them.

    The keys are `gpu_joules`, `gpu_utilisation` and `gpu_memory_mb`; their values are None without any such trial.
    """
    memory = [trial.gpu["memory_mb"] for trial in trials if trial.gpu and trial.gpu.get("memory_mb") is not None]
    known = [(trial.gpu, trial.scheduled) for trial in trials if trial.gpu]
    joules = sum(gpu["energy_joules"] for gpu, _ in known)
    return {
        "gpu_joules": joules / max(1, sum(scheduled for _, scheduled in known)) if known else None,
        "gpu_memory_mb": max(memory, default=None),
        "gpu_utilisation": sum(gpu["utilisation"] for gpu, _ in known) / len(known) if known else None,
    }
