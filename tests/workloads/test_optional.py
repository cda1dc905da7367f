"""Optional placements: their names in --arms, and the models that are loaded for the length of a run."""

import os
import signal

import numpy as np
import pytest

from crossover.measurement.extra_models import ExtraModels
from serving import model_loader
from serving.processes import kill, stubs
from serving.server import Server
from tests.conftest import launch
from workloads import flags, optional
from workloads.image import IMAGE, photographs
from workloads.workload import Placement, Workload

TOY = Workload(
    name="toy",
    placements={"a": Placement("one", bytes, variants={"small": Placement("two", bytes, steps=("three",))})},
    optional={"b": Placement("four")},
    payloads=lambda: [],
    steps=("one",),
)


def test_a_variant_is_named_behind_its_placement_and_has_words_and_steps_of_its_own():
    chosen = TOY.with_arms(["a:small", "b"])
    assert optional.list_names(TOY.bases) == ["a", "b", "ready", "gateway", "mixed:0.5", "mixed:auto", "a:small"]
    assert list(chosen.placements) == ["a", "a:small", "b"] and chosen.steps == ("one", "three")
    assert chosen.placements["a:small"].words == "the a placement (small)"
    assert list(TOY.placements) == ["a"] and TOY.with_arms(["a"]) == TOY


@pytest.mark.parametrize("name", ["a:large", "b:small", "a:small:x", "a:", ":a", "a:small/", "A"])
def test_an_unknown_variant_is_one_line_that_names_the_good_ones(name):
    good = "try some of a, b, ready, gateway, mixed:0.5, mixed:auto, a:small, with commas"
    with pytest.raises(ValueError, match=rf"unknown placement '{name}' of toy; {good}"):
        optional.find(TOY.bases, name, TOY.name)


def test_what_no_arm_names_is_no_part_of_a_run():
    workloads = {"image": IMAGE}
    arms = flags.choose_arms(None, workloads)
    assert arms == {"image": ["client", "server"]} and flags.add_arms(workloads, arms) == workloads
    arms = flags.choose_arms("client:uint8,server", workloads, 2)
    assert arms == {"image": ["client:uint8", "server"]}
    assert "client:uint8" in flags.add_arms(workloads, arms)["image"].placements
    assert "client:uint8" not in IMAGE.placements
    with pytest.raises(ValueError, match="sweep takes the placements client, server of image, and --arms names"):
        flags.refuse_optional(arms, workloads, "sweep")
    with pytest.raises(ValueError, match=r"names mixed:0\.5; `crossover capacity --link` has it behind a link$"):
        flags.refuse_optional({"image": ["client", "mixed:0.5"]}, workloads, "sweep")


def test_what_needs_nothing_to_be_loaded_or_started_is_at_hand():
    assert optional.list_at_hand(IMAGE.bases) == [
        *("client", "server", "ready", "mixed:0.5", "mixed:auto"),
        *("client:recompressed", "client:opencv", "client:scaled"),
    ]
    assert optional.list_at_hand(TOY.bases) == ["a", "b", "ready"]  # its b does not name its tensors


def test_a_command_that_starts_no_gateway_refuses_one_in_one_line():
    arms = {"image": ["client", "gateway"]}
    with pytest.raises(ValueError, match="overload starts no gateway, and --arms names gateway of image"):
        flags.refuse_gateways(arms, flags.add_arms({"image": IMAGE}, arms), "overload")
    flags.refuse_gateways({"image": ["client"]}, {"image": IMAGE}, "overload")


def test_a_model_that_only_a_variant_asks_is_there_while_it_is_asked_and_gone_then(server):
    done = launch("check", "image", "--arms", "client,client:uint8", "--state", server.state)
    assert done.returncode == 0, done.stderr
    assert "loading resnet50_uint8 for client:uint8, until the end of this run" in done.stdout
    assert "image client and client:uint8: the same computation" in done.stdout
    extra = ["resnet50_uint8", *model_loader.names(model_loader.VARIANTS)]
    assert len(extra) > 9 and not any(map(Server(server.url, {}).api.is_ready, extra))


def test_a_server_of_somebody_else_gets_no_model(server, tmp_path):
    done = launch("check", "image", "--arms", "client,client:uint8", "--url", server.url, "--state", tmp_path)
    [line] = done.stderr.splitlines()
    assert done.returncode == 2
    assert "placement 'client:uint8' of image asks the model resnet50_uint8, which http" in line
    assert line.endswith("lacks; only a server of `crossover up` gets it")


def test_ready_prepares_each_payload_once_for_all_threads():
    prepared = []

    def prepare(encoded):
        prepared.append(encoded)
        return encoded

    base = Placement("one", prepare)
    ready = optional.find({"a": base}, "ready", "toy")
    threads, payloads = [ready.preprocessor() for _ in range(2)], [b"x", b"y" * 9]
    assert [thread(payload) for thread in threads for payload in payloads] == payloads * 2
    assert prepared == payloads
    with pytest.raises(ValueError, match="unknown placement 'ready' of toy; try some of b, with"):
        optional.find({"b": Placement("two")}, "ready", "toy")


