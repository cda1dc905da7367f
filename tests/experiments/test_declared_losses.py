"""What a library loses is declared by `overload` and `efficiency`, too: in what they print and in their JSON."""

import json
from argparse import Namespace

import pytest

from crossover.experiments.efficiency import result
from crossover.experiments.overload.run import Overloads, check
from loadgen.arm import Arm, Mode
from tests import commands, trials_on_disk
from workloads.image_variants import AREA

SHORT = "from crossover.experiments.overload import run as overload, shapes; overload.AROUND = shapes.AROUND = 0.5; "
SHORT += "overload.SEARCH, overload.LEAST = 0.5, 0.5"


@pytest.mark.long
def test_an_overload_prepares_with_the_library_and_says_what_it_loses(server):
    flags = ["--capacity", "3", "--seconds", "7", "--url", server.url, "--state", server.state, "--json"]
    code, output = commands.run("overload", "image", "--arms", "client", "--library", "opencv", *flags, shorter=SHORT)
    assert code == 0, output
    found = json.loads(output[output.index("{") :])
    assert {(row["library"], row["lossy"]) for row in found["result"]} == {("opencv", AREA)}
    said = f"image client loses something: {AREA}."
    assert found["verdict"][-1] == said and output.count(f"\n{said}\n") == 1


@pytest.mark.parametrize(("library", "lossy"), [("opencv", AREA), ("pillow", ""), ("", "")])
def test_the_arms_of_an_overload_have_the_library_and_its_loss(server, library, lossy):
    flags = {"arms": "client", "library": library, "transport": None, "slo": 2000.0, "capacity": 1.0, "start": None}
    options = Namespace(workloads=("image",), **flags, seconds=0.0, seed=1, continued="", url=server.url)
    check(options)
    arm = Arm(options.workloads["image"], "client", Mode("sequential"))
    assert arm.chosen == (library or "dali") and arm.placed.lossy == lossy
    run = Overloads(Namespace(**vars(options), state=server.state))
    run.rows = [{"workload": "image", "placement": "client", "lossy": lossy, "load": "none"}]
    assert run.document()["verdict"] == ([f"image client loses something: {AREA}."] if lossy else [])


def test_an_efficiency_of_an_earlier_version_has_no_losses_to_tell():
    found = trials_on_disk.efficiency("image")
    assert "loses" not in result.text(found) and "loses" not in str(result.sentences(found))
