"""A container's quota of CPU time, read from folders as the kernel has them, and who goes by it."""

import pytest

from common import cpu_quota
from common.cpu_quota import list_usable_cores, read_quota
from crossover.measurement import host
from serving import thread_plan


@pytest.fixture
def group(tmp_path):
    """Write a file of a control group below a root of one's own; returns what `read_quota` takes."""

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / "cgroup", tmp_path / "own"

    return write


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.stat": ""}, None),
        # The lowest quota of all groups above holds.
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "200000 100000"}, 1),
        # The path is the host's: the container's own group is the root.
        ("0::/docker/abc\n", {"cpu.max": "400000 100000"}, 4),
        # Version 1, alone and with another controller in one folder; -1 is no limit.
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (
            "7:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "800000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            8,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "0\n"}, None),
    ],
)
def test_a_quota_is_read_in_cores(own, files, cores, group):
    assert read_quota(*group(own, files)) == cores


def test_a_system_without_control_groups_has_no_quota(tmp_path):
    assert read_quota(tmp_path / "none", tmp_path / "neither") is None


def test_a_quota_leaves_the_lowest_cores():
    assert list_usable_cores({7, 2, 5, 3}, 2) == [2, 3] and list_usable_cores({7, 2}, 16) == [2, 7]


def test_client_and_server_share_the_cores_of_the_quota(group, monkeypatch):
    root, own = group("0::/\n", {"cpu.max": "400000 100000"})
    monkeypatch.setattr(cpu_quota.read_quota, "__defaults__", (root, own))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert thread_plan.server_cores(None) == [2, 3] and thread_plan.server_cores("all") == [0, 1, 2, 3]
    assert host.free_cores([2, 3]) == [0, 1] and host.free_cores([0, 1, 2, 3]) == [0, 1, 2, 3]
    # A list is taken as it is; threads are planned for the time that there is.
    cores = thread_plan.server_cores("8-15")
    assert cores == list(range(8, 16)) and len(list_usable_cores(cores)) == 4
