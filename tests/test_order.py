"""The order of files in `make test`: none is lost, none that takes long comes late, and both kinds run side by side."""

from itertools import pairwise

from tests.conftest import ROOT
from tests.order import LONGEST, order_files

FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_file_that_is_said_to_take_long_is_there():
    assert set(LONGEST) <= {name.rpartition("/")[2].removesuffix(".py") for name in FILES}


def test_the_longest_begin_first_with_quick_ones_between_them_and_no_file_is_lost():
    ordered = order_files(FILES)
    assert sorted(ordered) == FILES
    long = [number for number, name in enumerate(ordered) if name.rpartition("/")[2].removesuffix(".py") in LONGEST]
    assert long[0] == 0 and len(ordered) > max(long) + 1
    gaps = {after - before for before, after in pairwise(long)}
    assert max(gaps) - min(gaps) <= 1 < min(gaps)
    assert [ordered[number].rpartition("/")[2].removesuffix(".py") for number in long] == list(LONGEST)
