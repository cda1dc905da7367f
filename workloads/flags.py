"""What a command line says of workloads: which, what they send, and which of their placements are the arms."""

from collections.abc import Mapping, Sequence

from workloads import optional
from workloads.payloads import Payload
from workloads.transport_choice import split_name
from workloads.workload import Workload


def parse_payloads(texts: Sequence[str], workloads: Mapping[str, Workload]) -> dict[str, str]:
    """Return workload -> directory, from DIR or NAME=DIR. Raises ValueError where it is not clear which is meant."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, directory = text.partition("=")
        if not separator or ("/" in name and name not in workloads):
            if len(workloads) > 1:
                example = f"{next(iter(workloads))}={text}"
                raise ValueError(f"--payloads {text}: say of which workload, as {example}, or give one workload")
            name, directory = next(iter(workloads)), text
        if name not in workloads:
            raise ValueError(f"--payloads {text}: unknown workload {name!r}; try one of {', '.join(workloads)}")
        if not directory:
            raise ValueError(f"--payloads {text}: names no directory")
        if name in found:
            raise ValueError(f"--payloads names two directories for {name}; give one")
        found[name] = directory
    return found


def load(payloads: Mapping[str, str], workloads: Mapping[str, Workload]) -> dict[str, list[Payload]]:
    """Read what each workload sends; return name -> payloads. Raises ValueError with one line."""
    return {name: each.load(payloads.get(name, "")) for name, each in workloads.items()}


def choose_library(library: str, workload: Workload) -> str:
    """Return that library where the workload has it; empty, its default, where only others have."""
    return library if library in workload.libraries else ""


def check_library(library: str, workloads: Mapping[str, Workload]) -> None:
    """Check that a workload has this library. Raises ValueError if none has."""
    if library and not any(library in each.libraries for each in workloads.values()):
        good = "; ".join(f"{name} has {', '.join(each.libraries) or 'none'}" for name, each in workloads.items())
        raise ValueError(f"unknown library {library!r}; {good}")


def choose_arms(
    text: str | None,
    workloads: Mapping[str, Workload],
    count: int = 0,
    transport: str | None = None,
    searches: bool = False,
) -> dict[str, list[str]]:
    """Return workload -> its arms that are measured, baseline first; the first two placements where `text` is None.

    `text` is names with commas, each of a placement, or of one and a transport, as `client+grpc`. `count` is how many
    there must be (0: any), `transport` that of the arms which name none (None: HTTP), `searches` whether the command
    takes mixed:best. The workloads get what the arms name by `Workload.with_arms`. Raises ValueError with one line that
    names what was given and what is good.
    """
    arms: dict[str, list[str]] = {}
    for name, workload in workloads.items():
        known = optional.list_names(workload.bases)
        good = ", ".join(known)
        if count == 2 and len(workload.placements) == 1 and text is None:
            raise ValueError(f"{name} has one placement, {good}; a comparison needs two")
        chosen = list(workload.compared) if text is None else [each.strip() for each in text.split(",")]
        if not any(chosen):
            raise ValueError(f"--arms is empty; name some placements of {name}, of {good}, with commas")
        for each in chosen:
            if split_name(each)[0] == optional.BEST and not searches:
                raise ValueError(f"{each} is found by `crossover capacity`; here give the client's share, as mixed:0.6")
            optional.find(workload.bases, split_name(each)[0], name, each)
        chosen = [each if "+" in each or not transport else f"{each}+{transport}" for each in chosen]
        different = len(set(chosen)) == len(chosen)
        if not different or (count and len(chosen) != count):
            number = f"{count} different" if count else "different"
            if different and len(chosen) > count:
                table = f"`crossover placements {workload.file or name} --arms {','.join(chosen)}`"
                raise ValueError(f"--arms takes {count} placements, not {len(chosen)}; {table} prints a table of them")
            raise ValueError(f"--arms takes {number} placements of {name}, of {good}; not {', '.join(chosen)!r}")
        arms[name] = chosen
    return arms


def add_arms(
    workloads: Mapping[str, Workload], arms: Mapping[str, Sequence[str]], library: str = ""
) -> dict[str, Workload]:
    """Return the workloads with the placements that their arms name, which prepare with this library where they can."""
    return {name: each.with_arms(arms[name]).with_library(library) for name, each in workloads.items()}


def refuse_transports(arms: Mapping[str, Sequence[str]], command: str) -> None:
    """Raise ValueError if an arm names a transport, for a command that measures over HTTP only."""
    if named := [arm for chosen in arms.values() for arm in chosen if "+" in arm]:
        raise ValueError(f"{command} measures over HTTP only, and --arms names {named[0]}")


def refuse_optional(arms: Mapping[str, Sequence[str]], workloads: Mapping[str, Workload], command: str) -> None:
    """Raise ValueError if an arm names an optional placement, for a command that starts servers of its own."""
    for name, chosen in arms.items():
        own = workloads[name].placements
        if unknown := [arm for arm in chosen if arm not in own]:
            line = f"{command} takes the placements {', '.join(own)} of {name}, and --arms names {unknown[0]}"
            mixed = unknown[0].partition(":")[0] == optional.MIXED
            raise ValueError(line + "; `crossover capacity --link` has it behind a link" * mixed)


def refuse_gateways(arms: Mapping[str, Sequence[str]], workloads: Mapping[str, Workload], command: str) -> None:
    """Raise ValueError if an arm needs a gateway, for a command that starts none; the workloads have all arms."""
    for name, chosen in arms.items():
        if named := [arm for arm in chosen if workloads[name].placements[arm].gateway]:
            raise ValueError(f"{command} starts no gateway, and --arms names {named[0]} of {name}")
