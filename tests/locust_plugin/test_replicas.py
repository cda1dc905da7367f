"""Requests per replica: `--replicas` asks the real server itself, and a run whose replicas were uneven is INVALID."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from loadgen.locust_plugin.replicas import Replicas, parse_places
from tests.locust_plugin.locust_runs import headless

LOAD = "--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 50


@contextlib.contextmanager
def idle_replica(*counts: int) -> Iterator[str]:
    """A replica that gets no requests: its `counts`, one per question and then the last, are what it had before."""
    left = list(counts)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            count = left.pop(0) if len(left) > 1 else left[0]
            ended = {"success": {"count": count}, "fail": {"count": 0}}
            body = json.dumps({"model_stats": [{"name": "image", "inference_stats": ended}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()


def test_a_run_says_what_each_replica_had_and_is_invalid_where_they_are_uneven(server, tmp_path):
    with idle_replica(7) as idle:
        code, output = headless("image", server.url, tmp_path, *LOAD, "--replicas", f"{server.address},{idle}")
    assert code == 3, output
    assert "books: scheduled 10 = completed 10" in output
    [file] = tmp_path.glob("*/summary.json")
    summary = json.loads(file.read_text())
    assert summary["replicas"][idle] == 0 and summary["replicas"][server.address] >= 10
    assert f"requests per replica: {server.address} " in output and f"{idle} 0" in output
    assert "replicas" in {found["rule"] for found in summary["findings"]}
    assert "INVALID: replicas: " in output


def test_replicas_that_came_went_or_started_again_are_not_known(server):
    with idle_replica(5, 3) as restarted, idle_replica(5) as gone:
        replicas = Replicas(f"{server.address},{restarted},{gone}", ["image"])
        assert replicas.count().keys() == {server.address, restarted, gone}
        replicas._places += parse_places("127.0.0.9:1")  # a new address of a name
    counts = replicas.count()
    assert counts[server.address] is not None
    assert {name for name, count in counts.items() if count is None} == {restarted, gone, "127.0.0.9:1"}


@pytest.mark.parametrize(
    ("places", "code", "line"),
    [
        ("https://localhost:8000", 2, "replicas: each is asked itself, behind the proxy: give HOST:PORT"),
        ("localhost:x", 2, "port"),
        ("no-such-name.invalid:8000", 1, "replicas: no-such-name.invalid has no address: "),
        ("127.0.0.1:9", 1, "replicas: 127.0.0.1:9 does not tell the requests to image: "),
    ],
)
def test_places_that_cannot_be_asked_are_one_line_and_nothing_is_sent(server, tmp_path, places, code, line):
    found, output = headless("image", server.url, tmp_path / "none", *LOAD, "--replicas", places)
    assert found == code and line in output and "Traceback" not in output
    assert not (tmp_path / "none").exists()
