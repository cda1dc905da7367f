"""Reloads a model whose Python stub died, and reports when tritonserver itself has ended.

Triton never restarts a dead stub: each request to it takes a second to fail, one after the other, while
`/v2/health/ready` goes on saying 200. The supervisor waits for the end of the stubs' processes, which costs nothing
until one ends, and then reloads that one model with the configuration that it was loaded with. A model without a living
instance is unloaded first: requests to it are then refused at once instead of queueing, and health tells the truth. A
model that still has a living instance is replaced while that one answers. Both go over gRPC, because over HTTP a load
holds up a thread that serves requests, and every connection of that thread, until it is done. The stub of a hanging
model has not ended: if a model has requests and answers none, the supervisor ends its stubs.

While a model is unloaded, requests to it get 404, for as long as it takes to load: 0.3 s for a small network, seconds
for a large one or for a step that imports librosa. Nothing in Triton 2.51 avoids that. Loading before unloading leaves
the requests to the dead instance, which fails each after one or two seconds; a new instance group in place of the old
one works once, and leaves the model dead when a stub dies a second time.

Triton never ends the old version of a model whose stub died, so the supervisor clears what is left of it: living stubs
and files of shared memory. tritonserver keeps its own share (the mapping and some idle threads) until it ends.

An inference is sent only after a repair, so none of this shows in the models' statistics otherwise.
"""

import contextlib
import datetime
import json
import os
import select
import signal
import threading
import time

from common.messages import name_command
from serving import Failure, canaries, local, model_loader
from serving.hang_detector import HUNG, HangDetector
from serving.processes import Stub, stubs
from serving.triton_api import TooSlow, TritonAPI, TritonGRPC, sum_up

RESCAN = 5.0  # seconds between two looks for what ends no process: stubs that were started, repairs that failed
STALE = 60.0  # seconds after which shared memory without a stub no longer belongs to one that is about to start
AWAITED = 5.0  # seconds for which a reload is waited for; one that takes longer goes on beside others
PATIENCE = 10.0  # seconds for each half of the smoke test after a repair


