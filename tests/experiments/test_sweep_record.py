"""A sweep's part of run.json, and the server that it may go on with."""

import pytest

from crossover.experiments.sweep import grid
from crossover.experiments.sweep.record import describe_sweep, list_server_differences
from crossover.experiments.sweep.site import Site
from serving.server import Server
from workloads import catalogue


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"cores": [2, 3]}, []),
        ({"engine": "docker"}, ["engine: local against docker"]),
        ({"version": "2.52.0"}, ["server's version: 2.51.0 against 2.52.0"]),
        (
            {"models": {"resnet50": {"provenance": {"weights": "pretrained"}}}},
            ["weights of resnet50: random against pretrained"],
        ),
    ],
)
def test_a_sweep_goes_on_with_the_server_that_it_began_on_or_one_like_it(other, says):
    server = {"version": "2.51.0", "engine": "local", "cores": [1]}
    server["models"] = {"resnet50": {"provenance": {"weights": "random"}}}
    assert list_server_differences({"server": server}, {"server": server | other}) == says


@pytest.mark.parametrize(
    ("provenance", "network", "regime"),
    [
        ({"weights": "random"}, "tiny (random weights)", "an accelerator that is never the bottleneck (tiny stand-in)"),
        ({}, "the server's own models", "the server's own models"),
    ],
)
def test_what_a_server_computes_with_is_said_only_where_it_is_known(provenance, network, regime, monkeypatch):
    def facts(_, models):
        known = {model: {"provenance": provenance} if model == "resnet50" else {} for model in models}
        return {"version": "2.51.0", "models": known}

    monkeypatch.setattr(Server, "facts", facts)
    workload = catalogue.BUILT_IN["image"]
    [sweep], _ = grid.planned(["size"], {"image": workload}, {"image": ["client", "server"]}, 2)
    about = describe_sweep(Site("tiny", Server("", {"engine": "local", "cores": "1"})), sweep, [0])
    assert (about["network"], about["regime"]) == (network, regime)
    assert about["client_cores"] == [0] and about["planned"] == len(sweep.points) and about["points"] == []
    assert list_server_differences(about, about) == []
