"""List what lies in a folder of runs: each with its machine, arms, validity and verdict, as its own files say.

Nothing is computed again and nothing written. A folder that is no run, or a damaged or half-written one, has one line
that says so: whatever lies there, the list is made.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from common import plain_file
from common.messages import one_line
from crossover.experiments.catalogue import find_kind
from crossover.measurement.run_directory import BENCH, read_locust_run, read_run, read_run_trials
from crossover.report import html, locust_run
from crossover.report.format import P95_NEEDS, P99_NEEDS, bracketed, label_arms
from loadgen.samples.sample import COMPLETED

DAMAGE = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TemplateError, TypeError, ValueError)
"""What reading a folder raises whose files hold anything at all."""
PAGES = (html.NAME, "before-after.html")
"""Pages that a run, or `crossover report`, leaves."""
LOCUST = "locust"
STAMP = re.compile(r"(\d{8}-\d{6})")
"""The time in UTC at the beginning of a run's name."""
ARRIVALS = "arrivals"
"""Where `crossover arrivals` leaves its plots, among the runs."""


@dataclass(frozen=True)
class Entry:
    """A folder in the list."""

    name: str
    kind: str = ""
    """As in run.json; LOCUST for a run of Locust's, empty for what is no run."""
    created: str = ""
    """When the run began: `2026-01-31 12:00 UTC`."""
    machine: str = ""
    """Its processor, cores and cards."""
    revision: str = ""
    """Of the code that measured; empty where that was no checkout."""
    arms: Sequence[str] = ()
    """As the list shows them."""
    validity: str = ""
    """`VALID`, or what is INVALID; empty where it is not known, or the run has not come to its end."""
    verdicts: Sequence[str] = ()
    """Lines that say what the run came to."""
    problem: str = ""
    """One line that says why there is no verdict, or why it is no run."""
    made: str = ""
    """The command that has made the folder, if it is no run and none is expected: what it holds is no fault."""
    pages: Sequence[str] = ()
    """Those of PAGES that can be shown."""

    @property
    def is_run(self) -> bool:
        """Whether it is a run that this version reads."""
        return bool(self.kind)

    @property
    def can_be_compared(self) -> bool:
        """Whether it can be picked for a comparison with another one."""
        return self.kind in (BENCH, LOCUST)


