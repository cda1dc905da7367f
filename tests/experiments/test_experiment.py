"""One life of a run: however it ends, its exit code says how, and so do the make targets."""

import errno
import subprocess
from argparse import Namespace

import pytest

from crossover.experiments.base_run import Run
from crossover.experiments.catalogue import EXPERIMENTS, find_kind
from crossover.measurement.trial import read_trials
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT, USAGE
from loadgen.command import INTERRUPTED
from serving import Failure
from serving.server import Unavailable
from tests import trials_on_disk
from tests.conftest import ROOT


class Ending(Run):
    """A run that ends as its option says."""

    def measure(self) -> None:
        if self.options.ends:
            raise self.options.ends


@pytest.mark.parametrize(
    ("ends", "code", "line"),
    [
        (None, GOOD, ""),
        (Unavailable("no Triton server answers"), BROKEN, "no Triton server answers"),
        (Failure("the server did not start"), BROKEN, "the server did not start"),
        (OSError(errno.ENOSPC, "No space left on device"), BROKEN, "[Errno 28] No space left on device"),
        (ValueError("it cannot\nbe continued"), USAGE, "it cannot be continued"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
    ],
)
def test_however_a_run_ends_it_says_so_in_one_line_and_by_its_exit_code(ends, code, line, capsys):
    assert Ending(Namespace(ends=ends, command="crossover compare")).conduct() == code
    output, errors = capsys.readouterr()
    if code in (GOOD, INTERRUPTED):
        assert (output.strip(), errors) == (line, "")
    else:
        assert (output, errors) == ("", f"crossover compare: {line}\n")


@pytest.mark.parametrize(
    ("name", "unanswered", "invalid"),
    [
        ("bench", BROKEN, MEASUREMENT),
        ("crossover", BROKEN, MEASUREMENT),
        ("study", BROKEN, GOOD),  # a naive client may fall behind: counted in
        ("capacity", BROKEN, GOOD),  # an INVALID probe is a result
    ],
)
def test_unanswered_arrivals_and_invalid_trials_have_exit_codes_of_their_own(tmp_path, name, unanswered, invalid):
    kind = find_kind(name)

    def code(trials) -> int:
        result = EXPERIMENTS["bench"].fold(tmp_path, trials_on_disk.run(("image",)), trials) if name == "bench" else {}
        return kind.exit_code(result, trials)

    trials_on_disk.write(tmp_path, ("image",), 4)  # an arrival of round 3 has failed
    trials = read_trials(tmp_path)
    assert code(trials) == unanswered
    sound = [trial for trial in trials if trial.sound]
    assert code(sound) == (MEASUREMENT if name == "bench" else GOOD)  # three rounds decide nothing
    sound[0].valid, sound[0].findings = False, [{"rule": "hub stall", "measured": "", "limit": "", "change": ""}]
    assert code(sound) == invalid


def test_an_unknown_experiment_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="unknown experiment 'latency'; try one of ") as error:
        find_kind("latency")
    assert str(error.value).partition("try one of ")[2].split(", ") == list(EXPERIMENTS)


@pytest.mark.parametrize("target", ["bench", "capacity", "sweep", "efficiency", "clients", "soak", "overload"])
def test_no_make_target_takes_an_invalid_measurement_for_an_error(target):
    # Within `make test` it would say which directory it leaves, and take over that one's ARGS.
    command = ["make", "--no-print-directory", "-n", target, "ARGS="]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert any(line.endswith("|| exit $(($? == 3 ? 0 : $?))") for line in done.stdout.splitlines())
