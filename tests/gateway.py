"""Another server of the Open Inference Protocol: a gateway to a real Triton that hides Triton's extensions.

Only what the protocol has goes through: health, metadata of the server and of models, and inference. One may take
tensors as JSON only, as the protocol itself has them.
"""

import contextlib
import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KNOWN = re.compile(r"/v2(/health/(live|ready)|/models/[^/]+(/ready|/infer)?)?/?")
METADATA = {"name": "gateway", "version": "1.2.3", "extensions": []}


def make_handler(target: str, json_only: bool):
    """A handler that asks the server at that host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            self.forward(None)

        def do_POST(self):
            self.forward(self.rfile.read(int(self.headers["Content-Length"])))

        def forward(self, body):
            if not KNOWN.fullmatch(self.path) or self.path == "/v2/models/stats":
                return self.answer(404, {"Content-Type": "application/json"}, b'{"error": "no such path here"}')
            if json_only and body is not None:
                try:
                    json.loads(body)
                except ValueError as error:
                    words = json.dumps({"error": f"body is no JSON: {error}"}).encode()
                    return self.answer(400, {"Content-Type": "application/json"}, words)
            if self.path == "/v2":
                return self.answer(200, {"Content-Type": "application/json"}, json.dumps(METADATA).encode())
            kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            with contextlib.closing(http.client.HTTPConnection(target, timeout=60)) as connection:
                connection.request(self.command, self.path, body, kept)
                answer = connection.getresponse()
                content = answer.read()
            names = ("Content-Type", "Inference-Header-Content-Length")
            self.answer(answer.status, {name: answer.headers[name] for name in names if answer.headers[name]}, content)

        def answer(self, status, headers, content):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def gateway(url: str, json_only: bool = False):
    """Yields the URL of a gateway to the server at `url`; `json_only`: it takes no tensors as bytes behind the JSON."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(urlsplit(url).netloc, json_only))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
