"""Laws of what a run says of its machine."""

import pytest

from crossover.measurement import host


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        ({"onnxruntime": "1.32.0"}, {"onnxruntime": "1.32.0"}),
        ({"onnxruntime-gpu": "1.31.1"}, {"onnxruntime-gpu": "1.31.1"}),
        ({}, {"onnxruntime": None}),
    ],
)
def test_the_networks_runtime_is_named_by_the_distribution_that_is_installed(monkeypatch, installed, named):
    monkeypatch.setattr(host, "read_version", installed.get)
    versions = host.read_versions()
    assert {name: each for name, each in versions.items() if "onnxruntime" in name} == named
