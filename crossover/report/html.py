"""The report's page: one HTML file that needs nothing beside it and says first what was found.

The page takes sections and does not know which experiments made them.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common import atomic_write
from common.figures import significant
from crossover.measurement.trial import Trial
from crossover.report.format import P99_NEEDS, listed, number, stage_time, tied
from crossover.report.provenance import describe_load, list_servers
from loadgen.samples.sample import STATUSES

NAME = "report.html"
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Section:
    """A part of the page, made by an experiment."""

    body: Markup
    title: str = ""
    """Its heading; empty where the body has headings of its own."""
    sentences: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Heading -> what was found; stands at the top of the page, or under the title if `source` is set."""
    source: Mapping | None = None
    """`provenance.source`, if another run measured it than the one that the page is about."""


@dataclass(frozen=True)
class Page:
    """What a report shows: sections between a question with its warnings, and the trials with their provenance."""

    run: Mapping
    """The content of run.json."""
    question: str
    subject: str
    """What the browser's title says it is about."""
    banners: Sequence[tuple[str, str]]
    """(what is wrong, what that means), shown loudly above everything."""
    sections: Sequence[Section]
    trials: Sequence[tuple[Trial, str]]
    """Each trial with its arm, or with the folder that it lies in."""
    by_folder: bool
    """Whether it is the folder; the table is folded away then, and has the offered rate of each."""
    pooled: Mapping[str, Collection[str]]
    """Arm -> the rules that its single trials may break, as its rounds together are judged by them."""
    note: Markup
    """What one must know to read the table of trials."""
    schedules: Mapping[str, Sequence[Trial]]
    """Workload -> one trial for each schedule, whose seeds the provenance lists."""


def write(directory: Path, page: Page) -> Path:
    """Write the page as NAME, whole or not at all, and return its path. Raises OSError."""
    path = directory / NAME
    atomic_write.write(path, make(page))
    return path


def make(page: Page, home: str = "") -> Markup:
    """Return the page; `home` is the address of the list of runs, for a link to it at the top."""
    values = {name: getattr(page, name) for name in page.__dataclass_fields__}
    values |= {"servers": list_servers(page.run), "offered": describe_load(page.run), "home": home}
    return render(TEMPLATES / "page.html.j2", **values)


def render(template: Path, **values: object) -> Markup:
    """Render a template, which may include those of the report: macros.html.j2 among them.

    Texts are escaped, and half characters written as their codes. Raises jinja2.UndefinedError if it uses a value that
    is not given.
    """
    page = make_environment(template.parent).get_template(template.name).render(values)
    return Markup(page.encode(errors="backslashreplace").decode())


@cache
def make_environment(folder: Path) -> Environment:
    """Make what the templates of a folder are rendered with; it keeps them compiled, which takes longer than a page."""
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "kb": lambda size: number(None if size is None else size / 1e3)}
    environment.filters |= {"significant": significant, "listed": listed, "outcomes": outcomes, "tied": tied}
    environment.filters |= {"stage_time": stage_time, "quoted": shlex.join}
    environment.globals["P99_NEEDS"] = P99_NEEDS
    return environment


def outcomes(counts: Mapping[str, int]) -> str:
    """Write the scheduled arrivals by how they ended: `66 = 65 completed + 1 failed`; zeros are left out."""
    ends = " + ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    return f"{counts['scheduled']} = {ends or 0}"
