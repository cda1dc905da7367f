"""The link between client and server, and photographs as bytes. What needs root is skipped without, and says so."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from crossover.measurement import network_link
from crossover.measurement.network_link import ADDRESSES, Missing, bucket
from preprocess.image import MEAN, STD
from tests.conftest import ROOT
from workloads import image, image_uint8
from workloads.image import IMAGE

NAME = f"xo-test-{os.getpid()}"  # another run of the tests may have one, too


def namespaces() -> list[str]:
    return sorted(path.name for path in Path("/run/netns").glob(f"{NAME}*"))


@pytest.fixture
def link():
    try:
        with network_link.link(NAME) as made:
            yield made
    except Missing as missing:
        pytest.skip(f"no link can be made here: {missing}")
    assert namespaces() == []


def listening(link):
    """A server at the far end that answers every million bytes with one."""
    import socket

    with link.inside("server"):
        listener = socket.create_server((ADDRESSES["server"], 9000))

    def serve():
        connection, received = listener.accept()[0], 0
        while data := connection.recv(1 << 16):
            before, received = received, received + len(data)
            if before // 1_000_000 < received // 1_000_000:
                connection.sendall(b"!")

    threading.Thread(target=serve, daemon=True).start()
    with link.inside("client"):
        return listener, socket.create_connection((ADDRESSES["server"], 9000))


@pytest.mark.parametrize(("mbit", "seconds"), [(10, 0.8), (100, 0.08), (1000, 0.008)])
def test_a_link_takes_as_long_for_a_payload_as_its_rate_says(link, mbit, seconds):
    """A machine that is busy meanwhile delays some of the payloads, so there are as many as it takes, up to 200."""
    listener, connection = listening(link)
    link.limit(mbit)
    most = 1.1 * seconds / 0.956  # the rest are headers
    times = []
    with listener, connection:
        while len(times) < 5 or (min(times) > most and len(times) < 200):
            began = time.monotonic()
            connection.sendall(bytes(1_000_000))
            connection.recv(1)
            times.append(time.monotonic() - began)
    assert seconds < min(times) < most
    assert link.sent("client") > 5_000_000


def test_only_what_is_inside_has_the_link(link):
    with link.inside("client"):
        inner = Path("/proc/thread-self/ns/net").readlink()
        found = []
        threading.Thread(target=lambda: found.append(Path("/proc/thread-self/ns/net").readlink())).start()
        while not found:
            time.sleep(0.01)
    assert found == [inner]
    assert Path("/proc/thread-self/ns/net").readlink() != inner


def test_an_error_inside_a_link_leaves_nothing():
    with pytest.raises((KeyboardInterrupt, Missing)), network_link.link(NAME) as made:
        assert len(namespaces()) == 2
        with made.inside("client"):
            raise KeyboardInterrupt
    assert namespaces() == []
    assert Path("/proc/thread-self/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


def test_what_a_killed_run_left_is_no_obstacle(link):
    with network_link.link(NAME) as made:
        assert made.sent("client") >= 0


def test_a_kernel_without_netem_is_said_in_one_line(link):
    assert len(link.distance().splitlines()) <= 1


def test_a_bucket_lets_a_quarter_of_a_millisecond_through_and_two_packets_at_least():
    assert bucket(1000) == ["tbf", "rate", "1000000000bit", "burst", "31250b", "limit", "16777216b"]
    assert bucket(1)[4] == "3028b"


def test_a_missing_tool_is_named_with_its_package():
    with pytest.raises(Missing, match=r"no-such-tool is not installed .*iproute2"):
        network_link.run("no-such-tool")


def test_what_a_tool_complains_of_is_one_line():
    with pytest.raises(Missing, match=r"^`.*`: last$"):
        network_link.run(sys.executable, "-c", "import sys; sys.exit('first\\nlast')")


def test_without_root_the_reason_says_so(monkeypatch):
    monkeypatch.setattr(network_link.os, "geteuid", lambda: 1000)
    with pytest.raises(Missing, match="needs root"):
        network_link.run("false")


def test_a_photograph_as_bytes_is_the_tensor_before_it_is_normalised():
    for payload in image.photographs((320, 1280)):
        normal = IMAGE.placements["client"].preprocessor("dali")(payload.encoded)
        plain = image_uint8.make_pixels()(payload.encoded)
        assert plain.shape == (224, 224, 3) and plain.dtype == np.uint8
        again = (plain - np.float32(MEAN)) / np.float32(STD)
        assert np.abs(again.transpose(2, 0, 1) - normal).max() < 1e-5


def test_the_network_that_takes_bytes_answers_as_the_one_that_takes_the_tensor(tmp_path):
    import onnxruntime

    from models import standin

    tensor, plain = (standin.resnet50(), image_uint8.prepend_normalisation(standin.resnet50()))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3), np.uint8)
    normal = ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2)
    answers = [
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {name: given})[0]
        for model, name, given in ((tensor, "pixels", normal), (plain, "photograph", pixels))
    ]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-4)


def test_a_process_that_is_stopped_leaves_no_namespace(link):
    """`link` only says whether one can be made here; the process makes another."""
    code = (
        "import signal, time\nfrom crossover.measurement import network_link as network\n"
        "signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))\n"
        f"with network.link('{NAME}-2'):\n    print('up', flush=True)\n    time.sleep(60)\n"
    )
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **quiet)
    assert process.stdout.readline() == b"up\n"
    assert len([name for name in namespaces() if name.startswith(f"{NAME}-2")]) == 2
    process.terminate()
    process.communicate(timeout=300)
    assert not [name for name in namespaces() if name.startswith(f"{NAME}-2")]
