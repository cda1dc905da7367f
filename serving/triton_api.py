"""The one client of Triton's control interface: health, metadata, configurations, statistics, loading, metrics.

HTTP is spoken by the standard library, not by tritonclient: its HTTP client imports gevent, its gRPC client costs 45 MB
and starts threads, and the launcher, its supervisor and a process that measures want neither (the standard library
costs 11 MB). tritonclient's gRPC client does what HTTP cannot, and is imported when that is asked for (`TritonGRPC`).

The protocol is KServe v2 with Triton's extensions:
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from common import access, tls
from common.address import NO_HTTP
from serving import Failure

STATES = ["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
"""The states of a version; a model as a whole is in the first of them that one of its versions has."""
LONGEST_REFUSAL = 2**16  # bytes of a refusal that are read: whoever answers there need not be Triton


class Unreachable(Failure):
    """Nothing answers there, it hung up, or what answers is not Triton; `reason` says which, without the address."""

    def __init__(self, url: str, reason: str):
        super().__init__(f"no answer from {url} ({reason})")
        self.reason = reason


class Refused(Failure):
    """The server answered with an HTTP error: its `code`, and its own words (`reason`) in one line."""

    def __init__(self, path: str, code: int, reason: str):
        super().__init__(f"{path} answered {code}: {reason}")
        self.code, self.reason = code, reason


class TooSlow(Failure):
    """The server did not do it within the time given; it may still be at it."""


class Metric(NamedTuple):
    """One line of a metrics page; the name of a counter is without the suffix `_total`."""

    name: str
    labels: dict[str, str]
    value: float


class TritonAPI:
    """A server at `address` ("127.0.0.1:8000", or a URL); `key` opens the restricted interfaces.

    TLS and login are those that were granted to it (`access.grant`). Every method sends one request and raises
    Unreachable or Refused, unless it says otherwise; timeouts are in seconds.
    """

    def __init__(self, address: str, key: str = ""):
        self.url = address if "://" in address else f"http://{address}"
        self.headers = {"admin-key": key} if key else {}

    def call(self, path: str, body: bytes | None = None, headers: dict | None = None, timeout: float = 60.0):
        """Send one request, a POST if there is a body, and return the answer as (bytes, headers)."""
        url = f"{self.url}{path}"
        request = urllib.request.Request(url, body, {**self.headers, **(headers or {})})
        try:
            try:
                with access.open_url(request, timeout) as answer:
                    return answer.read(), answer.headers
            except urllib.error.HTTPError as refusal:
                raise Refused(path, refusal.code, reason(refusal.read(LONGEST_REFUSAL))) from None
        except (OSError, ValueError, http.client.HTTPException) as broken:
            why = getattr(broken, "reason", None) or broken
            if isinstance(broken, http.client.BadStatusLine) and not isinstance(broken, OSError):
                why = NO_HTTP  # its own words would be binary; one that hung up is an OSError as well
            if isinstance(why, ssl.SSLError):
                why = tls.explain(why)
            raise Unreachable(url, " ".join(str(why).split()) or type(broken).__name__) from None

    def get(self, path: str, timeout: float = 60.0) -> dict:
        """Return the JSON object at `path`. Raises Unreachable if the answer is something else."""
        content, _ = self.call(path, timeout=timeout)
        try:
            answer = json.loads(content)
        except ValueError:
            raise Unreachable(f"{self.url}{path}", "its answer is no JSON") from None
        if not isinstance(answer, dict):
            raise Unreachable(f"{self.url}{path}", "its JSON is no object")
        return answer

    def is_live(self) -> bool:
        """Return whether the server answers, whether or not any model is loaded. Raises nothing."""
        return self._answers("/v2/health/live")

    def is_ready(self, model: str = "") -> bool:
        """Return whether this model, or without a name the server, calls itself ready. Raises nothing.

        A model whose Python stub died still does.
        """
        return self._answers(f"/v2/models/{model}/ready" if model else "/v2/health/ready")

    def _answers(self, path: str) -> bool:
        try:
            self.call(path, timeout=5)
        except Failure:
            return False
        return True

    def server_name(self) -> str | None:
        """Return the name that the server was started with (`--id`), or None while nothing answers."""
        try:
            return self.get("/v2", timeout=5).get("name")
        except Failure:
            return None

    def config(self, model: str) -> dict:
        """Return the configuration that a model was loaded with, as JSON has it."""
        return self.get(f"/v2/models/{model}/config")

    def statistics(self, model: str = "", timeout: float = 10.0) -> dict[str, dict]:
        """Return the cumulative counters of one model, or of all that are loaded: model -> counters.

        Raises Unreachable if the answer holds none, as that of what is not Triton.
        """
        path = f"/v2/models/{model}/stats" if model else "/v2/models/stats"
        try:
            return {each["name"]: each for each in self.get(path, timeout)["model_stats"]}
        except (KeyError, TypeError):
            raise Unreachable(f"{self.url}{path}", "its answer has no 'model_stats'") from None

    def index(self) -> dict[str, str]:
        """Return each model's state: READY, LOADING, UNLOADING, UNAVAILABLE. Models never loaded are not in it."""
        return {model: sum_up(each) for model, each in self.versions().items()}

    def versions(self) -> dict[str, dict[str, str]]:
        """Return the state of each version of each model: model -> version -> state. Those never loaded are left out.

        Where Triton cannot read a repository any more, as one with a link that leads nowhere, it has no index; what is
        loaded is READY then, by its statistics.
        """
        found: dict[str, dict[str, str]] = {}
        try:
            content, _ = self.call("/v2/repository/index", b"", timeout=10)
        except Refused as refusal:
            if refusal.code < 500:
                raise
            return self.loaded()
        for entry in json.loads(content):
            if "state" in entry:
                found.setdefault(entry["name"], {})[entry.get("version", "")] = entry["state"]
        return found

    def loaded(self) -> dict[str, dict[str, str]]:
        """Return the versions that are READY by the statistics, as `versions` does: also those whose folder is gone."""
        found: dict[str, dict[str, str]] = {}
        for each in self.get("/v2/models/stats", timeout=10)["model_stats"]:
            found.setdefault(each["name"], {})[each["version"]] = "READY"
        return found

    def reason(self, model: str) -> str:
        """Return why a model is in its state, in one line; "" where the server gives no reason."""
        content, _ = self.call("/v2/repository/index", b"", timeout=10)
        reasons = [entry.get("reason", "") for entry in json.loads(content) if entry["name"] == model]
        return "; ".join(" ".join(reason.split("\n\nAt:")[0].split()) for reason in reasons if reason)

    def load(self, model: str, config: str | None, timeout: float = 600) -> None:
        """Load `model` with this configuration (JSON) in place of its config.pbtxt; None takes the file as it is.

        Meanwhile every connection that shares the server's thread waits: use `TritonGRPC` on a server that works.
        """
        parameters = {} if config is None else {"config": config}
        body = json.dumps({"parameters": parameters}).encode()
        self.call(f"/v2/repository/models/{model}/load", body, timeout=timeout)

    def unload(self, model: str) -> None:
        """Make the server refuse requests to a model and its ensembles; those in flight are not waited for."""
        self.call(f"/v2/repository/models/{model}/unload", b"{}", timeout=10)

    def metrics(self) -> list[Metric]:
        """Return the metrics page of a server whose *metrics* address this is.

        Raises Unreachable if the page is no metrics in Prometheus's text format.
        """
        content, _ = self.call("/metrics", timeout=10)
        try:
            return [
                Metric(sample.name.removesuffix("_total"), sample.labels, sample.value)
                for family in text_string_to_metric_families(content.decode())
                for sample in family.samples
            ]
        except ValueError as error:
            raise Unreachable(f"{self.url}/metrics", str(error)) from None

    def infer(
        self, model: str, body: bytes, timeout: float = 60.0, json_size: int = 0
    ) -> dict[str, tuple[list[int], bytes]]:
        """Send an inference request whose first `json_size` bytes are JSON; without any, a file as it is.

        Returns (shape, raw bytes) of each output.
        """
        headers = {"Inference-Header-Content-Length": str(json_size)}
        body, headers = self.call(f"/v2/models/{model}/infer", body, headers, timeout)
        start = int(headers["Inference-Header-Content-Length"])
        outputs = {}
        for output in json.loads(body[:start])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = output["shape"], body[start : start + size]
            start += size
        return outputs


