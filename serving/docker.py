"""The server in a container, by docker compose. The container runs the same launcher: `python -m serving run`.

The image holds an environment only; the repository is mounted into the container. Which variables the compose files
read is in `compose`.
"""

import os
import shutil
import subprocess
from pathlib import Path

from serving import ROOT, Failure, local, model_loader, smoke_test
from serving.thread_plan import format_cores
from serving.triton_api import TritonAPI

UP = "serving: up"  # what `run` prints once the smoke test has passed


def output_of(*command, timeout: float = 60) -> str | None:
    """Run a command and return what it prints, or None if it cannot be run, fails, or takes `timeout` seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def obstacle() -> str | None:
    """Return in words why no container can be started here; None if one can."""
    if not shutil.which("docker"):
        return "there is no docker command here"
    if not output_of("docker", "version", "--format", "{{.Server.Version}}", timeout=3):
        return "no Docker engine answers"
    if not compose_command():
        return "a Docker engine answers, but there is neither `docker compose` nor docker-compose"
    return None


def compose_command() -> list[str] | None:
    """Return the command of docker compose that works here; None if there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if output_of(*command, "version"):
            return command
    return None


def has_gpu() -> bool:
    """Return whether the Docker engine can hand NVIDIA GPUs to a container."""
    return '"nvidia"' in (output_of("docker", "info", "--format", "{{json .Runtimes}}") or "")


def compose(record: dict, arguments: list[str], output=None) -> subprocess.CompletedProcess:
    """Run docker compose on this server's project, with the files and variables that it was started with.

    `output`: where it prints, or None for our own output. Raises Failure if there is no docker compose any more.
    """
    client_cores = sorted(os.sched_getaffinity(0) - set(record["cores"]))
    variables = {
        "CROSSOVER_USER": ":".join(map(str, user())),
        "CROSSOVER_WEIGHTS": record["weights"],
        "CROSSOVER_ADMIN_KEY": record["admin_key"],
        "CROSSOVER_HOST": record["host"],
        "CROSSOVER_SLO": str(record["slo"]),
        "CROSSOVER_CORES": format_cores(record["cores"]),
        "CROSSOVER_CLIENT_CORES": format_cores(client_cores),
        **{f"CROSSOVER_{kind.upper()}_PORT": str(record[f"{kind}_port"]) for kind in ("http", "grpc", "metrics")},
    }
    return run_compose(record["name"], arguments, variables, output, record["gpu"])


def run_compose(
    project: str, arguments: list[str], variables: dict[str, str], output=None, gpu=False, detached=False
) -> subprocess.CompletedProcess:
    """Run docker compose on a project; `detached`: in a session of its own, which Ctrl-C does not reach.

    Raises Failure if there is no docker compose any more.
    """
    command = compose_command()
    if command is None:
        raise Failure(f"{project} is a container, but docker compose is not here any more; install it")
    files = ["docker-compose.yml", *(["docker-compose.gpu.yml"] if gpu else [])]
    return subprocess.run(
        [*command, "--project-name", project, *(f"--file={ROOT / file}" for file in files), *arguments],
        env={**os.environ, **variables},
        stdout=output,
        stderr=output,
        check=False,
        start_new_session=detached,
    )


def user() -> tuple[int, int]:
    """Return (user, group) for the container: the caller's, who can read the repository, but never root's."""
    return (os.getuid(), os.getgid()) if os.getuid() else (10001, 10001)


def container(name: str) -> str | None:
    """Return the id of the running server container of a project; None or "" if there is none."""
    labels = ("project=" + name, "service=server")
    return output_of("docker", "ps", "-q", *(f"--filter=label=com.docker.compose.{label}" for label in labels))


def exists(project: str) -> bool:
    """Return whether there is a container of the project, running or not."""
    return bool(output_of("docker", "ps", "-aq", f"--filter=label=com.docker.compose.project={project}", timeout=10))


def up(record: dict, state: Path, say) -> None:
    """Build the image, start the container, and wait until both ensembles answer.

    Puts `container_pid` into the record. Raises Failure; then the caller clears what is there.
    """
    local.check_ports(record)
    if record["weights"] != "tiny":
        model_loader.check(record["weights"])
    log = state / "build.log"
    say(f"  building the image (minutes the first time; {log} grows meanwhile)")
    with log.open("w") as output:
        for step in (["build", "server"], ["up", "-d", "--no-build", "server"]):
            if compose(record, step, output).returncode:
                raise Failure(f"docker compose {step[0]} failed; its log, {log}, ends: {local.last_error(log)}")
    follow(record["name"], say)
    smoke_test.run(TritonAPI(record["address"]))
    first = output_of("docker", "inspect", "--format", "{{.State.Pid}}", container(record["name"]) or "")
    record["container_pid"] = int(first) if first else None  # as this machine counts: whose CPU time to report


def follow(name: str, say) -> None:
    """Repeat the container's progress until it is up. Raises Failure with its last line if it stops before."""
    identity = container(name)
    if not identity:
        raise Failure("the container stopped at once; try `docker compose up` to see why")
    last = "it said nothing"
    with subprocess.Popen(
        ["docker", "logs", "--follow", identity], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as logs:
        for line in map(str.rstrip, logs.stdout or ()):
            if line == UP:
                logs.kill()
                return
            if line.startswith(("  loaded ", "  smoke test:")):
                say(line)
            last = line or last
            if line.startswith("serving: "):  # it would be started again, and fail again
                logs.kill()
                break
    raise Failure(f"the server stopped in its container: {last.removeprefix('serving: ')}")


def down(project: str) -> None:
    """Remove the containers and the network, the load generator's too; the image stays."""
    arguments = ["--profile", "loadgen", "down", "--volumes", "--remove-orphans", "--timeout=25"]
    if run_compose(project, arguments, {}, subprocess.DEVNULL, detached=True).returncode:
        raise Failure(f"docker compose down failed; is Docker running? the project is {project}")
