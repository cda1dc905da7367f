"""Requests of other clients during a trial: they are noticed on the real server, and a trial's own never are."""

import contextlib
import threading
from functools import partial
from pathlib import Path

import pytest

from arrivals import parse
from crossover.measurement import retry
from crossover.measurement.foreign_requests import Route, find_most_asked, find_route
from crossover.measurement.measure import measure
from crossover.measurement.pairs import warm_up
from crossover.measurement.retry import Retries
from crossover.measurement.trial import Trial, read_trial
from loadgen.arm import Arm, Mode
from serving import smoke_test
from serving.server import Server
from serving.triton_api import TritonAPI
from transport.message import TIMED_OUT
from workloads.image import IMAGE
from workloads.payloads import Payload

PATHS = {"client": {"resnet50": 1}, "server": {"image": 1, "image_preprocess": 1, "resnet50": 1}}
"""Placement -> how often its requests pass each model."""


def said(ended: int, failed: int | None = 0) -> dict:
    """What Triton says of a model."""
    fail = {} if failed is None else {"fail": {"count": failed, "ns": 1}}
    return {"inference_stats": {"success": {"count": ended, "ns": 1}, **fail}}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"m": said(5)}, {"m": said(15)}, ("m", 10, 10)),
        ({"m": said(5)}, {"m": said(12, failed=3)}, ("m", 10, 10)),
        ({"m": said(5, None)}, {"m": said(25, None)}, ("m", 20, 10)),
        ({"m": said(0), "twice": said(0)}, {"m": said(10), "twice": said(20)}, ("m", 10, 10)),
        ({"m": said(0), "twice": said(0)}, {"m": said(10), "twice": said(29)}, ("twice", 29, 20)),
        ({"m": said(0), "other": said(0)}, {"m": said(10), "other": said(99)}, ("m", 10, 10)),
        ({"m": said(50)}, {"m": said(3)}, None),
        ({}, {"m": said(3)}, None),
        ({"m": said(3)}, {}, None),
    ],
    ids=["own", "failed ones count", "no failures are told of", "a step that is passed twice", "a step asked by others",
         "a model that is not passed", "began anew", "not there before", "gone"],
)  # fmt: skip
def test_a_models_requests_are_told_from_those_that_a_trial_has_sent(before, after, found):
    assert find_most_asked(before, after, Route({"m": 1, "twice": 2}), sent=10) == found


@pytest.mark.parametrize(("placement", "passes"), PATHS.items())
def test_a_request_passes_the_steps_of_its_ensemble(server, placement, passes):
    found = find_route(Server.at(server.url, server.state), IMAGE.placements[placement].model)
    assert found == Route(passes, frozenset(passes) & {"image"})


def offer(server, path: Path, placement: str, retries: Retries | None = None, payloads=None) -> Trial:
    """A trial of 24 photographs in 3 s."""
    one = Server.at(server.url, server.state)
    retries = retries or Retries(lambda: one, print)
    return retries.measure(
        Arm(IMAGE, placement, Mode("async")),
        parse("constant:rate=8").schedule(3, 1),
        payloads or IMAGE.load(""),
        path,
        1,
        1,
    )


@contextlib.contextmanager
def another_client(url: str, ask):
    """A client that calls `ask` with the server, again and again, until the block ends."""
    api, over = TritonAPI(url.removeprefix("http://")), threading.Event()

    def run():
        while not over.is_set():
            ask(api)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def foreign(trial: Trial) -> list[str]:
    return [each["measured"] for each in trial.findings if each["rule"] == "foreign requests"]


@pytest.mark.parametrize("placement", PATHS)
def test_a_trials_own_requests_are_none_of_others_nor_are_those_that_warm_up(server, tmp_path, placement):
    one = Server.at(server.url, server.state)
    warm_up(one, [Arm(IMAGE, each, Mode("async")) for each in PATHS], IMAGE.load("")[:3])
    trial = offer(server, tmp_path / "round-01", placement)
    assert foreign(trial) == [] and trial.facts["counted"] == trial.facts["own"] == 24
    assert read_trial(trial.path) == trial


def test_a_trials_own_errors_are_none_of_others(server, tmp_path):
    """Triton counts an error of an ensemble twice."""
    trial = offer(server, tmp_path / "round-01", "server", payloads=[Payload("no photograph", b"no photograph")])
    assert trial.summary["books"]["failed"] == 24 and foreign(trial) == []


@pytest.mark.parametrize("placement", PATHS)
def test_another_client_makes_a_trial_invalid_and_both_numbers_are_named(server, tmp_path, placement):
    """It asks the ensemble, which passes the network: that of both placements."""
    with another_client(server.url, lambda api: api.infer("image", smoke_test.JPEG.read_bytes())):
        trial = offer(server, tmp_path / "round-01", placement)
    assert not trial.valid and trial.sound
    [measured] = foreign(trial)
    counted, model = trial.facts["counted"], "resnet50" if placement == "client" else trial.facts["model"]
    assert measured == f"the server counted {counted} requests to {model}, and this client sent 24"
    assert counted > 24 + 2 and model in PATHS[placement]


def test_what_an_earlier_trial_gave_up_is_no_request_of_others(server, tmp_path, monkeypatch):
    """The server answers it when its turn comes, perhaps within the next trial."""
    one = Server.at(server.url, server.state)
    retries = Retries(lambda: one, print)
    with monkeypatch.context() as impatient:
        impatient.setattr(retry, "measure", partial(measure, timeout=0.001))
        first = offer(server, tmp_path / "round-00", "server", retries).summary["books"][TIMED_OUT]
        lost = first + offer(server, tmp_path / "round-01", "server", retries).summary["books"][TIMED_OUT]
    assert retries.given_up == lost > first > 0
    second, third = (offer(server, tmp_path / f"round-0{number}", "server", retries) for number in (2, 3))
    assert (second.facts["own"], third.facts["own"]) == (24 + lost, 24) and foreign(second) == []


class Configs:
    """A server of these ensembles: name -> steps."""

    def __init__(self, ensembles: dict[str, list[str]]):
        self.ensembles = ensembles

    def get(self, path: str) -> dict:
        steps = self.ensembles.get(path.split("/")[3])
        return {"ensemble_scheduling": {"step": [{"model_name": each} for each in steps]}} if steps else {}


def test_an_ensemble_within_an_ensemble_passes_its_steps_too():
    ensembles = {"outer": ["inner", "net", "inner"], "inner": ["prepare", "net"]}
    route = find_route(Configs(ensembles), "outer")
    assert route == Route({"outer": 1, "inner": 2, "prepare": 2, "net": 3}, frozenset(ensembles))
