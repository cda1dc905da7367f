"""A server that runs, anyone's: what it is, what its models did, what it cost.

It is a Triton, or another server of the Open Inference Protocol. The protocol has metadata and inference; statistics
and configurations are extensions of Triton's. What a server does not tell is None or missing, and never 0.
"""

import ipaddress
import json
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from common import access, address
from common.messages import first_line, name_command, one_line
from serving import Failure, nvml, state
from serving.triton_api import Refused, TritonAPI, Unreachable

GPU_UTILISATION, GPU_ENERGY, GPU_MEMORY = "nv_gpu_utilization", "nv_energy_consumption", "nv_gpu_memory_used_bytes"
TIMEOUT = 10  # seconds for one answer
INET = (socket.AF_INET, socket.AF_INET6)
EXTENSIONS = {"statistics", "model_configuration"}
"""Of Triton, by which it is known: its name can be given when it is started."""
BINARY = "binary_tensor_data"
"""The extension for tensors as bytes behind the JSON: Triton's protocol/extension_binary_data.md."""
CLIENT_ERROR = re.compile(r"(?:HTTP |\[)4\d\d\b")
"""In a request's reason, as our transport and tritonclient write it."""
NOT_THERE = (404, 405, 501)  # of a web server without such a page
LACKING = (400, 401, 403, 404, 405, 501)
"""What a server answers that lacks an extension of Triton's, or keeps it to itself."""


