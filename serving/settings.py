"""The settings of a server, from any command line: they are checked and completed before anything is started."""

import socket
from pathlib import Path

from common.messages import one_line
from serving import more_models, requirements, thread_plan
from serving.ports import PORTS

WEIGHTS = "real", "fp16", "tiny"
"""Networks of a server: the exported ones, the same in half precision, or stand-ins."""
HTTP_PORT = 8000


def complete(options) -> None:
    """Replace the texts of cores, host and ports by core numbers, an IPv4 address and numbers, in place.

    A gRPC or metrics port that is None becomes the HTTP port plus 1 or 2; `models`, folders of more models, become
    absolute paths, `requirements` a path with its hash, and `on_cpu` is sorted. With `only` there are no `weights`.
    Raises ValueError, in one line that names the flag, for what makes no sense.
    """
    options.cores = thread_plan.server_cores(options.cores)
    options.host = resolve_host(options.host)
    options.http_port = parse_port("--http-port", options.http_port)
    for number, kind in enumerate(PORTS):
        given = getattr(options, f"{kind}_port")
        port = parse_port(f"--{kind}-port", options.http_port + number if given is None else given)
        setattr(options, f"{kind}_port", port)
    if len({getattr(options, f"{kind}_port") for kind in PORTS}) < len(PORTS):
        raise ValueError("--http-port, --grpc-port and --metrics-port must differ")
    options.on_cpu = sorted(set(options.on_cpu))
    if unknown := sorted(set(options.on_cpu) - set(thread_plan.GPU_STEPS)):
        known = ", ".join(thread_plan.GPU_STEPS)
        raise ValueError(f"--on-cpu: {unknown[0]!r} is none of the steps that can run on a GPU: {known}")
    for flag in ("only", "requirements", "admission"):
        if getattr(options, flag) and not options.models:
            raise ValueError(f"--{flag} is about the models of --models DIR; give them, too")
    if options.admission and not options.slo:
        raise ValueError("--admission needs an --slo above 0: it refuses what would take longer")
    options.models = [find_folder(folder) for folder in options.models]
    more_models.check(options.models, options.only)
    options.requirements = requirements.hash_file(options.requirements) if options.requirements else []
    options.weights = "none" if options.only else options.weights


def find_folder(given: str) -> str:
    """Return the absolute path of a folder of --models. Raises ValueError for what cannot be the path of one."""
    try:
        path = Path(given).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: of links, until Python 3.12
        why = getattr(error, "strerror", None) or "links that lead to themselves"
        raise ValueError(f"--models {one_line(given) or repr(given)}: {why}; expected a model repository") from None
    if not given or not path.is_dir():
        raise ValueError(f"--models {one_line(given) or repr(given)}: no folder; expected a model repository")
    return str(path)


def parse_port(flag: str, value: str | int) -> int:
    """Return the number of a TCP port, from 1 to 65535. Raises ValueError for anything else."""
    text = str(value)
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 65536:
        raise ValueError(f"{flag}: {text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def resolve_host(text: str) -> str:
    """Return the IPv4 address of a host name or address; Triton's servers take nothing else. Raises ValueError."""
    try:
        return socket.gethostbyname(text)
    except (OSError, UnicodeError):
        raise ValueError(f"--host: {text!r} is no address of this machine; try 127.0.0.1 or 0.0.0.0") from None