class Supervisor:
    """Watches one server of the launcher's and repairs its models."""

    def __init__(self, record: dict, say, restart=lambda: None):
        """Take `record`, the launcher's of a server whose `up` is complete, and `say`, which gets a line per event.

        `restart` is called when only a new server can bring a model back.
        """
        self.restart, self.record = restart, record
        self.name, self.say = record["name"], say
        self.api = TritonAPI(record["address"], record["admin_key"])
        self.grpc = TritonGRPC(f"{record['address'].rpartition(':')[0]}:{record['grpc_port']}", record["admin_key"])
        self.watched: dict[int, Stub] = {}  # by process descriptor
        self.dead: list[Stub] = []
        self.old: dict[Stub, float] = {}  # living stubs of a model that was reloaded -> when that was
        self.broken: dict[str, float] = {}  # models to be reloaded -> when that was noticed
        self.reloads: dict[str, Reload] = {}  # those under way, by model
        self.unseen = set(record["plan"])  # models that this supervisor has not seen ready yet
        configs = {**record["configs"], **record.get("more_configs", {})}
        self.configs = {model: json.loads(config) for model, config in configs.items()}
        self.hang_detector = HangDetector(local.metrics_address(record))
        self.grace = max(RESCAN, record["slo"] / 1e3)  # seconds for an old stub to answer what it has accepted

    def watch(self, server: int) -> None:
        """Repair the models until the tritonserver with this pid has ended, or return at once if it has already."""
        try:
            end = os.pidfd_open(server)
        except ProcessLookupError:
            return
        if local.processes(self.name).get(server) != local.SERVER:
            return  # it had ended, and another process has its number now
        while True:
            self.repair(self.adopt())
            if self.wait(end):
                return
            self.end_hung()

    def wait(self, end: int) -> bool:
        """Wait until a process ends, RESCAN seconds at most; True if it was the server, whose descriptor is `end`."""
        poll = select.poll()
        for descriptor in (end, *self.watched):
            poll.register(descriptor, select.POLLIN)
        return end in [descriptor for descriptor, _ in poll.poll(RESCAN * 1000)]

    def adopt(self) -> list[Stub]:
        """Return the living stubs, and watch them all from now on; those that were watched and have ended are dead."""
        living, known = stubs(self.name), set(self.watched.values())
        for descriptor in [each for each, stub in self.watched.items() if stub not in living]:
            self.dead.append(self.watched.pop(descriptor))
            os.close(descriptor)
        for stub in living:
            if stub not in known:
                with contextlib.suppress(ProcessLookupError):
                    self.watched[os.pidfd_open(stub.pid)] = stub
        return living

    def end_hung(self) -> None:
        """Kill the stubs of models that hang; their ends are noticed like those of any other stubs."""
        with contextlib.suppress(Failure):  # the server ends, or does not answer now
            for model in self.hang_detector.find_hung([model for model in self.configs if self.instances(model)]):
                self.report(f"{model}: has requests and has answered none for {HUNG:.0f} s; its stubs are ended")
                for stub in self.watched.values():
                    if stub.model == model:
                        local.kill(stub.pid, signal.SIGKILL)

    def repair(self, stubs: list[Stub]) -> None:
        """Reload every model that the server calls ready and that lacks one of its `stubs`, and what failed before."""
        for stub in [stub for stub, since in self.old.items() if time.monotonic() - since > self.grace]:
            local.kill(stub.pid, signal.SIGKILL)
            del self.old[stub]
        living = [(stub.model, stub.version) for stub in stubs if stub not in self.old and self.is_instance(stub)]
        try:
            versions = self.api.versions()
            if self.configs.keys() - versions.keys():  # the index has no model whose folder is gone
                versions = {**self.api.loaded(), **versions}
            states = {model: sum_up(each) for model, each in versions.items()}
            for model in self.configs:
                ready = states.get(model) == "READY"
                unloaded = model in self.unseen and states.get(model) not in ("READY", "LOADING", "UNLOADING")
                served = [version for version, state in versions.get(model, {}).items() if state == "READY"]
                lacking = any(living.count((model, version)) < self.instances(model) for version in served)
                if unloaded or (ready and lacking):
                    self.broken.setdefault(model, time.monotonic())
                self.unseen -= {model} if ready or unloaded else set()
        except Failure:
            return  # the server is ending or has ended: the next wait sees it
        if not self.broken:
            self.bury()
            return
        back = {}
        for model, since in self.broken.items():
            if model not in self.reloads:
                if states.get(model) == "LOADING":
                    continue  # it is stuck, which was reported, or somebody else loads it
                before = [stub for stub in stubs if stub.model == model]
                self.reloads[model] = Reload(self, model, model in dict(living), before)
                self.reloads[model].join(AWAITED)
            if self.reloads[model].is_alive():
                continue
            done = self.reloads.pop(model)
            if done.worked:
                back[model] = since
                self.old.update({stub: time.monotonic() for stub in done.before})
                self.adopt()  # its new stubs, so that the death of one of them is seen at once
        verdict = self.verdict() if back else ""
        for model, since in back.items():
            del self.broken[model]
            self.report(f"{self.death(model)}; reloaded, {verdict}, after {time.monotonic() - since:.1f} s")
        self.bury()

    def bury(self) -> None:
        """Remove the shared memory of stubs that died, also of those that died before they were watched."""
        used = {stub.segment for stub in stubs(self.name)}
        for path in local.SHM.glob(f"{self.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if path.name not in used and time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
        for stub in self.dead:
            (local.SHM / stub.segment).unlink(missing_ok=True)  # the server does not
        self.dead = [stub for stub in self.dead if stub.model in self.broken]

    def instances(self, model: str) -> int:
        """Return how many stubs the configuration asks for, for each version of the model; 0 for a native backend."""
        return sum(count_instances(group) for group in self.groups(model))

    def groups(self, model: str) -> list[dict]:
        """Return the instance groups of a model that are stubs."""
        config = self.configs[model]
        return config["instance_group"] if model_loader.in_stubs(config["backend"]) else []

    def is_instance(self, stub: Stub) -> bool:
        """Return whether a stub answers requests: one with the model's own name only reads a configuration.

        If an instance has that name, too, both are taken for one: a reader is there while somebody else loads the model
        beside this supervisor, and for no longer.
        """
        groups = self.groups(stub.model) if stub.model in self.configs else []
        names = {f"{group.get('name')}_{number}" for group in groups for number in range(group.get("count", 1))}
        return stub.instance != stub.model or stub.instance in names

    def reload(self, model: str, alive: bool) -> bool:
        """Load a model again with its configuration, and report what went wrong; True if it worked.

        `alive`: another instance of the model still answers, so it is not unloaded first.
        """
        config, patience = self.configs[model], model_loader.LONGEST if alive else model_loader.PROMPT
        try:
            if alive:
                # Triton leaves a loaded model as it is if its configuration is the same. So a field of it changes that
                # Python models have no use for: files for compute capabilities of GPUs.
                config = {**config, "cc_model_filenames": {"reloaded": str(time.time_ns())}}
            else:
                self.grpc.unload(model)
            try:
                self.grpc.load(model, json.dumps(config), timeout=patience)
            except TooSlow:
                if alive:
                    raise
                model_loader.await_load(self.api, self.name, model, bool(self.instances(model)))
        except model_loader.Stuck as stuck:
            self.report(f"{stuck}; {name_command('down')}, then {name_command('up')} brings it back")
            self.restart()
            return False
        except Failure as refusal:
            self.report(f"{self.death(model)}; reloading failed and is tried again in {RESCAN:.0f} s: {refusal}")
            return False
        return True

    def verdict(self) -> str:
        """Send what is known to have an answer, and return the outcome, to be put into a sentence."""
        try:
            return canaries.describe(canaries.send(self.api, self.record, PATIENCE))
        except Failure as failure:
            return f"but {failure}"

    def death(self, model: str) -> str:
        """Return in words which stubs of a model died."""
        pids = [str(stub.pid) for stub in self.dead if stub.model == model]
        return f"{model}: stub {', '.join(pids)} died" if pids else f"{model}: a stub is missing"

    def report(self, event: str) -> None:
        """Say an event with the time (UTC)."""
        now = datetime.datetime.now(datetime.timezone.utc)
        self.say(f"{now:%Y-%m-%dT%H:%M:%SZ} supervisor: {event}")


class Reload(threading.Thread):
    """One reload of a model by a supervisor, under way from the start; `worked` says how it ended.

    It is a thread, so that a model which takes a minute to load lets no other wait for its repair.
    """

    def __init__(self, supervisor: Supervisor, model: str, alive: bool, before: list[Stub]):
        """Begin. `alive` is that of `Supervisor.reload`, `before` are the model's stubs until now."""
        super().__init__(daemon=True)
        self.supervisor, self.model, self.alive, self.before = supervisor, model, alive, before
        self.worked = False
        self.start()

    def run(self) -> None:
        """Load the model."""
        self.worked = self.supervisor.reload(self.model, self.alive)


def count_instances(group: dict) -> int:
    """Return how many instances an instance group asks for: its count, on each of its GPUs."""
    cards = len(group.get("gpus", [])) if group.get("kind") == "KIND_GPU" else 0
    return group.get("count", 1) * max(1, cards)
