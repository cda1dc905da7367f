"""Laws of the server that the launcher starts, on the real server."""

import json
import os
import socket
import time

import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving import Failure, local, smoke_test
from serving.server import Server
from serving.triton_api import TritonAPI


def test_a_photograph_and_a_sound_can_be_sent_as_the_bytes_of_a_file(server):
    api = TritonAPI(server.address)
    shape, logits = api.infer("image", smoke_test.JPEG.read_bytes())["logits"]
    assert shape == [1, 1000] and len(logits) == 4000
    sound = api.infer("audio", smoke_test.chirp(seconds=1))
    assert sound["logits"][0] == [1, 49, 32]
    assert sound["transcript"][0] == [1, 1]


@pytest.mark.parametrize("ensemble", ["image", "audio"])
@pytest.mark.parametrize("encoded", [b"", b"\0", b"neither a photograph nor a sound", bytes(5000)], ids=len)
def test_bytes_that_cannot_be_decoded_are_the_clients_fault(server, ensemble, encoded):
    tensor = tritonclient.http.InferInput("encoded", [1, len(encoded)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(encoded, np.uint8)[None])
    client = tritonclient.http.InferenceServerClient(server.address)
    with pytest.raises(InferenceServerException) as error:
        client.infer(ensemble, [tensor])
    assert error.value.status() == "400"
    assert len(error.value.message()) > 20


def test_the_classification_extension_names_classes_through_the_ensemble(server):
    encoded = np.frombuffer(smoke_test.JPEG.read_bytes(), np.uint8)
    tensor = tritonclient.http.InferInput("encoded", [1, encoded.size], "UINT8")
    tensor.set_data_from_numpy(encoded[None])
    best = tritonclient.http.InferRequestedOutput("logits", class_count=3)
    client = tritonclient.http.InferenceServerClient(server.address)
    classes = client.infer("image", [tensor], outputs=[best]).as_numpy("logits").ravel()
    labels = (server.state / "standin/resnet50/labels.txt").read_text().splitlines()
    assert len(classes) == 3
    for text in classes:
        _, index, label = text.decode().split(":")
        assert label == labels[int(index)]


def test_the_server_runs_the_plan_that_it_says_it_runs(server):
    for model, share in server.plan.items():
        config = TritonAPI(server.address).config(model)
        assert sum(group["count"] for group in config["instance_group"]) == share["instances"]
        threads = {"num_threads", "intra_op_thread_count"} & set(config["parameters"])
        assert [int(config["parameters"][key]["string_value"]) for key in threads] in ([share["threads"]], [])
        assert bool(threads) == (config["backend"] != "python")
    facts = Server(server.url, {}).facts(tuple(server.plan))["models"]
    kinds = ["GPU" if "gpu" in share else "CPU" for share in server.plan.values()]
    assert [each["kinds"] for each in facts.values()] == [[kind] for kind in kinds]


def test_every_process_of_the_server_keeps_to_its_cores(server):
    for pid in local.processes(server.name):
        assert os.sched_getaffinity(pid) == set(server.cores)


@pytest.mark.parametrize("model", ["resnet50", "wav2vec2"])
def test_any_client_can_read_where_the_weights_come_from(server, model):
    text = TritonAPI(server.address).config(model)["parameters"]["provenance"]["string_value"]
    assert json.loads(text)["weights"] == "stand-in"


RESTRICTED = {
    "model-repository": ("/v2/repository/index", b""),
    "shared-memory": ("/v2/systemsharedmemory/status", None),
    "trace": ("/v2/trace/setting", None),
    "logging": ("/v2/logging", None),
}


@pytest.mark.parametrize(("path", "body"), RESTRICTED.values(), ids=RESTRICTED)
def test_the_restricted_interfaces_open_only_to_the_key(server, path, body):
    with pytest.raises(Failure, match="restricted"):
        TritonAPI(server.address).call(path, body)
    with pytest.raises(Failure, match="restricted"):
        TritonAPI(server.address, "guess").call(path, body)
    TritonAPI(server.address, server.admin_key).call(path, body)


@pytest.mark.parametrize(
    "ask", ["get_model_repository_index", "get_system_shared_memory_status", "get_trace_settings", "get_log_settings"]
)
def test_grpc_is_restricted_too(server, ask):
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    with pytest.raises(InferenceServerException, match="restricted"):
        getattr(client, ask)()
    getattr(client, ask)(headers={"triton-grpc-protocol-admin-key": server.admin_key})


def test_the_key_is_readable_by_its_owner_only(server):
    assert (server.state / "server.json").stat().st_mode & 0o777 == 0o600


def test_the_server_listens_on_loopback_only(server):
    listening = [
        connection.laddr
        for pid in local.processes(server.name)
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} == {server.http_port, server.grpc_port, server.metrics_port}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def own_addresses() -> list[str]:
    """This machine's IPv4 addresses, loopback among them; those of Docker's networks come and go with other tests."""
    cards = {name: card for name, card in psutil.net_if_addrs().items() if not name.startswith(("br-", "docker"))}
    return [each.address for card in cards.values() for each in card if each.family == socket.AF_INET]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0", *own_addresses()])
def test_the_record_is_of_the_server_at_every_address_of_this_machine(server, host):
    found = Server.at(f"http://{host}:{server.http_port}", server.state)
    assert found.cores == server.cores and found.processes() and found.cpu_seconds() and found.state["admin_key"]


@pytest.mark.parametrize("host", ["203.0.113.1", "[2001:db8::7]", "nowhere.invalid"])
def test_the_record_is_not_of_another_machines_server_with_the_same_port(server, host):
    found = Server.at(f"http://{host}:{server.http_port}", server.state)
    assert (found.state, found.cores, found.processes(), found.cpu_seconds()) == ({}, [], [], None)


def test_nor_is_it_of_another_port_of_this_machine(server):
    assert Server.at(f"http://localhost:{server.http_port + 1}", server.state).state == {}


def test_the_host_that_the_record_names_is_its_server_wherever_that_runs(server, tmp_path):
    """Docker may run elsewhere."""
    record = json.loads((server.state / "server.json").read_text()) | {"host": "203.0.113.1"}
    (tmp_path / "server.json").write_text(json.dumps(record))
    assert Server.at(f"http://203.0.113.1:{server.http_port}", tmp_path).cores == server.cores
    assert Server.at(f"http://203.0.113.2:{server.http_port}", tmp_path).cores == []


def test_a_health_check_lets_a_server_be_that_answers_somebody(server):
    """Photographs alone are measured, and an idle ensemble for sounds is no reason to send both an inference."""
    api = TritonAPI(server.address)
    time.sleep(2.5)
    api.infer("image", smoke_test.JPEG.read_bytes())
    assert smoke_test.recently_answered(api, 2)
    time.sleep(2.5)
    assert not smoke_test.recently_answered(api, 2)
