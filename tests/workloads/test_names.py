"""Nothing outside workloads knows an image from audio, or a client from a server; the two workloads are twins."""

import ast
import re

import pytest

from tests.conftest import ROOT
from workloads.audio import AUDIO
from workloads.image import IMAGE


def test_the_audio_twin_of_an_image_file_is_found_by_changing_one_word():
    for path in ("workloads/image.py", "loadgen/image.py", "preprocess/image.py"):
        assert (ROOT / path).is_file() and (ROOT / path.replace("image", "audio")).is_file()
    for name in ("name", "placements", "payloads", "typical", "sizes", "answer", "subject", "steps"):
        assert getattr(IMAGE, name) and getattr(AUDIO, name)
    assert list(IMAGE.placements) == list(AUDIO.placements)


WORKLOADS, PLACES = {"image", "audio"}, {"client", "server"}
CHECKED = "gpu-check is of the launcher's server, which has these two pipelines"
FILES = {
    "loadgen/image.py": "the locustfile of that workload",
    "loadgen/audio.py": "the locustfile of that workload",
    **{f"crossover/gpu_check/{name}.py": CHECKED for name in ("answers", "decode", "files", "network", "rate")},
    "loadgen/samples/sample.py": "the two sides of a connection, of which one prepares an arrival",
    "crossover/analysis/costs.py": "prices of the CPU of the client's and of the server's machine",
    "crossover/measurement/network_link.py": "the two ends of a link",
}
LINES = {
    r"cores": "which core belongs to whose process",
    r"""(run|sweep|report|each|other|a)\["server"\]|"server": (\{|self\.server\.facts)|"server" in (run|other)""":
        "what run.json says of the server",
    r"for side in ": "whose cores, again",
}  # fmt: skip


def decides(text: str) -> list[str]:
    """The lines of a source that decide by the name of a workload or a placement."""
    tree, lines, hits = ast.parse(text), text.splitlines(), set()

    def is_name(node, names):
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names

    for node in ast.walk(tree):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *(part for each in node.comparators for part in getattr(each, "elts", [each]))]
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, ast.Dict):
            parts = node.keys
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts if len({each.value for each in node.elts if is_name(each, PLACES)}) > 1 else []
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        hits |= {part.lineno for part in parts if is_name(part, PLACES)}
        if is_name(node, WORKLOADS):
            hits.add(node.lineno)
        if isinstance(node, ast.ImportFrom) and re.fullmatch(r"workloads\.(image|audio)\w*", node.module or ""):
            hits.add(node.lineno)
        if isinstance(node, ast.Attribute) and node.attr in ("IMAGE", "AUDIO"):
            hits.add(node.lineno)
    return [lines[number - 1].strip() for number in sorted(hits)]


def test_nothing_outside_workloads_decides_by_the_name_of_a_workload_or_a_placement():
    folders = ("transport", "arrivals", "loadgen", "crossover")
    found, sources = {}, [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(sources) > 80
    for path in sources:
        lines = [line for line in decides(path.read_text()) if not any(re.search(each, line) for each in LINES)]
        if lines:
            found[str(path.relative_to(ROOT))] = lines
    assert found.keys() == FILES.keys(), found


@pytest.mark.parametrize(
    "line",
    [
        'x = arm.placement == "client"',
        'x = "server" in names',
        'x = shares["image"]',
        'x = {"image": 0.4}',
        'x = {"client": blue, "server": red}',
        'PLACEMENTS = ("client", "server")',
        'x = Arm(workload, "client") if name in ("client",) else None',
        'match name:\n    case "server": pass',
        "from workloads.image import IMAGE",
        "x = workload is workloads.IMAGE",
        'x = figures["server"]',
    ],
)
def test_a_decision_by_name_would_be_found(line):
    assert [each for each in decides(line) if not any(re.search(allowed, each) for allowed in LINES)]
    assert decides('"""Of image and "client"."""\nx = outcome("image.jpg", client)') == []