def test_nobody_can_write_to_what_ready_has_prepared():
    base = Placement("one", lambda encoded: {"x": np.zeros(3), "file": encoded})
    preprocess = optional.find({"a": base}, "ready", "toy").preprocessor()
    prepared = preprocess(b"bytes")
    assert prepared is preprocess(b"bytes") and prepared["file"] == b"bytes"
    with pytest.raises(ValueError, match="WRITEABLE"):
        prepared["x"].setflags(write=True)


def test_what_computes_in_the_clients_process_takes_no_transport():
    with pytest.raises(ValueError, match=r"local computes in the client's process, .*; leave out \+grpc"):
        IMAGE.with_arms(["local+grpc"])


@pytest.mark.parametrize("name", ["mixed:1.5", "mixed:0", "mixed:1", "mixed:-1", "mixed:nan", "mixed:half", "mixed"])
def test_a_share_that_mixes_nothing_is_one_line(name):
    with pytest.raises(ValueError, match=rf"'{name}' mixes nothing; give .*, as mixed:0.6, or mixed:auto") as refused:
        IMAGE.with_arms([name])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.6, 0.9])
def test_a_mixed_placement_prepares_its_share_in_even_turns(share):
    split = IMAGE.with_arms([f"mixed:{share}"]).placements[f"mixed:{share}"].split
    chosen = [split.is_prepared_here(number) for number in range(1000)]
    for end in range(1, 1001):
        assert abs(sum(chosen[:end]) - share * end) <= 1
    assert split.client is IMAGE.placements["client"] and split.server is IMAGE.placements["server"]


def test_a_model_whose_process_died_is_loaded_again(server):
    at, said = Server.at(server.url, server.state), []
    extra = ExtraModels(at, server.state, said.append)
    try:
        extra.load(IMAGE.with_arms(["server:top5"]), ["server:top5"])
        [stub] = [each for each in stubs(server.name) if each.model == "top5"]
        kill(stub.pid, signal.SIGKILL)
        extra.restore(at)
        assert [line for line in said if "top5 " in line].count(said[0]) == 2, said
        assert "classes" in at.api.infer("image_top5", photographs((320,))[0].encoded)
    finally:
        extra.unload()


def test_of_two_runs_at_once_the_last_one_unloads_the_models_also_those_of_a_killed_one(server):
    at, said = Server.at(server.url, server.state), []
    killed, first, last = (ExtraModels(at, server.state, said.append) for _ in range(3))
    workload, names = IMAGE.with_arms(["server:top5"]), ["server:top5"]
    try:
        killed.load(workload, names)
        for lock in killed._locks.values():
            os.close(lock)
        for each in (first, last):
            each.load(workload, names)
        first.unload()
        assert at.api.is_ready("image_top5") and at.api.is_ready("top5")
        last.unload()
        assert not at.api.is_ready("image_top5") and not at.api.is_ready("top5")
        assert len(said) == 2  # of the first, for both models
    finally:
        last.unload()


def test_a_library_that_loses_something_is_one_thing_by_both_its_names():
    """`--library opencv` and the arm `client:opencv`: the same preprocessor, and the same declared loss."""
    arms = ["client", "client:opencv", "client:pillow", "ready", "gateway", "mixed:0.5", "local", "server"]
    asked = IMAGE.with_arms(arms).with_library("opencv").placements
    loss = asked["client:opencv"].lossy
    assert "OpenCV" in loss and "2.6 of 255 grey levels" in loss
    assert asked["client"].prepare == asked["client:opencv"].prepare
    lossy = {"client", "client:opencv", "ready", "gateway", "mixed:0.5", "local"}
    assert {name for name in arms if asked[name].lossy == loss} == lossy
    assert [asked[name].lossy for name in ("client:pillow", "server")] == ["", ""]
    for name in ("client", "mixed:0.5", "ready", "local"):
        assert list(asked[name].libraries) == ["opencv"]
    assert not any(each.lossy for each in IMAGE.with_library("pillow").placements.values())
    assert IMAGE.with_arms(["client:opencv"]).with_library("pillow").placements["client:opencv"].lossy == loss
    described = IMAGE.with_library("opencv").describe(["client", "server"])["placements"]
    assert described["client"]["lossy"] == loss and described["server"]["lossy"] == ""


def test_a_library_is_found_as_a_variant_and_listed_if_it_loses_something():
    assert list(IMAGE.with_arms(["client:dali"]).placements["client:dali"].libraries) == ["dali"]
    names = optional.list_names(IMAGE.bases)
    assert "client:opencv" in names and "client:pillow" not in names
    with pytest.raises(ValueError, match="unknown placement 'client:moon'"):
        IMAGE.with_arms(["client:moon"])
