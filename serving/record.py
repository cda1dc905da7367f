"""Makes the launcher's record of a server from what was asked for, and says it again as flags."""

import datetime
import os
import secrets
from dataclasses import asdict

from common.cpu_quota import list_usable_cores
from serving import docker, gpu, state, wheel
from serving.state import ASKED
from serving.status import steps_on_gpu
from serving.thread_plan import GPU_STEPS, format_cores, plan_threads

GPU_FLAGS = {"no_gpu", "on_cpu"}


def new_record(options, engine: str) -> dict:
    """Return the record of the server that the options ask for, as it is written before the server runs.

    The engine adds to it: `configs`, `more_models`, `more_configs`, `more_plan` and `pid` of a local server,
    `container_pid` of a container; `up` adds `packages` and `canaries`. The key to the restricted interfaces is that of
    CROSSOVER_ADMIN_KEY, or a new one; `shm_key` opens the registration of shared memory, and is empty without --shm.
    `gpu`: whether steps run on a GPU, or a container gets one; `card` is the one that a local server uses, and
    `no_gpu_because` says why there is none. `command` is the `crossover up ...` that starts it again; the
    supervisor adds `died`, when it saw the server's end.
    """
    obstacle = "--no-gpu was given" if options.no_gpu else find_obstacle(engine)
    ours = [] if options.only else [step for step in GPU_STEPS if step not in options.on_cpu]
    on_gpu = [] if obstacle or engine == "docker" else ours
    uses_gpu = bool(on_gpu) or (options.only and not obstacle)  # what strangers' models use, their files say
    card = gpu.used_card() if uses_gpu else None
    near = "127.0.0.1" if options.host == "0.0.0.0" else options.host
    return {
        "name": state.name(options.state),
        "engine": engine,
        **{key: getattr(options, key) for key in ASKED},
        "address": f"{near}:{options.http_port}",
        "plan": {} if options.only else plan_threads(len(list_usable_cores(options.cores)), options.slo, on_gpu),
        "gpu": uses_gpu or (engine == "docker" and not obstacle),
        "card": asdict(card) if card else None,
        "no_gpu_because": obstacle or ("" if uses_gpu or engine == "docker" else "--on-cpu was given for every step"),
        "admin_key": os.environ.get("CROSSOVER_ADMIN_KEY") or secrets.token_hex(16),
        "shm_key": secrets.token_hex(16) if options.shm else "",
        "command": getattr(options, "command", ""),
        "started": now(),
    }


def find_obstacle(engine: str) -> str | None:
    """Return why a server of this engine cannot use a GPU here, in one line; None if it can."""
    if engine == "docker":
        return None if docker.has_gpu() else "the Docker engine has no NVIDIA runtime"
    return gpu.obstacle(native=wheel.installed() is None)


def list_differences(record: dict, options) -> list[str]:
    """Return the settings of ASKED in which the options ask for another server than that of the record.

    Flags that lead to the same server are no difference: without a GPU, --no-gpu and --on-cpu change nothing.
    """
    differing = [key for key in ASKED if record[key] != getattr(options, key)]
    if GPU_FLAGS.isdisjoint(differing):
        return differing
    wanted = new_record(options, record["engine"])
    same = wanted["gpu"] == record["gpu"] and steps_on_gpu(wanted) == steps_on_gpu(record)
    return [key for key in differing if not (same and key in GPU_FLAGS)]


def say_flag(key: str, value) -> str:
    """Return a setting of ASKED as the flags that give it: "--slo 500", "--no-gpu", "no --no-gpu"."""
    flag = f"--{key.replace('_', '-')}"
    if value is True:
        return flag
    if value is False or value in ("", []):
        return f"no {flag}"
    if key == "requirements":
        return f"{flag} {value[0]} (content {value[1]})"
    values = value if key in ("on_cpu", "models") else [format_cores(value) if key == "cores" else value]
    return " ".join(f"{flag} {each}" for each in values)


def now() -> str:
    """Return the time as a record holds it: ISO 8601, UTC, in whole seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
