"""Laws of what a report says of the server's GPUs: each experiment with trials says it once, and none without one."""

import pytest

from crossover.experiments.catalogue import EXPERIMENTS
from crossover.experiments.load.result import KIND as LOAD
from crossover.measurement.trial import read_trials
from crossover.report import gpu, html
from crossover.report.kind import write_page
from tests.trials_on_disk import run, write


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    write(directory)
    return directory


@pytest.fixture
def trials(directory):
    """The photographs' trials, as a server without a GPU leaves them."""
    return [trial for trial in read_trials(directory) if trial.workload == "image"]


@pytest.fixture
def on_a_card(trials):
    for trial in trials:
        trial.gpu = {"energy_joules": 2.5 * trial.scheduled, "utilisation": 0.1 * trial.round, "memory_mb": 1500}
    trials[0].gpu["memory_mb"] = None  # NVML does not always say
    return trials


def test_joules_use_and_memory_stand_in_the_table_of_loads_and_on_its_page(directory, on_a_card):
    described = run(("image",))
    result = LOAD.fold(directory, described, on_a_card)
    lines = LOAD.write_output(result, on_a_card).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("GPU"))
    assert lines[at].split() == ["GPU", "J", "per", "request", "in", "use,", "%", "memory,", "GB"]
    first = next(line for line in lines[at:] if line.startswith("image client")).split()
    assert (first[-3], first[-1]) == ("2.50", "1.50")
    write_page(LOAD, directory, described, result, on_a_card, {})
    page = (directory / html.NAME).read_text()
    assert "<h2>The GPU</h2>" in page and "<th>J per request</th>" in page and "idle power included" in page


def test_without_a_gpu_nothing_is_said_of_one(directory, trials):
    described = run(("image",))
    result = LOAD.fold(directory, described, trials)
    write_page(LOAD, directory, described, result, trials, {})
    assert "GPU" not in LOAD.write_output(result, trials) + (directory / html.NAME).read_text()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_with_trials_has_the_gpus_figures_once(name, on_a_card):
    kind = EXPERIMENTS[name]
    assert bool(kind.list_gpu_use(on_a_card)) is (name != "bench")  # whose table of costs has them


def test_figures_are_of_an_arm_and_not_of_its_loads_unless_these_differ(on_a_card):
    assert [name for name, _ in gpu.list_use(on_a_card)] == ["image client", "image server"]
    for trial in on_a_card[:2]:
        trial.arrivals = "constant:rate=1"
    assert len(gpu.list_use(on_a_card, by_load=True)) > len(gpu.list_use(on_a_card))
