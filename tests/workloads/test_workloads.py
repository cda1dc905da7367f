"""A workload: its file, libraries and payloads, and the arms chosen of it."""

import re

import pytest

from loadgen.arm import Arm, Mode
from preprocess.image import LIBRARIES
from tests.workloads.own_pipeline import HEAD
from workloads import catalogue, flags
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.payloads import Payload
from workloads.workload import Placement, UnsoundWorkload, Workload, per_thread


def toy(**other) -> Workload:
    usual = {"name": "toy", "placements": {"a": Placement("m")}, "payloads": lambda: [Payload("x", b"x")]}
    return Workload(**{**usual, **other})


def test_files_are_relative_to_the_workloads_file(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [payload.name[:5] for payload in catalogue.find(str(own)).load()] == ["china", "china", "flowe", "flowe"]


def test_a_file_may_import_its_neighbours_and_hides_no_module_of_ours(tmp_path):
    (tmp_path / "workloads.py").write_text("raise SystemExit")
    (tmp_path / "beside_it.py").write_text("NAME = 'neighbour'")
    (tmp_path / "mine.py").write_text(
        f"from beside_it import NAME\n{HEAD}"
        "WORKLOAD = Workload(name=NAME, payloads=files('*'), placements={'a': Placement('m')})\n"
    )
    assert catalogue.find(str(tmp_path / "mine.py")).name == "neighbour"


def test_two_workloads_of_one_name_are_refused(tmp_path):
    (tmp_path / "mine.py").write_text("from workloads.image import IMAGE as WORKLOAD\n")
    with pytest.raises(ValueError, match="two of these workloads are called 'image'"):
        catalogue.find_all(["image", str(tmp_path / "mine.py")])
    assert list(catalogue.find_all([str(tmp_path / "mine.py"), "audio"])) == ["image", "audio"]


def test_a_library_is_called_by_its_name_and_a_lambda_by_none():
    def shrink(encoded):
        return encoded

    prepares = {"a": per_thread(LIBRARIES["pillow"]), "b": lambda encoded: encoded, "c": shrink, "d": None}
    named = toy(placements={name: Placement("m", prepare) for name, prepare in prepares.items()})
    assert named.libraries == ("pillow", "shrink")
    chosen = [Arm(named, name, Mode("sequential")).chosen for name in named.placements]
    assert chosen == ["pillow", "", "shrink", ""]
    assert named.placements["b"].preprocessor("pillow") is prepares["b"]


def test_arms_are_different_placements_by_name():
    three = {"toy": toy(placements={name: Placement("m") for name in "abc"})}
    assert flags.choose_arms(None, three) == {"toy": ["a", "b"]}
    assert flags.choose_arms("c, a", three, 2) == {"toy": ["c", "a"]}
    bad = {
        "": "--arms is empty; name some placements of toy, of a, b, c",
        " , ": "--arms is empty",
        "a,": "unknown placement '' of toy",
        "a,b,b": "--arms takes different placements of toy, of a, b, c; not 'a, b, b'",
    }
    for text, says in bad.items():
        with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
            flags.choose_arms(text, three)
    with pytest.raises(ValueError, match="takes 2 different placements of toy"):
        flags.choose_arms("a,b,b", three, 2)
    table = "--arms takes 2 placements, not 3; `crossover placements toy --arms a,b,c` prints a table of them"
    with pytest.raises(ValueError, match=f"^{re.escape(table)}$"):
        flags.choose_arms("a,b,c", three, 2)
    with pytest.raises(ValueError, match=r"^toy has one placement, a; a comparison needs two$"):
        flags.choose_arms(None, {"toy": toy()}, 2)
    assert flags.choose_arms(None, {"toy": toy()}, 0) == {"toy": ["a"]}


def test_an_arm_may_name_its_transport_and_becomes_a_placement_of_its_own():
    two = {"toy": toy(placements={name: Placement("m", words=f"the {name}") for name in "ab"})}
    arms = flags.choose_arms("a, a+grpc,b+http", two)
    assert arms == {"toy": ["a", "a+grpc", "b+http"]}
    assert flags.choose_arms(None, two, 2, "grpc") == {"toy": ["a+grpc", "b+grpc"]}
    assert flags.choose_arms("a+http,b", two, 2, "grpc") == {"toy": ["a+http", "b+grpc"]}
    placements = flags.add_arms(two, arms)["toy"].placements
    assert list(placements) == ["a", "b", "a+grpc", "b+http"]
    assert [each.transport.name for each in placements.values()] == ["http", "http", "grpc", "http"]
    assert placements["a+grpc"].words == "the a over gRPC"
    assert flags.add_arms(two, {"toy": ["a", "b"]}) == two
    one = {"toy": toy()}
    assert flags.choose_arms("a,a+grpc", one, 2) == {"toy": ["a", "a+grpc"]}
    bad = {
        "a+grcp": "unknown transport 'grcp'; try one of http, grpc",
        "a+": "unknown transport ''; try one of http, grpc",
        "c+grpc": "unknown placement 'c+grpc' of toy; try some of a, b",
        "a+grpc,a+grpc": "--arms takes different placements",
    }
    for text, says in bad.items():
        with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
            flags.choose_arms(text, two)
    with pytest.raises(ValueError, match=r"^sweep measures over HTTP only, and --arms names a\+grpc$"):
        flags.refuse_transports({"toy": ["b", "a+grpc"]}, "sweep")


def test_a_library_is_chosen_where_a_workload_has_it():
    flags.check_library("pillow", {"image": IMAGE, "audio": AUDIO})
    assert flags.choose_library("pillow", IMAGE) == "pillow" and flags.choose_library("pillow", AUDIO) == ""
    with pytest.raises(ValueError, match="unknown library 'pillow'; audio has librosa"):
        flags.check_library("pillow", {"audio": AUDIO})


@pytest.mark.parametrize("other", [{"share": 0}, {"share": -1}, {"placements": []}, {"name": ""}, {"name": "a/b"}])
def test_an_unsound_workload_is_refused(other):
    with pytest.raises(UnsoundWorkload):
        toy(**other)


def test_payloads_that_are_none_are_one_line():
    for made in ([], ["x"], None):
        with pytest.raises(ValueError, match="the payloads of toy must be a list of Payload"):
            toy(payloads=lambda made=made: made).load()