class Unavailable(Failure):
    """The server cannot be asked; the message is one line. `code` is that of an HTTP error, 0 without any."""

    def __init__(self, message: str, code: int = 0):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Server:
    """A server at `url`; `state` is the launcher's record of it if it runs on this machine, else {}."""

    url: str
    state: dict
    gateways: tuple[int, ...] = ()
    """Process ids of the gateways before it, whose CPU is counted with its own."""
    gateways_apart: bool = False
    """Whether they run on other cores than the server."""

    @classmethod
    def at(cls, url: str, state_directory: Path) -> "Server":
        """Return the server at `url`, with the record in `state_directory` if that is of a server at this address.

        The port must be the record's, and the host this machine or the host that the record names: another machine's
        server has other cores, and must not be sent the key. Raises ValueError for what is no URL, in one line without
        a secret.
        """
        server = address.parse(url)
        record = state.read(state_directory) or {}
        direct = server.scheme == "http" and not server.prefix  # a proxy with TLS or a prefix is not our server
        same = server.port == record.get("http_port") and (server.host == record["host"] or is_local(server.host))
        return cls(server.url, record if direct and same else {})

    @property
    def api(self) -> TritonAPI:
        """The part of its control interface that is open to everybody."""
        return TritonAPI(address.parse(self.url).url)

    @property
    def admin_api(self) -> TritonAPI:
        """Its whole control interface, as the launcher that started it has the key. Raises KeyError without a record.

        Apart from `api`, so that the key is sent only where it is needed: `url` may be another machine's.
        """
        return TritonAPI(address.parse(self.url).url, self.state["admin_key"])

    @property
    def cores(self) -> list[int]:
        """The numbers of the cores that the launcher gave it; empty if that is not known."""
        return self.state.get("cores", [])

    @property
    def is_here(self) -> bool:
        """Whether its address is this machine's."""
        return is_local(address.parse(self.url).host)

    def get(self, path: str) -> dict:
        """Return the JSON object at `path`. Raises Unavailable if there is none, with the server's words if any."""
        try:
            return self.api.get(path, TIMEOUT)
        except Refused as refusal:
            said = f"{self.url}{path}: HTTP {refusal.code}: {first_line(refusal.reason)}"
            raise Unavailable(said, refusal.code) from None
        except Unreachable as broken:
            raise Unavailable(address.explain_silence(self.url, one_line(broken.reason))) from None

    def get_extension(self, path: str) -> dict | None:
        """Return the JSON object of one of Triton's extensions; None where the server lacks it. Raises Unavailable."""
        try:
            return self.get(path)
        except Unavailable as error:
            if error.code in LACKING:
                return None
            raise

    def field(self, path: str, name: str):
        """Return one field of the object at `path`. Raises Unavailable if it is missing: then this is not Triton."""
        try:
            answer = self.get(path)
        except Unavailable as error:
            if error.code not in NOT_THERE:
                raise
            silence = address.explain_silence(self.url, f"{path} is HTTP {error.code} there")
            raise Unavailable(silence, error.code) from None
        if name not in answer:
            raise Unavailable(f"no Triton server answers at {self.url}{path}: its answer has no {name!r}")
        return answer[name]

    def require(self, models: Iterable[str]) -> None:
        """Raise Unavailable if the server does not answer, or if one of these models is not ready there."""
        self.field("/v2", "version")
        statistics = self.statistics()
        for model in models:
            if statistics and model not in statistics:
                only = f"has no model {model}, only {', '.join(sorted(statistics))}"
                raise Unavailable(f"{self.url} {only}; start the right one with {name_command('up')}")
            if not statistics and not self.api.is_ready(model):
                raise Unavailable(f"{self.url} has no model {model} that is ready")

    def facts(self, models: tuple[str, ...]) -> dict:
        """Return URL, software and version, and each model's instances, their kinds, parameters and provenance.

        A kind is "CPU", "GPU", or "AUTO" where a native backend chooses. Where a server does not tell its models'
        configurations, instances are None. What the way to it leaves open, if anything, is said in `unprotected`
        (`access.warnings`). Raises Unavailable if it does not answer, or lacks a model.
        """
        version, metadata = self.field("/v2", "version"), self.get("/v2")
        is_triton = set(metadata.get("extensions") or ()) >= EXTENSIONS
        software = "Triton" if is_triton else str(metadata.get("name") or "a server without a name")
        facts = {"url": self.url, "software": software, "version": version, "models": {}}
        if unprotected := access.warnings(self.url):
            facts["unprotected"] = unprotected
        for model in models:
            config = self.get_extension(f"/v2/models/{model}/config")
            if config is None:
                self.get(f"/v2/models/{model}")
                facts["models"][model] = {"instances": None, "kinds": [], "parameters": {}}
                continue
            parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
            provenance = parameters.pop("provenance", None)
            groups = config.get("instance_group", [])
            facts["models"][model] = {
                "instances": sum(group["count"] for group in groups),
                "kinds": sorted({group.get("kind", "KIND_AUTO").removeprefix("KIND_") for group in groups}),
                "parameters": parameters,
                **({"provenance": json.loads(provenance)} if provenance else {}),
            }
        return facts

    def explain_refusals(self, reasons: Iterable[str]) -> str:
        """Return in one line why a server may have refused all its requests ("HTTP 400: ..."), or "".

        A server that takes tensors as JSON only refuses every binary one, as it can make nothing of it, and does not
        name Triton's extension for them in its metadata. Some that take them do not name it either, so the refusals
        come first. Raises Unavailable if it does not answer.
        """
        every = list(reasons)
        if not every or not all(CLIENT_ERROR.search(each) for each in every) or BINARY in self.list_extensions():
            return ""
        takes = f"it may take tensors as JSON only, as it does not name the extension {BINARY}"
        return f"{self.url} refused every request: {takes}; JSON tensors are not sent ({every[0]})"

    def list_extensions(self) -> list[str]:
        """Return the extensions of the protocol that the server names in its metadata. Raises Unavailable."""
        named = self.get("/v2").get("extensions")
        return list(map(str, named)) if isinstance(named, list) else []

    def statistics(self) -> dict[str, dict]:
        """Return each model's counters since it was loaded; none where there are no statistics. Raises Unavailable."""
        path = "/v2/models/stats"
        if (answer := self.get_extension(path)) is None:
            return {}
        if "model_stats" not in answer:
            raise Unavailable(f"no server answers as Triton does at {self.url}{path}: its answer has no 'model_stats'")
        return {model["name"]: model for model in answer["model_stats"]}

    def wait(self, seconds: float) -> None:
        """Wait until the server answers. Raises Unavailable if it does not within that time."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.statistics()
                return
            except Unavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes with its stubs; empty if they are not on this machine.

        In a container the launcher and its supervisor count, too: `container_pid` is the container's first process.
        """
        try:
            root = psutil.Process(self.state.get("pid") or self.state["container_pid"])
            return [root, *root.children(recursive=True)]
        except (KeyError, TypeError, psutil.Error):
            return []

    def cpu_seconds(self) -> float | None:
        """Return the CPU seconds used so far by the server and its stubs; None if they are not on this machine."""
        try:
            return sum(sum(process.cpu_times()[:2]) for process in self.processes()) or None
        except psutil.Error:
            return None

    def gateway_seconds(self) -> float | None:
        """Return the CPU seconds used so far by the gateways before it; None without any, or if one has ended."""
        try:
            return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in self.gateways) or None
        except psutil.Error:
            return None

    def gpu(self) -> dict | None:
        """Return what all its GPUs have spent so far and use now; None without a GPU.

        `energy_joules`, `utilisation` (their mean, 0 to 1) and `memory_mb` (MB; None where Triton does not say).
        Only a server that the launcher started can be asked. NVML tells of the card of a local one, whose own metrics
        have none (`wheel.tritonserver`); a container has Triton's metrics.
        """
        if self.state.get("card") and "pid" in self.state:
            return nvml.read_energy(self.state["card"]["uuid"])
        try:
            metrics = address.Address(address.parse(self.url).host, self.state["metrics_port"])
            samples = TritonAPI(metrics.authority).metrics()
        except (KeyError, ValueError, Failure):
            return None
        energy = [sample.value for sample in samples if sample.name == GPU_ENERGY]
        used = [sample.value for sample in samples if sample.name == GPU_UTILISATION]
        memory = [sample.value for sample in samples if sample.name == GPU_MEMORY]
        if not used or not energy:
            return None
        megabytes = sum(memory) // 10**6 if memory else None
        return {"energy_joules": sum(energy), "utilisation": sum(used) / len(used), "memory_mb": megabytes}


def is_local(host: str) -> bool:
    """Return whether a host name or address is this machine's: loopback, or one of its interfaces'."""
    try:
        found = {parse_ip(each[4][0]) for each in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # no such host: whoever asks it will say so
        return False
    own = {parse_ip(each.address) for card in psutil.net_if_addrs().values() for each in card if each.family in INET}
    return any(each.is_loopback or each.is_unspecified or each in own for each in found)


def parse_ip(text: str | int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address as the system writes it, without an IPv6 zone (`fe80::1%eth0`), IPv4 in IPv6 as IPv4."""
    ip = ipaddress.ip_address(str(text).partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip
