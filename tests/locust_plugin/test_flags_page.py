"""docs/load-generator.md holds what the code has: every flag with its default, every arrival, what percentiles take."""

import json
import os
import re
import subprocess
import sys
from functools import cache

import pytest

from arrivals import EXAMPLES, parse
from loadgen.samples.early_stopping import PERCENTILES, required_requests
from tests import forks
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "load-generator.md").read_text()
PROGRAM = """
import sys, json
sys.argv = ["locust", *{arguments}]
import loadgen.{file}
from locust import argument_parser as locusts
bare = locusts.get_empty_argument_parser()
locusts.setup_parser_arguments(bare)
known = {{flag for action in bare._actions for flag in action.option_strings}}
flags = {{action.option_strings[0]: action for action in locusts.get_parser()._actions if action.option_strings}}
print(json.dumps({{flag: [each.default, each.choices] for flag, each in flags.items() if flag not in known}}))
"""
FILES = {"image": [], "audio": [], "own": ["--workload", "audio"]}


@cache
def declared(file: str) -> dict[str, list]:
    """Flag -> [default, choices], as Locust's parser has them after it has read the file."""
    program = PROGRAM.format(file=file, arguments=FILES[file])
    done = forks.run("locust", script=program)
    done.check_returncode()
    return json.loads(done.stdout)


def flag_rows(page: str) -> dict[str, list[str]]:
    """Flag -> [default, what it says], from the table of flags."""
    table = page.partition("## Flags")[2].partition("## Arrivals")[0]
    rows = re.findall(r"^\| `(--[a-z-]+)` \| (.*?) ?\| (.*) \|$", table, re.M)
    return {flag: [default.strip("`"), text] for flag, default, text in rows}


def faults(page: str, flags: dict[str, list], workload: str) -> list[str]:
    """What is wrong with the page's table of flags, for one locustfile."""
    rows, found = flag_rows(page), []
    for flag, (default, choices) in flags.items():
        if flag in ("--flags", "--workload"):
            continue
        if flag not in rows:
            found.append(f"{flag} has no line")
            continue
        shown, text = rows[flag]
        written = "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        if shown != written and (workload == "image" or f"`{written}`" not in text):
            found.append(f"{flag} says {shown!r} and is {written!r}")
        found += [f"{flag} lacks {choice}" for choice in choices or () if f"`{choice}`" not in text]
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_flag_has_a_line_with_its_default_and_its_values(file):
    flags = declared(file)
    assert len(flags) > 10
    assert faults(PAGE, flags, file) == []


def test_no_flag_stands_on_the_page_that_is_none():
    assert set(flag_rows(PAGE)) == {flag for file in FILES for flag in declared(file)} - {"--flags"}
    assert "`locust -f loadgen/image.py --flags`" in PAGE


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("| `--seed` | `1` |", "| `--seed` | `2` |", "--seed says '2' and is '1'"),
        ("| `--timeout` | `30` |", "", "--timeout has no line"),
        ("`threads` or `async`", "`async`", "--mode lacks threads"),
    ],
)
def test_a_line_that_is_missing_or_wrong_would_be_found(old, new, says):
    assert old in PAGE
    assert faults(PAGE.replace(old, new), declared("image"), "image") == [says]


def test_every_kind_of_arrivals_and_what_each_percentile_takes_stands_on_the_page():
    kinds = PAGE + "".join(page.read_text() for page in (ROOT / "docs").glob("arrivals.md"))  # where it has its own
    assert re.findall(r"^\| `(\w+:[^`]*)` \|", kinds, re.M) == list(EXAMPLES.values())
    first, *others = (f"{q:g}" for q in PERCENTILES)
    takes = {f"p{q:g}": required_requests(q) for q in PERCENTILES}
    assert f"p{first} takes {takes[f'p{first}']} answers" in PAGE
    assert all(re.search(rf"p{name}\s{takes[f'p{name}']}\b", PAGE) for name in others)


COMMANDS = [line.partition("#")[0].split()[1:] for line in PAGE.splitlines() if line.startswith("locust -f ")]


def test_every_command_on_the_page_is_one_that_locust_takes():
    assert len(COMMANDS) > 4
    for file in FILES:
        lines = [[*line, "--headless"] for line in COMMANDS if line[1] == f"loadgen/{file}.py"]
        program = PROGRAM.format(file=file, arguments=FILES[file])
        program += f"for line in {lines}: locusts.get_parser().parse_args(line)"
        done = forks.run("locust", script=program)
        assert (done.returncode, done.stderr) == (0, "")
    for line in COMMANDS:
        if "--arrivals" in line:
            parse(line[line.index("--arrivals") + 1])


def test_a_reader_that_has_read_enough_gets_no_traceback():
    """As `--flags | head -1` does: the reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "locust", "-f", "loadgen/image.py", "--flags"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT, text=True, timeout=300)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
