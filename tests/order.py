"""The order of files in `make test`: those that take longest begin early, with quick ones between them.

Tests on a live server mostly wait, the others mostly compute: side by side they share the cores, one kind after the
other leaves some idle. And no long file is left for the end, when the other workers have nothing to do.
"""

LONGEST = (
    "test_interrupts", "test_beginnings", "test_bench", "test_launcher", "test_worker_processes", "test_locustfiles",
    "test_runs_that_break", "test_unreachable", "test_efficiency", "test_crossover", "test_command",
    "test_more_models", "test_crashes", "test_admission", "test_load", "test_capacity", "test_prometheus",
    "test_study", "test_web_form", "test_workloads", "test_only", "test_other_servers", "test_foreign_requests",
    "test_benchmarks", "test_own_pipeline", "test_placements", "test_overload", "test_soak", "test_crossover_tab",
    "test_strangers_page", "test_optional", "test_twin_dali", "test_strangers_files", "test_strangers_server",
    "test_twin_onnxruntime", "test_image_metadata",
)  # fmt: skip
"""By the seconds that they took on two cores, the longest first."""


def order_files(files: list[str]) -> list[str]:
    """Those of LONGEST in its order, with the others spread evenly between them."""
    rank = {name: number for number, name in enumerate(LONGEST)}

    def name(file: str) -> str:
        return file.rpartition("/")[2].removesuffix(".py")

    long = sorted((each for each in files if name(each) in rank), key=lambda each: rank[name(each)])
    short = [each for each in files if name(each) not in rank]
    places = {each: number / len(some) for some in (long, short) for number, each in enumerate(some)}
    return sorted(files, key=lambda each: (places[each], name(each) not in rank))
