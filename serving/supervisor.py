"""Brings a model back whose Python stub died, and says so when tritonserver itself is gone.

Triton never restarts a dead stub: each request to it takes a second to fail, one after the other, while
`/v2/health/ready` goes on saying 200. So somebody else waits for the end of these processes, which costs nothing until
it comes, and then reloads that one model with the configuration it was loaded with. A model without a living instance
is unloaded first: what asks for it is then refused at once instead of queueing, and health says the truth. A model that
still has one is replaced while that one answers. Both are asked for over gRPC: over HTTP, loading a model holds up a
thread that serves requests, and with it every connection of this thread, until it is done. A stub that lives but hangs
has not ended; a model that has requests and answers none gets its stubs ended.

While a model is unloaded, those who ask for it get 404, for as long as it takes to load: 0.3 s for a network that is
small, seconds for one that is large or for a step that imports librosa. Nothing in Triton 2.51 avoids that. Loading
before unloading leaves the requests to the dead instance, which fails each after one or two seconds; a new instance
group in place of the old one works once, and leaves the model dead at the second death.

A model whose stub died never ends its old version, so what is left of that is cleared here: living stubs and the names
of shared memory. What tritonserver itself holds of it (the mapping and some idle threads) it keeps until it ends.

No inference is sent but after a repair, so nothing of this shows in the models' statistics.
"""

import contextlib
import datetime
import json
import os
import select
import signal
import time

from serving import Failure, local, model_loader, smoke_test
from serving.hang_detector import HUNG, Hangs
from serving.processes import Stub, stubs
from serving.triton_api import Rest

RESCAN = 5.0  # seconds between two looks for what no process's end has told: stubs started since, a repair that failed
BEGUN = 60.0  # seconds after which shared memory without a stub is no longer that of a stub about to start
PATIENCE = 10.0  # seconds for each half of the canary after a repair


