"""README and docs: links lead somewhere, the picture and the table are what today's code makes, and README is short."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from arrivals import EXAMPLES
from benchmarks import picture
from crossover.analysis import latency_breakdown
from crossover.experiments.compare.tables import comparison_table
from tests.conftest import ROOT
from tests.docs.pages import PAGES, remove_blocks

README = PAGES["README.md"]
FOLDERS = "loadgen|crossover|workloads|preprocess|models|serving|backends|tests|ensembles|model_repository|benchmarks"
FOLDERS += "|examples|deploy|model_variants"


def list_anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", remove_blocks(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", remove_blocks(PAGES[page])):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if anchor:
            assert anchor in list_anchors(linked.read_text()), target


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_exists(page):
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", remove_blocks(PAGES[page])):
        assert (ROOT / path).exists() or path.startswith("model_repository/"), path


def test_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\(([^)#\s]+)", README))
    assert {page for page in PAGES if re.fullmatch(r"docs/[^/]+\.md", page)} <= linked


def test_readme_can_be_read_to_the_end():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_nobody_is_a_he(page):
    assert not re.findall(r"\b(?:[Hh]e|[Hh]is|[Hh]im|[Ss]he|[Hh]er)\b", PAGES[page])


# The picture and the table ----------------------------------------------------------------------------------------

FIGURES = json.loads(picture.FIGURES.read_text())


def test_the_picture_is_what_the_code_draws_today(tmp_path):
    picture.draw(FIGURES, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(picture.PICTURE) as shown:
        assert drawn.size == shown.size
        apart = np.abs(np.asarray(drawn, int) - np.asarray(shown, int))
    assert apart.mean() < 0.5, "run `python -m benchmarks.picture`, look at docs/compare.png, and commit it"


def test_the_table_is_what_the_code_prints_today(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    first = next(iter(FIGURES.values()))
    assert comparison_table(first["comparisons"]) in README
    assert first["sentence"] in " ".join(README.split())


def test_every_row_and_column_of_the_table_is_explained():
    """In the tables that follow it; a percentile and a mean need no words."""
    explained = " ".join(re.findall(r"^\| (`[^|]*) \|", README, re.M))
    for name in ("client", "server", "server/client", "verdict"):
        assert f"`{name}`" in explained
    for row in next(iter(FIGURES.values()))["comparisons"]:
        assert f"`{row['metric']}`" in explained or re.fullmatch(r"p\d+|mean", row["metric"])


def test_the_stages_of_which_a_page_tells_have_the_names_of_the_table():
    text = (ROOT / "docs" / "own-pipeline.md").read_text()
    assert f"`{latency_breakdown.NETWORK}`" in text and f"`{latency_breakdown.UNEXPLAINED}`" in text


def test_figures_of_a_run_are_taken_over_as_they_are():
    workload = {**FIGURES["image"], "rounds": 3, "answer": {}}
    assert picture.extract_figures({"workloads": {"image": workload}, "argv": []}) == {"image": FIGURES["image"]}


def test_a_directory_without_a_run_is_one_line_and_exit_code_two(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["picture", str(tmp_path)])
    assert picture.main() == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_kind_of_arrivals_stands_on_its_page():
    assert re.findall(r"^\| `(\w+:[^`]*)` \|", PAGES["docs/arrivals.md"], re.M) == list(EXAMPLES.values())