@dataclass
class Listing:
    """The folders of `reports`; a run whose files have not changed is not read again."""

    reports: Path
    _known: dict[str, tuple[tuple, Entry]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of all folders there, links included. Raises OSError if it cannot be listed."""
        with os.scandir(self.reports) as found:
            return sorted(each.name for each in found if each.is_dir(follow_symlinks=False) or each.is_symlink())

    def entries(self) -> list[Entry]:
        """Return all entries, the newest first and what is no run last. Raises OSError if it cannot be listed."""
        entries = [self.read(name) for name in self.names()]
        runs = [each for each in entries if each.is_run]
        newest_first = sorted(runs, key=lambda each: (each.created, each.name), reverse=True)
        return [*newest_first, *(each for each in entries if not each.is_run)]

    def read(self, name: str) -> Entry:
        """Return the entry of a folder; `name` is one of `names`."""
        directory = self.reports / name
        signature = sign(directory)
        known, entry = self._known.get(name, ((), None))
        if entry is None or known != signature:
            entry = read_entry(directory)
            self._known[name] = signature, entry
        return entry


def sign(directory: Path) -> tuple:
    """Return what changes when a run is measured or its report is made: times and sizes of its own files."""
    found = []
    for path in (directory, *sorted(directory.glob("*.json")), *(directory / page for page in PAGES)):
        try:
            facts = path.lstat()
        except OSError:
            continue
        found.append((path.name, facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def read_entry(directory: Path) -> Entry:
    """Return the entry of a folder, whatever is in it."""
    if directory.is_symlink():
        return Entry(directory.name, problem="a link, which is not followed")
    if not is_text(directory.name):
        return Entry(directory.name, problem="its name is not in UTF-8, so that no page can have it")
    pages = [page for page in PAGES if is_plain_file(directory / page)]
    if made := find_maker(directory, pages):
        return Entry(directory.name, made=made, pages=pages)
    try:
        check_size(directory / "run.json")
        if (described := read_locust_run(directory)) is not None:
            return read_locust_entry(directory, described)
        return read_experiment(directory, read_run(directory), pages)
    except DAMAGE as error:
        return Entry(directory.name, problem=explain(error, directory), pages=pages)


def find_maker(directory: Path, pages: Sequence[str]) -> str:
    """Return the command that left a folder which is no run: pages of `crossover report`, plots of `arrivals`.

    Empty for a run, and for what nobody has left here on purpose.
    """
    if os.path.lexists(directory / "run.json"):
        return ""
    if directory.name.endswith("-report") and (pages or any(directory.glob(f"*{Path(locust_run.SAMPLES).suffix}"))):
        return "crossover report"
    return "crossover arrivals" if directory.name == ARRIVALS and any(directory.glob("*.png")) else ""


def read_experiment(directory: Path, run: dict, pages: Sequence[str]) -> Entry:
    """Return the entry of an experiment's run from run.json, its result and its trials. Raises what is in DAMAGE."""
    kind = find_kind(run["kind"])
    entry = Entry(
        directory.name,
        kind=kind.name,
        created=f"{run['created'][:16].replace('T', ' ')} UTC",
        machine=describe_machine(run["machine"]),
        revision=run["machine"]["revision"] or "",
        pages=pages,
    )
    problem = "" if run["complete"] else "incomplete: it was interrupted, or is being measured"
    if not (directory / kind.file).exists():
        return replace(entry, problem=problem or f"it has no {kind.file}: `crossover report` makes one")
    try:
        result, trials = read_json(directory / kind.file), read_run_trials(directory, run)
        names = list(dict.fromkeys(trial.arm for trial in trials))
        invalid = [what for what, _ in kind.banners(result, trials)]
        if kind.name == BENCH:
            arms = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
            names = list(dict.fromkeys(arm["arm"] for arm in arms))
            labels = label_arms(names, workload=True)
            wrong = [labels[arm["arm"]] for arm in arms if not arm["valid"]]
            invalid = [f"INVALID: {', '.join(wrong)}"] if wrong else []
        entry = replace(entry, arms=list(label_arms(names, workload=True).values()), verdicts=kind.verdicts(result))
        # What has not come to its end is not VALID, whatever is there of it.
        return replace(entry, validity=" ".join(invalid) or ("" if problem else "VALID"), problem=problem)
    except DAMAGE as error:
        return replace(entry, problem=explain(error, directory))


def read_locust_entry(directory: Path, described: Mapping) -> Entry:
    """Return the entry of a run of Locust's; `described` is run.json. Raises what is in DAMAGE."""
    machine = described.get("machine", {})
    entry = Entry(
        directory.name,
        kind=LOCUST,
        created=find_time(directory),
        machine=describe_machine(machine) if machine else "",
        revision=machine.get("revision") or "",
        arms=[described["arm"]],
        pages=[html.NAME],
    )
    if not (directory / locust_run.SUMMARY).exists():
        return replace(entry, problem="no verdict: it is running, or its process was killed")
    try:
        summary = read_json(directory / locust_run.SUMMARY)
        rules = ", ".join(found["rule"] for found in summary["findings"])
        answers = summary["books"][COMPLETED]
        needed = {"p50": 0, "p95": P95_NEEDS, "p99": P99_NEEDS}
        latency = ", ".join(
            f"{name} {bracketed(summary['latency'][name], answers, needs=needs)}" for name, needs in needed.items()
        )
        rates = f"{locust_run.describe_rates(summary)}; {html.outcomes(summary['books'])}"
        verdict = f"{summary['arrivals']}: latency {latency} ms; {rates}"
        validity = f"INVALID: {rules}" if rules else "VALID"
        return replace(entry, validity=validity, verdicts=[verdict])
    except DAMAGE as error:
        return replace(entry, problem=explain(error, directory))


def describe_machine(machine: Mapping[str, Any]) -> str:
    """Return processor, cores and cards of a machine, from run.json."""
    cards = [card["name"] for card in machine.get("cards", [])]
    return ", ".join([machine["cpu"] or "unknown processor", f"{machine['cores']} cores", *cards])


def find_time(directory: Path) -> str:
    """Return when a run began, in UTC, from its name; else when its run.json was written."""
    if match := STAMP.match(directory.name):
        began = datetime.strptime(match[1], "%Y%m%d-%H%M%S")
    else:
        began = datetime.fromtimestamp((directory / "run.json").stat().st_mtime, timezone.utc)
    return f"{began:%Y-%m-%d %H:%M} UTC"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError if it is damaged, no file or too large, OSError."""
    check_size(path)
    return plain_file.read_json(path)


def check_size(path: Path) -> None:
    """Raise ValueError for a pipe, a device, or a file that no run writes as large; not if there is nothing."""
    try:
        facts = path.stat()
    except OSError:
        return
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > plain_file.LARGEST_WRITTEN:
        raise ValueError(f"{path} is no file that a run has written")


def is_plain_file(path: Path) -> bool:
    """Return whether it is a regular file, and no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_text(name: str) -> bool:
    """Return whether a file's name is in UTF-8: Python has half characters in place of bytes that are not."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def explain(error: BaseException, directory: Path) -> str:
    """Return an error as one line that begins with the folder's name, or with the file that is wrong."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or directory).name}: {error.strerror or error}"
    if not isinstance(error, ValueError):
        return f"a file of {directory.name} is damaged: it lacks or has wrong: {one_line(error)[:100]}"
    return one_line(error).replace(f"{directory}/", "").replace(str(directory), directory.name)