class TritonGRPC:
    """Loads and unloads models over gRPC: on a server that answers requests meanwhile, or from files of 100 MB.

    Triton's HTTP server does not survive a body of 136 MB, and holds up other connections while it loads a model.
    """

    def __init__(self, address: str, key: str):
        """Take `address`, host:port of the gRPC interface, and `key`, which opens the restricted protocols."""
        self.address, self.headers = address, {"triton-grpc-protocol-admin-key": key}

    def load(self, model: str, config: str, files: dict[str, bytes] | None = None, timeout: float = 600) -> None:
        """Load `model` with this configuration (JSON); `files` ("file:1/model.onnx" -> bytes) replace its folder.

        Raises TooSlow after `timeout` seconds, and Failure with the server's words if it refuses.
        """
        self._ask("load_model", model, config=config, files=files, client_timeout=timeout)

    def unload(self, model: str, timeout: float = 60) -> None:
        """Make the server refuse requests to a model. Raises TooSlow, and Failure with the server's words."""
        self._ask("unload_model", model, client_timeout=timeout)

    def _ask(self, method: str, *arguments, **options) -> None:
        import tritonclient.grpc  # costs 45 MB, which most supervisors never need
        from tritonclient.utils import InferenceServerException

        no_proxy = [("grpc.enable_http_proxy", 0)]
        try:
            with tritonclient.grpc.InferenceServerClient(self.address, channel_args=no_proxy) as client:
                getattr(client, method)(*arguments, headers=self.headers, **options)
        except InferenceServerException as refusal:
            kind = TooSlow if refusal.status() == "StatusCode.DEADLINE_EXCEEDED" else Failure
            raise kind(" ".join(str(refusal).split())) from None


def sum_up(versions: dict[str, str]) -> str:
    """Return the state of a model whose versions have these states: the first of STATES that one of them has."""
    return min(versions.values(), key=STATES.index)


def reason(body: bytes) -> str:
    """Return the server's words on one line, without the Python traceback that it appends after "At:"."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split("\n\nAt:")[0].split()) or "no reason given"
