"""An experiment on a server that is up: its workloads are completed and tried, and the client takes its cores."""

from argparse import Namespace
from pathlib import Path

from common.figures import significant
from crossover.experiments.experiment import Experiment
from crossover.measurement import host, payload_check, resume, unloaded_latency
from crossover.measurement.extra_models import ExtraModels
from crossover.measurement.gateways import Gateways
from crossover.measurement.retry import Retries
from crossover.report.format import listed
from loadgen.arm import Arm, Mode
from serving.server import Server
from transport.reach import reach
from workloads import flags, payloads
from workloads.model_config import complete
from workloads.prepare_check import check_workload
from workloads.workload import Workload


class ServerExperiment(Experiment):
    """An experiment on a server that is up, with options that `check_server_options` has completed.

    `inputs` are the payloads of each workload, `cores` those of the client. Its trials go through `retries`, which
    repeat what went wrong and find the server again where it was restarted.
    """

    tried: int | None = 1
    """How many payloads of a user's own workload are prepared before the run; None: all."""

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.take_server()
        self.inputs = flags.load(options.payloads, options.workloads)

    def take_server(self) -> None:
        """Take the server at --url as the one that is measured, and the cores that it leaves as the client's."""
        state, say = Path(self.options.state), self.progress.print_line
        self.extra = ExtraModels(self.locate_server(), state, say)
        self.gateways = Gateways(self.extra.server, self.options, say)
        self.retries = Retries(self.find_server, say)
        self.cores = host.free_cores([*self.server.cores, *self.gateways.own])
        """The client's."""

    def locate_server(self) -> Server:
        """Return the server at --url, with the launcher's record of it."""
        return Server.at(self.options.url, Path(self.options.state))

    def find_server(self) -> Server:
        """Return the server at --url, with what only optional placements ask: models, gateways. Raises Unavailable."""
        server = self.locate_server()
        self.extra.restore(server)
        return self.gateways.restore(server)

    @property
    def server(self) -> Server:
        """The server that is measured; another one after it was restarted."""
        return self.retries.server

    def conduct(self) -> int:
        """Do as every run, and end then what was started and loaded for optional placements."""
        try:
            return super().conduct()
        finally:
            self.gateways.stop()
            self.extra.unload()

    def describe(self) -> dict:
        """Return the content of run.json at the beginning, with server, cores and inputs. Raises Unavailable."""
        steps = tuple(dict.fromkeys(step for each in self.options.workloads.values() for step in each.steps))
        return {
            **super().describe(),
            "asked": resume.describe_identity(self.options, self.identity, self.inputs),
            "server": self.server.facts(steps),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "workloads": {},
        }

    def begin(self) -> None:
        """Ask the server what the workloads leave to it, begin, take the client's cores, and print the setting.

        Models that only optional placements ask are loaded first. Raises Unavailable before anything is written if the
        server does not answer or lacks a model, and ValueError if a payload cannot be prepared or has no good answer,
        or as `try_out` does.
        """
        workloads = self.options.workloads
        # In place: the options hold the same dict, and what is written and measured next is read from there.
        workloads |= {name: self.extra.load(each, self.prepared(each)) for name, each in workloads.items()}
        workloads |= {name: complete(each, self.server.url, self.prepared(each)) for name, each in workloads.items()}
        workloads |= {name: self.gateways.start(each, self.prepared(each)) for name, each in workloads.items()}
        self.retries.server = self.gateways.restore(self.server)
        url, record, port = self.server.url, self.server.state, getattr(self.options, "grpc_port", None)
        workloads |= {name: reach(each, url, self.arms(each), record, port) for name, each in workloads.items()}
        for name, each in workloads.items():
            tried = self.inputs[name][: self.tried]
            check_workload(each, self.prepared(each), tried, self.library(each))
        self.server.require(each.placements[name].model for each in workloads.values() for name in self.prepared(each))
        for each in workloads.values():
            self.check_payloads(each)
        self.try_out()
        super().begin()
        host.pin(self.cores)
        print(setting(self.described))
        for name in workloads:
            print(f"{name}: {payloads.describe(self.inputs[name], self.options.payloads.get(name, ''))}", flush=True)

    def remarks(self) -> list[str]:
        """Return what the arms lose, where the experiment's own text does not say how their answers differ."""
        lines = super().remarks()
        for name, about in self.described["workloads"].items():
            if not about.get("parity"):
                losses = {arm: each["lossy"] for arm, each in about["placements"].items() if each.get("lossy")}
                lines += [f"{name} {arm} loses something: {lossy}." for arm, lossy in losses.items()]
        return lines

    def check_payloads(self, workload: Workload) -> None:
        """Send every payload once by each placement. Raises ValueError that names those without a good answer."""
        asked, mode, library = self.arms(workload), Mode("sequential"), self.library(workload)
        others = [name for name in self.prepared(workload) if name not in asked]
        sent, prepared = ([Arm(workload, name, mode, library) for name in names] for names in (asked, others))
        payload_check.check_payloads(self.server, sent, prepared, self.inputs[workload.name])

    def try_out(self) -> None:
        """Try on the server, before anything is written, what an experiment needs to know. Raises ValueError."""

    def library(self, workload: Workload) -> str:
        """Return the library of --library, if the workload has it."""
        return flags.choose_library(self.options.library, workload)

    def arms(self, workload: Workload) -> list[str]:
        """Return the placements that are measured, the baseline first."""
        return self.options.arms[workload.name]

    def prepared(self, workload: Workload) -> list[str]:
        """Return the placements that are tried before the run: those that are measured."""
        return self.arms(workload)

    def unloaded_latency(self, workload: Workload) -> dict[str, float]:
        """Measure the mean seconds of a request that has the server to itself, per placement. It warms up as well."""
        sent, arms = self.inputs[workload.name], self.arms(workload)
        return unloaded_latency.measure_unloaded_latency(self.server, workload, arms, self.library(workload), sent)

    def show_unloaded_latency(self, workload: Workload) -> dict[str, float]:
        """Measure the unloaded latency of each placement, and print a line before and after."""
        print(f"\n{workload.name}: one request at a time ...", flush=True)
        means = self.unloaded_latency(workload)
        shown = ", ".join(f"{placement} {significant(mean * 1e3)} ms" for placement, mean in means.items())
        print(f"{shown} (mean of the payloads' medians)", flush=True)
        return means


def setting(run: dict) -> str:
    """Describe from run.json who has which cores, the server and its weights: loudly where predictions mean nothing.

    Returns lines for the terminal.
    """
    server, cores = run["server"], run["cores"]
    if not cores["server"]:
        apart = "not a server of this machine's launcher; its CPU and GPU are not measured"
    elif set(cores["client"]) & set(cores["server"]):
        apart = "!! shared by both: a comparison on shared cores is not of equal budgets"
    else:
        apart = "pinned apart"
    lines = [
        f"server: {server.get('software', 'Triton')} {server['version']} at {server['url']}, engine "
        f"{run['engine'] or 'unknown'}",
        f"cores: client {listed(cores['client'])}, server {listed(cores['server'])}: {apart}",
    ]
    for model, facts in server["models"].items():
        weights = facts.get("provenance", {})
        if weights:
            # Where random ones come from is the name of a class, which says nothing; the seed draws them again.
            drawn = weights["weights"] != "pretrained" and weights.get("seed") is not None
            origin = f"seed {weights['seed']}" if drawn else weights["source"]
            lines.append(f"weights: {model}: {weights['weights']} ({origin})")
            if weights["weights"] != "pretrained":
                lines.append(f"         !! {weights['note']}")
    return "\n".join(lines)
