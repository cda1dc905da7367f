"""A proxy in front of a real Triton, as people have one: TLS, a path before Triton's own, a login that is checked."""

import contextlib
import http.client
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import trustme

SENT_ON = ("content-type", "content-length", "inference-header-content-length", "admin-key")
SENT_BACK = ("Content-Type", "Inference-Header-Content-Length")


@dataclass
class Proxy:
    """What runs, and what came: `authorizations` of all requests, and `paths` of those that were passed on."""

    url: str
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class Authority:
    """A certificate authority of the tests' own, whose certificate lies at `file`."""

    def __init__(self, folder: Path):
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def pair(self, *names: str) -> tuple[bytes, bytes]:
        """A key and its certificate for these names, as PEM."""
        issued = self._ca.issue_cert(*names)
        return issued.private_key_pem.bytes(), b"".join(each.bytes() for each in issued.cert_chain_pems)

    def context(self, *names: str, **options) -> ssl.SSLContext:
        """A server's context, with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, **options).configure_cert(context)
        return context


def make_handler(target: str, proxy: Proxy, prefix: str, authorization: str | None, redirect: str):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            self.forward(None)

        def do_POST(self):
            self.forward(self.rfile.read(int(self.headers["Content-Length"])))

        def forward(self, body):
            proxy.authorizations.append(self.headers["Authorization"])
            if redirect:
                return self.answer(302, {"Location": f"{redirect}{self.path}"}, b"")
            if authorization and self.headers["Authorization"] != authorization:
                return self.answer(401, {"WWW-Authenticate": "Bearer"}, b"who are you?")
            if not self.path.startswith(f"{prefix}/v2"):
                return self.answer(404, {}, b"nothing of Triton's here")
            proxy.paths.append(self.path)
            kept = {name: value for name, value in self.headers.items() if name.lower() in SENT_ON}
            with contextlib.closing(http.client.HTTPConnection(target, timeout=60)) as connection:
                connection.request(self.command, self.path.removeprefix(prefix), body, kept)
                answer = connection.getresponse()
                content = answer.read()
            self.answer(answer.status, {n: answer.headers[n] for n in SENT_BACK if answer.headers[n]}, content)

        def answer(self, status, headers, content):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


class TLSServer(ThreadingHTTPServer):
    """A server whose handshakes run in the threads of their connections."""

    daemon_threads = True
    request_queue_size = 64
    context: ssl.SSLContext | None = None

    def finish_request(self, request, address):
        try:
            wrapped = self.context.wrap_socket(request, server_side=True) if self.context else request
            super().finish_request(wrapped, address)
        except OSError:  # the client does not trust it, or hung up
            pass
        else:
            if self.context:
                with contextlib.suppress(OSError):
                    wrapped.unwrap()


@contextlib.contextmanager
def proxy(target: str, context: ssl.SSLContext | None, *, prefix="", authorization=None, redirect="", name="localhost"):
    """Yields a Proxy to the server at the URL `target`, or one that answers everything by a redirect."""
    server = TLSServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.context = context
    running = Proxy(f"{'https' if context else 'http'}://{name}:{server.server_port}{prefix}")
    server.RequestHandlerClass = make_handler(urlsplit(target).netloc, running, prefix, authorization, redirect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
