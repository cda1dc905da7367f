"""Models that only some placements ask: they are loaded for the length of a run, into a server of the launcher's.

Where --arms names such a placement, the server gets what it lacks: a model of `model_variants/`, or one that is derived
from another one's network (`Placement.derived`). At the end of the run they are unloaded, so that the next run finds
the server as it was, unless another run still uses them: every run that does has locked a file per model in the
launcher's state directory, and the last one unloads it, also what a killed run has left. Nothing is loaded into a
server that the launcher did not start: who runs it serves its models.

The supervisor does not know these models: one whose stub dies is loaded again where the run repeats a trial for it.
"""

import compileall
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from serving import ROOT, Failure, local, model_loader
from serving.processes import stubs
from serving.server import Server, Unavailable
from serving.triton_api import TritonGRPC
from workloads import catalogue
from workloads.workload import Derived, Workload

MOST_STUBS = 4
"""Instances of a model that decodes files, one per core up to here: each is a process with its own libraries."""


class ExtraModels:
    """Loads into a server what its placements lack; `unload` leaves it as it was.

    `state` is the launcher's state directory; `say` gets a line per model.
    """

    def __init__(self, server: Server, state: Path, say: Callable[[str], object] = print):
        self.server, self.say = server, say
        weights = server.state.get("weights")
        self.networks = state.resolve() / "models" if weights == "tiny" else model_loader.STEPS
        self.marks = state.resolve() / "extra-models"
        self._locks: dict[str, int] = {}
        """Model -> descriptor of its file in `marks`, locked with all other runs that use it."""
        self.loaded: dict[str, tuple[Workload, str, Derived | None]] = {}
        """Model -> the workload and the name of the placement that asked for it first, and how it is made."""

    def load(self, workload: Workload, names: Iterable[str]) -> Workload:
        """Load the models of these placements that the server lacks.

        Returns the workload with the paths of the networks that clients compute themselves. Raises ValueError, in one
        line, where such a network is missing or the launcher did not start the server, and Unavailable where a model
        does not load.
        """
        placements = dict(workload.placements)
        for name in names:
            placement = placements[name]
            if placement.network:
                path = self.networks / placement.network
                if not path.is_file():
                    asked = workload.describe_placement(name)
                    raise ValueError(f"{asked} computes the network {path}, which is missing; run `make models`")
                placements[name] = replace(placement, network=str(path))
            served = model_loader.names(model_loader.VARIANTS)
            if placement.derived:
                wanted = [placement.model]
            else:
                wanted = [model for model in (*placement.steps, placement.model) if model in served]
            for model in wanted:
                self._load(workload, name, model, placement.derived)
        return replace(workload, placements=placements)

    def unload(self) -> None:
        """Unload what was loaded for runs and no other uses, the ensembles first; a server that is gone has none."""
        for model in reversed(self.loaded):
            if (lock := self._locks.pop(model, None)) is None:
                continue
            # Where another run has it, this one's lock is lost, so that of two that end together one unloads.
            with contextlib.suppress(Failure, OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.server.admin_api.unload(model)
            os.close(lock)
        self.loaded = {}

    def _share(self, model: str) -> None:
        """Lock the model's file together with all other runs that use it; wait while one unloads it."""
        if model not in self._locks:
            self.marks.mkdir(exist_ok=True)
            self._locks[model] = os.open(self.marks / model, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._locks[model], fcntl.LOCK_SH)

    def restore(self, server: Server) -> None:
        """Load again what was lost: all of it where the server was restarted, or a model whose Python stub died.

        Raises Unavailable where a model does not load any more.
        """
        self.server, loaded = server, self.loaded
        for model, (workload, name, derived) in loaded.items():
            if not self._is_alive(model):
                with contextlib.suppress(Failure):
                    server.admin_api.unload(model)
                self._load(workload, name, model, derived)

    def _is_alive(self, model: str) -> bool:
        """Tell whether a model is ready, and has a stub if it runs in any: Triton calls one ready whose stub died."""
        if not self.server.api.is_ready(model):
            return False
        stubbed = model_loader.in_stubs(self.server.api.config(model).get("backend", ""))
        return not stubbed or any(stub.model == model for stub in stubs(self.server.state["name"]))

    def _load(self, workload: Workload, name: str, model: str, derived: Derived | None) -> None:
        """Load the model that a placement asks for, unless it is served without a run's doing.

        `derived` says how it is made of another model. Raises ValueError where the server is none of the launcher's,
        Unavailable where the model does not load.
        """
        self.server.field("/v2", "version")
        if self.server.api.is_ready(model) and not (self.server.state and (self.marks / model).exists()):
            return  # whoever serves it did not load it for a run
        asked = f"{workload.describe_placement(name)} asks the model {model}"
        if not self.server.state:
            raise ValueError(f"{asked}, which {self.server.url} lacks; only a server of `crossover up` gets it")
        # First, so that one whose load is interrupted is unloaded as well.
        self.loaded[model] = workload, name, derived
        self._share(model)
        if self.server.api.is_ready(model):
            return
        self.say(f"{workload.name}: loading {model} for {name}, until the end of this run")
        try:
            if derived:
                load_in_child(self.server, self.networks, (workload.file or workload.name, name))
            else:
                load_variant(self.server, model)
        except Failure as failure:
            raise Unavailable(f"{asked}, which does not load: {failure}") from None


def load_variant(server: Server, model: str) -> None:
    """Load a model of `model_variants/` with threads for the server's cores. Raises Failure with the server's words.

    Over HTTP: nobody is measured meanwhile, and gRPC's threads would stay in the load generator's process.
    """
    from google.protobuf import json_format

    folder, cores = model_loader.VARIANTS / model, len(server.cores) or 1
    compileall.compile_dir(folder, quiet=2)
    config = model_loader.read_config(folder)
    if config.HasField("ensemble_scheduling"):
        described = json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
    else:
        # A model of the Python backend that decodes files takes a core per process.
        decodes = config.backend == "python" and any(tensor.allow_ragged_batch for tensor in config.input)
        share: dict = {"instances": min(cores, MOST_STUBS) if decodes else 1, "threads": cores}
        if slo := server.state.get("slo"):
            share["slo_ms"] = slo
        described = model_loader.configuration(folder, share, local.metrics_address(server.state))
    server.admin_api.load(model, described, model_loader.LONGEST)


Reference = tuple[str, str]
"""A workload's name or file, and the name of one of its placements."""


def load_in_child(server: Server, networks: Path, reference: Reference) -> None:
    """Load a derived model into a server of the launcher's, without a file; `networks` holds what it is made from.

    By gRPC, for Triton's HTTP interface does not survive a body of 136 MB; and in a process of its own, so that the
    load generator's is left alone by gRPC's threads. Raises Failure with the last line that the process said.
    """
    arguments = json.dumps([server.url, server.state, str(networks), reference])
    command = [sys.executable, "-m", "crossover.measurement.extra_models", arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure((done.stderr.strip().splitlines() or ["the child ended without a word"])[-1])


def load_derived(server: Server, networks: Path, reference: Reference) -> None:
    """Load a derived model, in this process. Raises ValueError if the placement has none."""
    import onnx

    workload, name = reference
    placement = catalogue.find(workload).with_arms([name]).placements[name]
    if not (derived := placement.derived):
        raise ValueError(f"placement {name} has no model that is derived from another one")
    config = server.get(f"/v2/models/{derived.source}/config")
    guarded = model_loader.SAMPLE_AXIS in config.get("parameters", {})
    reshape = {"reshape": {"shape": [1, *derived.input["dims"]]}} if guarded else {}
    config["input"] = [{**derived.input, **reshape}]
    config["name"] = placement.model
    for output in config["output"]:
        output.pop("label_filename", None)
    network = onnx.load(networks / derived.source / "1" / "model.onnx")
    content = derived.transform(network).SerializeToString()
    address = f"{urlsplit(server.url).hostname}:{server.state['grpc_port']}"
    grpc = TritonGRPC(address, server.state["admin_key"])
    grpc.load(config["name"], json.dumps(config), {"file:1/model.onnx": content})


if __name__ == "__main__":
    url, record, path, given = json.loads(sys.argv[1])
    load_derived(Server(url, record), Path(path), tuple(given))
