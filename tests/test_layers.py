"""No module imports, however indirectly, one that imports it; what only type checkers import counts, too."""

import ast
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