class Supervisor:
    """Of the server of this record; `say` gets one line per event."""

    def __init__(self, record: dict, say, restart=lambda: None):
        """`restart` is called when only a new server can bring a model back."""
        self.restart = restart
        self.name, self.say = record["name"], say
        self.key = record["admin_key"]
        self.rest = Rest(record["address"], self.key)
        self.grpc = f"{record['address'].rpartition(':')[0]}:{record['grpc_port']}"
        self.watched: dict[int, Stub] = {}  # by process descriptor
        self.dead: list[Stub] = []
        self.old: dict[Stub, float] = {}  # living ones of a model that was brought back -> when it was
        self.owed: dict[str, float] = {}  # models that are to be brought back -> when that was noticed
        self.unseen = set(record["plan"])  # models that have not been seen ready by this supervisor
        self.configs = {model: json.loads(config) for model, config in record["configs"].items()}
        self.hangs = Hangs(local.metrics(record))
        self.grace = max(RESCAN, record["slo"] / 1e3)  # seconds for an old stub to answer what it has accepted

    def watch(self, server: int) -> None:
        """Repair what dies until the tritonserver with this pid has ended, be that before it could be looked at."""
        try:
            end = os.pidfd_open(server)
        except ProcessLookupError:
            return
        if local.processes(self.name).get(server) != local.SERVER:
            return  # it had ended, and the number is another's now
        while True:
            self.repair(self.adopt())
            if self.wait(end):
                return
            self.end_hung()

    def wait(self, end: int) -> bool:
        """Until a process ends, or RESCAN seconds; True if it was the server's, whose descriptor is `end`."""
        poll = select.poll()
        for descriptor in (end, *self.watched):
            poll.register(descriptor, select.POLLIN)
        return end in [descriptor for descriptor, _ in poll.poll(RESCAN * 1000)]

    def adopt(self) -> list[Stub]:
        """The living stubs, all of them watched from now on; those that lived before and do not are dead."""
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
        """Their ends are noticed like any other stub's."""
        with contextlib.suppress(Failure):  # it is being loaded, or ends
            for model in self.hangs.found([model for model in self.configs if self.instances(model)]):
                self.tell(f"{model}: has requests and has answered none for {HUNG:.0f} s; its stubs are ended")
                for stub in self.watched.values():
                    if stub.model == model:
                        local.kill(stub.pid, signal.SIGKILL)

    def repair(self, stubs: list[Stub]) -> None:
        """Brings back every model that the server calls ready and that lacks a stub, and what could not be before."""
        for stub in [stub for stub, since in self.old.items() if time.monotonic() - since > self.grace]:
            local.kill(stub.pid, signal.SIGKILL)
            del self.old[stub]
        living = [stub.model for stub in stubs if stub not in self.old]
        try:
            states = self.rest.index()
            for model in self.configs:
                ready = states.get(model) == "READY"
                unloaded = model in self.unseen and states.get(model) not in ("READY", "LOADING", "UNLOADING")
                if unloaded or (ready and living.count(model) < self.instances(model)):
                    self.owed.setdefault(model, time.monotonic())
                self.unseen -= {model} if ready or unloaded else set()
        except Failure:
            return  # the server is ending, or has: the next wait tells
        if not self.owed:
            self.bury()
            return
        back = {}
        for model, since in self.owed.items():
            if states.get(model) == "LOADING":
                continue  # stuck, and told so, or it was somebody else's wish
            if self.reload(model, model in living):
                back[model] = since
                self.adopt()  # its new stubs: the death of one of them is seen at once, like any other's
        verdict = self.verdict() if back else ""
        for model, since in back.items():
            del self.owed[model]
            self.old.update({stub: time.monotonic() for stub in stubs if stub.model == model})
            self.tell(f"{self.death(model)}; reloaded, {verdict}, after {time.monotonic() - since:.1f} s")
        self.bury()

    def bury(self) -> None:
        """Remove the shared memory of stubs that died, also of those that died before anybody watched."""
        used = {stub.segment for stub in stubs(self.name)}
        for path in local.SHM.glob(f"{self.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if path.name not in used and time.time() - path.stat().st_mtime > BEGUN:
                    path.unlink()
        for stub in self.dead:
            (local.SHM / stub.segment).unlink(missing_ok=True)  # the server does not
        self.dead = [stub for stub in self.dead if stub.model in self.owed]

    def instances(self, model: str) -> int:
        """How many stubs the model has by rights; none where its backend is a native one."""
        config = self.configs[model]
        groups = config["instance_group"] if model_loader.in_stubs(config["backend"]) else []
        return sum(group.get("count", 1) for group in groups)

    def reload(self, model: str, alive: bool) -> bool:
        """True if it worked; `alive` if another instance of the model still answers."""
        import tritonclient.grpc  # here, as most supervisors never need its memory
        from tritonclient.utils import InferenceServerException

        config, patience = json.dumps(self.configs[model]), model_loader.LONGEST if alive else model_loader.PROMPT
        headers = {"triton-grpc-protocol-admin-key": self.key}
        direct = [("grpc.enable_http_proxy", 0)]
        try:
            with tritonclient.grpc.InferenceServerClient(self.grpc, channel_args=direct) as server:
                if not alive:
                    server.unload_model(model, headers=headers, client_timeout=60)
                try:
                    server.load_model(model, headers=headers, config=config, client_timeout=patience)
                except InferenceServerException as slow:
                    if alive or slow.status() != "StatusCode.DEADLINE_EXCEEDED":
                        raise
                    model_loader.await_load(self.rest, self.name, model, bool(self.instances(model)))
        except model_loader.Stuck as stuck:
            self.tell(f"{stuck}; `down`, then `up` brings it back")
            self.restart()
            return False
        except (InferenceServerException, Failure) as refusal:
            why = " ".join(str(refusal).split())
            self.tell(f"{self.death(model)}; reloading failed and is tried again in {RESCAN:.0f} s: {why}")
            return False
        return True

    def verdict(self) -> str:
        try:
            smoke_test.sing(self.rest, PATIENCE)
        except Failure as failure:
            return f"but {failure}"
        return "image and audio answer"

    def death(self, model: str) -> str:
        pids = [str(stub.pid) for stub in self.dead if stub.model == model]
        return f"{model}: stub {', '.join(pids)} died" if pids else f"{model}: a stub is missing"

    def tell(self, event: str) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        self.say(f"{now:%Y-%m-%dT%H:%M:%SZ} supervisor: {event}")
