"""What tests of a pipeline of one's own share: the example of the docs, the first line of a file, and its answers."""

import re
import subprocess

from tests import forks
from tests.conftest import ROOT

DOCS = (ROOT / "docs" / "own-pipeline.md").read_text()
EXAMPLE, COMMANDS = (re.search(rf"```{kind}\n(.*?)```", DOCS, re.S)[1] for kind in ("python", "sh"))
HEAD = "from crossover import Placement, Workload, files\n"
"""The first line of such a file."""


def infer(*arguments) -> subprocess.CompletedProcess:
    return forks.run("crossover", "infer", *arguments)
