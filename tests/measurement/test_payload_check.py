"""Every payload is sent once before anything is measured: files without a good answer are named, on the real server."""

import pytest

from crossover.measurement.payload_check import check_payloads
from loadgen.arm import Arm, Mode
from serving.server import Server, Unavailable
from tests.commands import conduct
from workloads.image import IMAGE
from workloads.payloads import Payload
from workloads.workload import Placement, Workload

GOOD = IMAGE.load("")[:1]
CUT = [Payload(f"cut-{number}.jpg", GOOD[0].encoded[:200]) for number in range(12)]


def arms(*placements: str) -> list[Arm]:
    return [Arm(IMAGE, placement, Mode("sequential")) for placement in placements]


@pytest.mark.parametrize("placement", ["client", "server"])
def test_the_first_three_files_without_a_good_answer_are_named_and_all_are_counted(server, placement):
    live = Server.at(server.url, server.state)
    check_payloads(live, arms(placement), (), GOOD)
    with pytest.raises(ValueError, match=r"^12 of 13 payloads of image have no good answer: cut-0.jpg \(") as caught:
        check_payloads(live, arms(placement), (), [*CUT, *GOOD])
    said = str(caught.value)
    assert "cut-2.jpg" in said and "cut-3.jpg" not in said and said.endswith("; and 9 more; mend or remove them")


def test_what_is_only_prepared_is_not_sent_and_must_be_prepared(server):
    broken = Workload(name="x", payloads=lambda: GOOD, placements={"a": Placement("no_model", lambda encoded: 1 / 0)})
    live = Server.at(server.url, server.state)
    check_payloads(live, arms("server"), arms("client"), GOOD)
    with pytest.raises(ValueError, match="division by zero"):
        check_payloads(live, arms("server"), [Arm(broken, "a", Mode("sequential"))], GOOD)


def test_where_no_server_answers_the_files_are_not_to_blame(server):
    gone = Server("http://127.0.0.1:9", Server.at(server.url, server.state).state)
    with pytest.raises(Unavailable, match="no Triton server answers"):
        check_payloads(gone, arms("server"), (), GOOD)


@pytest.mark.parametrize(
    "command",
    [["compare", "--seconds", 60], ["capacity", "--seconds", 600], ["load"], ["efficiency"], ["clients"]],
    ids=lambda command: command[0],
)
def test_a_damaged_file_ends_every_command_in_a_line_before_it_measures(server, tmp_path, capsys, command):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for payload in (*GOOD, *CUT[:1]):
        (folder / payload.name).write_bytes(payload.encoded)
    name, *options = command
    at = ["--url", server.url, "--state", server.state, "--reports", tmp_path / "reports"]
    code, _, errors = conduct(capsys, name, "image", "--payloads", folder, *options, *at)
    assert (code, errors.count("\n")) == (2, 1), errors
    assert "1 of 2 payloads of image has no good answer: cut-0.jpg (" in errors
    assert not (tmp_path / "reports").exists()
