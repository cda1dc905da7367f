"""No module imports, however indirectly, one that imports it; what only type checkers import counts, too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "preprocess", "workloads", "serving", "loadgen", "crossover", "benchmarks")


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
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known or node.module in known:
                    yield whole if whole in known else node.module


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
    graph = imports(ROOT, PACKAGES)
    assert len(graph) > 90
    assert circle(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "import a.one",
        "from a import one",
        "from a.one import thing",
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


GREENLETS = {"gevent", "geventhttpclient", "locust"}
MAY_IMPORT_GREENLETS = ("loadgen.locust_plugin", "loadgen.real_threads")


def outside_imports(path):
    """The packages, of whatever origin, that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def who_imports_greenlets(root):
    paths = {name(root, path): path for path in (root / "loadgen").rglob("*.py")}
    return [
        module
        for module, path in sorted(paths.items())
        if not module.startswith(MAY_IMPORT_GREENLETS) and GREENLETS & set(outside_imports(path))
    ]


def test_of_loadgen_only_the_locust_plugin_knows_gevent():
    assert who_imports_greenlets(ROOT) == []


@pytest.mark.parametrize("line", ["import gevent.hub", "def f():\n    from locust import events", "import locust as x"])
def test_gevent_elsewhere_in_loadgen_would_be_found(tmp_path, line):
    folder = tmp_path / "loadgen" / "client"
    folder.mkdir(parents=True)
    (folder / "loop.py").write_text(line)
    (tmp_path / "loadgen" / "real_threads.py").write_text(line)
    assert who_imports_greenlets(tmp_path) == ["loadgen.client.loop"]


def test_a_client_outside_locust_has_no_gevent_in_its_process():
    """Also not through a library: tritonclient's HTTP client would import it."""
    folders = ("arrivals", "client", "transport", "samples")
    modules = [name(ROOT, path) for folder in folders for path in (ROOT / "loadgen" / folder).rglob("*.py")]
    script = f"import sys, importlib; [importlib.import_module(each) for each in {['loadgen.arm', *modules]}]; "
    script += f"print(*sorted({GREENLETS} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


FLOORS = (
    {"interrupts", "real_threads"},
    {"clock", "command"},
    {"arrivals", "transport"},
    {"samples"},
    {"arm"},
    {"client"},
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
        "loadgen.transport.http": {"loadgen.samples.sample", "loadgen.transport.message"},
        "loadgen.samples.sample": {"loadgen.transport.message"},
        "loadgen.arrivals": {"loadgen.transport.message", "loadgen.clock"},
    }
    assert sorted(climbs(graph)) == [
        ("loadgen.arrivals", "loadgen.transport.message"),
        ("loadgen.transport.http", "loadgen.samples.sample"),
    ]
