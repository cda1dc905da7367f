"""A comparison on a clock of its own and without a server: trials come from a formula, and everything can go wrong."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossover.analysis import bootstrap
from crossover.experiments import base_run, experiment, server_experiment
from crossover.experiments.compare import load
from crossover.experiments.compare import run as compare
from crossover.measurement import host, retry
from crossover.parity.check import Pair
from crossover.parity.difference import Difference
from tests import commands, trials_on_disk
from tests.analysis.test_bootstrap import FEW
from tests.commands import only


class World:
    """A server, a machine and a clock, of which everything can go wrong: `troubles` are raised, or break a trial."""

    url, state, cores = "http://localhost:8000", {}, [1]

    def __init__(self):
        self.now, self.measured, self.warmed, self.waited, self.troubles = 0.0, [], 0, 0, []
        self.troubles_of_pairs = []
        self.difference = "logits", 2, 2, 0.01, 0.04, 1.0, "a.jpg", ""
        self.models = trials_on_disk.run(("image",))["server"]["models"]

    def field(self, path, name):
        return "2.51.0"

    def require(self, models):
        pass

    def facts(self, steps):
        return {"url": self.url, "software": "Triton", "version": "2.51.0", "models": self.models}

    def wait(self, seconds):
        self.waited += 1

    def pairs(self, server, arms, sent, folder, seconds, seed, show):
        """Unloaded pairs, which have troubles of their own."""
        self.warmed += 1
        if self.troubles_of_pairs:
            raise self.troubles_of_pairs.pop(0)
        self.now += seconds
        number = len(list(folder.glob("pairs-*.json"))) + 1
        return trials_on_disk.pairs(folder.parent.parent, folder.parent.name, seconds=seconds, number=number)

    def warm_up(self, *_):
        self.warmed += 1

    def check_placements(self, url, workload, placements, library, payloads):
        found = [Difference(*self.difference)]
        return [Pair(tuple(placements), "", len(payloads), found, found, ["server: x"], ["a: why"])]

    def raised(self):
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, BaseException):
            raise trouble
        return trouble

    def measure(self, server, arm, schedule, sent, path, cores, turn, attempt, given_up):
        self.measured.append((turn, str(arm)))
        self.now += schedule.seconds + load.OVERHEAD
        broken = self.raised() or ""
        directory = path.parent.parent.parent
        return trials_on_disk.trial(directory, arm.workload.name, arm.placement, turn, schedule.seconds, broken)


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(server_experiment, "Server", SimpleNamespace(at=lambda *_: made))
    monkeypatch.setattr(retry, "measure", made.measure)
    for module in (retry, compare, base_run, experiment):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(compare.unloaded, "measure_pairs", made.pairs)
    monkeypatch.setattr(compare.unloaded, "warm_up", made.warm_up)
    monkeypatch.setattr(server_experiment.payload_check, "check_payloads", lambda *_: None)
    monkeypatch.setattr(compare.parity, "check_placements", made.check_placements)
    monkeypatch.setattr(host, "pin", lambda cores: None)
    monkeypatch.setattr(host, "free_cores", lambda cores: [0])
    monkeypatch.setattr(bootstrap, "RESAMPLES", FEW)
    return made


@pytest.fixture
def conduct(world, tmp_path, capsys):
    """`crossover compare image ...`, of two photographs: (exit code, output, errors)."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in ("image-a.jpg", "image-b.jpg"):
        (photographs / name).write_bytes(name.encode())
    began = ["image", "--payloads", photographs, "--reports", tmp_path / "reports", "--rounds", 6, "--seconds", 80]
    began += ["--arrivals", "poisson:rate=7.5"]

    def run(*arguments, given=None) -> tuple[int, str, str]:
        # What --continue does not say it takes from the directory.
        given = [] if "--continue" in arguments and given is None else began if given is None else given
        code, out, err = commands.conduct(capsys, "compare", *given, *arguments)
        assert "Traceback" not in out + err
        return code, out, err

    run.reports, run.photographs = tmp_path / "reports", photographs
    return run


def kept(reports: Path) -> dict:
    return json.loads((only(reports) / "run.json").read_text())


def compared(reports: Path) -> list[dict]:
    return json.loads((only(reports) / "summary.json").read_text())["workloads"]["image"]["comparisons"]


def rewrite(directory, **values):
    path = directory / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
