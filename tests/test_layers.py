"""Imports go one way: down the layers of the packages and of crossover, and never in a circle.

Whatever a module imports counts: inside a function, too, and what only type checkers import.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "common": (),
    "preprocess": ("common",),
    "workloads": ("common", "preprocess"),
    "transport": ("common", "workloads"),
    "arrivals": (),
    "loadgen": ("common", "preprocess", "workloads", "transport", "arrivals"),
    "models": ("common",),
    "serving": ("common", "preprocess", "models"),
    "crossover": ("common", "preprocess", "workloads", "transport", "arrivals", "loadgen", "models", "serving"),
    "benchmarks": (
        *("common", "preprocess", "workloads", "transport", "arrivals", "loadgen", "models", "serving"),
        "crossover",
    ),
}
"""Package -> the others that it may import."""

LAYERS = (
    ("crossover.measurement",),
    ("crossover.analysis",),
    ("crossover.report",),
    ("crossover.parity",),
    ("crossover.experiments.burst_shapes", "crossover.experiments.options"),
    ("crossover.experiments.base_run",),
    ("crossover.experiments.experiment",),
    ("crossover.experiments.server_experiment",),
    ("crossover.experiments.*",),
    ("crossover.experiments.catalogue",),
    ("crossover.infer",),
    ("crossover.gpu_check",),
    ("crossover.ui",),
    ("crossover.cli",),
    ("crossover.__main__",),
)
"""Of crossover, from the ground up: a module may import those of lower layers, and of its own room.

`*` stands for the experiments side by side: each is a room of its own, so none imports another.
"""


def upward(graph, may_import, layers):
    """(module, what it imports although that is not below it), sorted."""
    found = []
    for module, targets in graph.items():
        for target in targets:
            mine, other = module.split(".")[0], target.split(".")[0]
            if mine != other:
                wrong = other not in may_import[mine]
            else:
                (level, room), (below, place) = layer(module, layers), layer(target, layers)
                wrong = below > level or (below == level and place != room)
            if wrong:
                found.append((module, target))
    return sorted(found)


def layer(module, layers):
    """(number of its layer, its room there); (-1, "") for what belongs to none and stands below all of them."""
    for number, rooms in enumerate(layers):
        for room in rooms:
            if module == room or module.startswith(f"{room}."):
                return number, room
    for number, rooms in enumerate(layers):
        for room in rooms:
            parent = room.removesuffix("*")
            if parent != room and module.startswith(parent):
                return number, parent + module.removeprefix(parent).split(".")[0]
    return -1, ""


def imports(root, packages):
    """Module -> the modules of these packages that it imports, anywhere in it.

    A package's `__init__`, which gathers what its modules offer, is a module like others: `a.b` that imports from `a`
    what `a` has from `a.b` is a circle.
    """
    paths = {name(root, path): path for package in packages for path in (root / package).rglob("*.py")}
    return {module: {each for each in imported(path, paths) if each != module} for module, path in paths.items()}


def name(root, path):
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported(path, known):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, path, known)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                if whole in known or source in known:
                    yield whole if whole in known else source


def absolute(node, path, known):
    """The module that `from ... import` names, without leading dots."""
    if not node.level:
        return node.module
    [module] = [name for name, each in known.items() if each == path]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def circle(graph):
    """The modules of one circle, in the order in which they import each other; none if there is none."""
    done, way = set(), []

    def visit(module):
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        way.append(module)
        found = next(filter(None, map(visit, sorted(graph[module]))), [])
        way.pop()
        done.add(module)
        return found

    return next(filter(None, map(visit, sorted(graph))), [])


def test_there_is_no_circle_of_imports():
    graph = imports(ROOT, MAY_IMPORT)
    assert len(graph) > 90
    assert circle(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "import a.one",
        "from a import one",
        "from a.one import thing",
        "from . import one",
        "from .one import thing",
        "def f():\n    from a.one import thing",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.one import thing",
    ],
)
def test_a_circle_would_be_found(tmp_path, back):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "one.py").write_text("import json\nfrom a.two import thing\n")
    (folder / "two.py").write_text("from a import three\n")
    (folder / "three.py").write_text("")
    assert circle(imports(tmp_path, ["a"])) == []
    (folder / "three.py").write_text(back)
    assert sorted(circle(imports(tmp_path, ["a"]))) == ["a.one", "a.three", "a.two"]


def test_no_import_goes_upwards():
    assert upward(imports(ROOT, MAY_IMPORT), MAY_IMPORT, LAYERS) == []


@pytest.mark.parametrize(
    ("module", "line", "target"),
    [
        ("workloads/payloads.py", "from loadgen.arm import Arm", "loadgen.arm"),
        ("transport/http.py", "from loadgen.samples.sample import Sample", "loadgen.samples.sample"),
        ("loadgen/arm.py", "def f():\n    from crossover.analysis import verdict", "crossover.analysis.verdict"),
        ("loadgen/arm.py", "import loadgen.report, crossover.infer", "crossover.infer"),
        ("crossover/infer.py", "from benchmarks import tables", "benchmarks.tables"),
        ("serving/state.py", "from loadgen import arm", "loadgen.arm"),
        (
            "crossover/measurement/trial.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from crossover.report.html import Page",
            "crossover.report.html",
        ),
        ("crossover/report/html.py", "from ..experiments import experiment", "crossover.experiments.experiment"),
        (
            "crossover/report/html.py",
            "from crossover.experiments.soak.run import Soak",
            "crossover.experiments.soak.run",
        ),
        (
            "crossover/experiments/experiment.py",
            "from crossover.experiments.server_experiment import setting",
            "crossover.experiments.server_experiment",
        ),
        (
            "crossover/experiments/server_experiment.py",
            "from crossover.experiments.sweep import run",
            "crossover.experiments.sweep.run",
        ),
        (
            "crossover/experiments/soak/run.py",
            "from crossover.experiments.sweep.run import main",
            "crossover.experiments.sweep.run",
        ),
        (
            "crossover/experiments/sweep/run.py",
            "from crossover.experiments.catalogue import EXPERIMENTS",
            "crossover.experiments.catalogue",
        ),
    ],
)
def test_an_import_upwards_or_from_one_experiment_to_another_would_be_found(tmp_path, module, line, target):
    for each in (module, f"{target.replace('.', '/')}.py", "loadgen/clock.py"):
        path = tmp_path / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert upward(imports(tmp_path, MAY_IMPORT), MAY_IMPORT, LAYERS) == []
    (tmp_path / module).write_text(line)
    name = module.removesuffix(".py").replace("/", ".")
    assert upward(imports(tmp_path, MAY_IMPORT), MAY_IMPORT, LAYERS) == [(name, target)]


def listed(key):
    """A list of strings in pyproject.toml, which Python reads as it stands there."""
    return ast.literal_eval(re.search(rf"^{key} = (\[.*?\])", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1])


def test_every_package_has_its_place_here_is_installed_and_type_checked():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders == set(MAY_IMPORT) == set(listed("packages"))
    assert folders == set(listed("files"))


def test_only_the_command_line_is_imported_by_its_name():
    """Such a name is no import, and may point upwards."""
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    callers = {str(path.relative_to(ROOT)) for path in files if "run_module(" in path.read_text()}
    assert callers == {"loadgen/command.py", "crossover/__main__.py"}


GREENLETS = {"gevent", "geventhttpclient", "locust"}
WITHOUT_GREENLETS = ("common", "preprocess", "workloads", "transport", "arrivals", "loadgen")
"""What a client is made of, in Locust's process or in one of its own."""
MAY_IMPORT_GREENLETS = ("loadgen.locust_plugin", "common.real_threads")


