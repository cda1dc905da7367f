"""What tests of a pipeline of one's own share: the example of the docs, the first line of a file, and its answers."""

import re
import subprocess
import sys

from tests.conftest import ROOT

DOCS = (ROOT / "docs" / "own-pipeline.md").read_text()
EXAMPLE, COMMANDS = (re.search(rf"```{kind}\n(.*?)```", DOCS, re.S)[1] for kind in ("python", "sh"))
HEAD = "from crossover import Placement, Workload, files\n"
"""The first line of such a file."""


def infer(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "crossover", "infer", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
