"""The server's HTTP interface, as far as the launcher needs it (the KServe v2 protocol with Triton's extensions)."""

import http.client
import json
import urllib.error
import urllib.request

from serving import Failure


class Unreachable(Failure):
    """Nothing answers there, or it hung up."""


class Rest:
    """A server at `address` ("127.0.0.1:8000"); `key` opens the restricted interfaces."""

    def __init__(self, address: str, key: str = ""):
        self.address = address
        self.headers = {"admin-key": key} if key else {}

    def call(self, path: str, body: bytes | None = None, headers: dict | None = None, timeout: float = 60.0):
        """Answer of one request as (bytes, headers). Raises Failure with the server's own words if it refuses."""
        request = urllib.request.Request(f"http://{self.address}{path}", body, {**self.headers, **(headers or {})})
        try:
            with direct.open(request, timeout=timeout) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as refusal:
            raise Failure(f"{path} answered {refusal.code}: {reason(refusal.read())}") from None
        except (OSError, http.client.HTTPException) as broken:
            raise Unreachable(f"no answer from http://{self.address}{path} ({broken})") from None

    def ready(self, path: str) -> bool:
        try:
            self.call(path, timeout=5)
        except Failure:
            return False
        return True

    def identity(self) -> str | None:
        """The name that the server was started with; None while nothing answers."""
        try:
            return json.loads(self.call("/v2", timeout=5)[0])["name"]
        except (Failure, ValueError, KeyError, TypeError):
            return None

    def config(self, model: str) -> dict:
        return json.loads(self.call(f"/v2/models/{model}/config")[0])

    def load(self, model: str, config: str | None, timeout: float = 600) -> None:
        """Load `model` with this configuration (JSON) in place of its config.pbtxt; None takes the file as it is."""
        parameters = {} if config is None else {"config": config}
        body = json.dumps({"parameters": parameters}).encode()
        self.call(f"/v2/repository/models/{model}/load", body, timeout=timeout)

    def unload(self, model: str) -> None:
        """Refuses requests to it and to the ensembles it is a step of; does not wait for those in flight."""
        self.call(f"/v2/repository/models/{model}/unload", b"{}", timeout=10)

    def index(self) -> dict[str, str]:
        """Each model's state: READY, UNLOADING, UNAVAILABLE, ...; none before it was first loaded."""
        told = json.loads(self.call("/v2/repository/index", b"", timeout=10)[0])
        return {entry["name"]: entry["state"] for entry in told if "state" in entry}

    def infer(self, model: str, encoded: bytes, timeout: float = 60.0) -> dict[str, tuple[list[int], bytes]]:
        """Sends a file's bytes in Triton's raw-binary form; gives (shape, raw bytes) of each output."""
        headers = {"Inference-Header-Content-Length": "0"}
        body, headers = self.call(f"/v2/models/{model}/infer", encoded, headers, timeout)
        start = int(headers["Inference-Header-Content-Length"])
        outputs = {}
        for output in json.loads(body[:start])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = output["shape"], body[start : start + size]
            start += size
        return outputs


direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business in front of this server


def reason(body: bytes) -> str:
    """The server's words on one line, without the Python traceback that it appends after "At:"."""
    try:
        text = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split("\n\nAt:")[0].split()) or "no reason given"