def outside_imports(path):
    """The packages, of whatever origin, that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def who_imports_greenlets(root):
    paths = {name(root, path): path for folder in WITHOUT_GREENLETS for path in (root / folder).rglob("*.py")}
    return [
        module
        for module, path in sorted(paths.items())
        if not module.startswith(MAY_IMPORT_GREENLETS) and GREENLETS & set(outside_imports(path))
    ]


def test_of_what_a_client_is_made_of_only_the_locust_plugin_knows_gevent():
    assert who_imports_greenlets(ROOT) == []


@pytest.mark.parametrize("line", ["import gevent.hub", "def f():\n    from locust import events", "import locust as x"])
def test_gevent_elsewhere_would_be_found(tmp_path, line):
    allowed = ("loadgen/locust_plugin/user.py", "common/real_threads.py")
    for each in ("loadgen/client/loop.py", "transport/http.py", *allowed):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(line)
    assert who_imports_greenlets(tmp_path) == ["loadgen.client.loop", "transport.http"]


def test_a_client_outside_locust_has_no_gevent_in_its_process():
    """Also not through a library: tritonclient's HTTP client would import it."""
    folders = ("arrivals", "transport", "loadgen/client", "loadgen/samples")
    modules = [name(ROOT, path) for folder in folders for path in (ROOT / folder).rglob("*.py")]
    script = f"import sys, importlib; [importlib.import_module(each) for each in {['loadgen.arm', *modules]}]; "
    script += f"print(*sorted({GREENLETS} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


FLOORS = (
    {"interrupts"},
    {"clock", "command"},
    {"samples"},
    {"arm"},
    {"client"},
    {"metrics"},
    {"locust_plugin"},
)
"""Of loadgen: what stands on one floor knows nothing of what stands beside or above it."""


def climbs(graph):
    """The imports within loadgen that do not lead to a lower floor, nor stay in one folder."""
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    pairs = ((module, other) for module in graph for other in graph[module])
    for module, other in pairs:
        here, there = (each.partition("loadgen.")[2].partition(".")[0] for each in (module, other))
        if here in floor and there in floor and here != there and floor[there] >= floor[here]:
            yield module, other


def test_within_loadgen_every_import_leads_downstairs():
    graph = imports(ROOT, ["loadgen"])
    assert {part for parts in FLOORS for part in parts} <= {module.split(".")[1] for module in graph if "." in module}
    assert list(climbs(graph)) == []


def test_an_import_that_climbs_would_be_found():
    graph = {
        "loadgen.samples.journal": {"loadgen.client.loop", "loadgen.samples.sample", "transport.message"},
        "loadgen.samples.sample": {"transport.message"},
        "loadgen.clock": {"loadgen.samples.sample", "common.real_threads"},
    }
    assert sorted(climbs(graph)) == [
        ("loadgen.clock", "loadgen.samples.sample"),
        ("loadgen.samples.journal", "loadgen.client.loop"),
    ]


MOST_LINES = 3400
"""Of loadgen, without docstrings and blank lines: what grows above that holds something that does not load."""


def count_lines(text):
    """The lines of a source that are neither blank nor of a docstring, also of one below a constant or a field."""
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings |= set(range(node.lineno, node.end_lineno + 1))
    return sum(bool(line.strip()) for i, line in enumerate(text.splitlines(), 1) if i not in docstrings)


def test_the_load_generator_stays_thin():
    assert sum(count_lines(path.read_text()) for path in (ROOT / "loadgen").rglob("*.py")) <= MOST_LINES


def test_lines_are_counted_without_docstrings_and_blank_lines():
    head = '"""What\n\nit is."""\n\nA = """a\nb"""\n"""Of\nA."""\n\n\n'
    assert count_lines(f'{head}def f():  # why\n    """Do."""\n    # how\n    return A\n') == 5
