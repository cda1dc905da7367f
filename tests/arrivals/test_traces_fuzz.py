"""500 seeded random tables, whole and damaged: arrivals as a naive reader finds them, or one line."""

import random
import re
from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from arrivals import traces

OTHERS = ["", "id", "model", "size", "end_time", "x y", "note"]
NAMES = ["timestamp", "Arrival_Time", "start time", "TS", "time"]
FORMS = ["seconds", "s", "ms", "us", "iso", "iso zone"]
JUNK = " ,;\t\"'\n\r#-.eE0x\u00b5\0:Z+"


class Table:
    """A table of made-up arrivals: its text, and what a reader must know to find them in it."""

    def __init__(self, rng: random.Random):
        self.separator, self.form = rng.choice([",", ";", "\t"]), rng.choice(FORMS)
        self.width = rng.randint(1, 5)
        self.place, self.end = rng.randrange(self.width), rng.choice(["\n", "\r\n"])
        names = rng.choices(OTHERS, k=self.width)
        names[self.place] = rng.choice(NAMES)
        rows, at = [self.separator.join(names)], Fraction(rng.randint(0, 10**6), 10**6)
        for _ in range(rng.randint(1, 30)):
            cells = [rng.choice(["1", "0.5", "gpt-4", "", "a b", "2023-01-01"]) for _ in range(self.width)]
            cells[self.place] = written(at, self.form)
            rows.append(self.separator.join(cells))
            rows += rng.choices(["", "# between", "   "], k=rng.choice([0, 0, 0, 1]))
            at += Fraction(rng.randint(0, 3 * 10**6), 10**6)
        head = rng.choice(["", "\ufeff"]) + rng.choice(["", f"# made up{self.end}"]) + rows[0] + self.end
        self.begin, self.text = len(head), head + self.end.join(rows[1:]) + self.end

    def damaged(self, rng: random.Random) -> str:
        """The same with one or two characters changed, lost or added behind the header, or cut short."""
        text = self.text
        for _ in range(rng.randint(1, 2)):
            at = rng.randint(self.begin, max(self.begin, len(text)))
            text = rng.choice(
                [
                    text[:at] + rng.choice(JUNK) + text[at:],
                    text[:at] + text[at + 1 :],
                    text[:at] + rng.choice(JUNK) + text[at + 1 :],
                    text[:at],
                ]
            )
        return text

    def read(self, text: str) -> list[float]:
        """A naive reading. Raises whatever it likes for what it cannot read."""
        lines = [line for line in re.split("\r\n|\r|\n", text.removeprefix("\ufeff")) if line[:1] != "#"]
        lines = [line for line in lines if line.strip(" \t,;")][1:]
        if self.width == 1:  # a comma, what separates cells where there is one column, may end a line
            cells = [line.removesuffix(",").strip() for line in lines]
        else:
            cells = [line.split(self.separator)[self.place].strip() for line in lines]
        if ":" in cells[0]:
            times = [moment(cell) for cell in cells]
        else:
            times = [Fraction(cell) for cell in cells]
            if times[0] >= 10**8:
                times = [time / next(10**n for n in (0, 3, 6, 9) if times[0] < 10 ** (11 + n)) for time in times]
        epoch = ":" in cells[0] or times[0] >= 10**8
        return [float(time - times[0] * epoch) for time in times]


def moment(cell: str) -> Fraction:
    """Since 1970. Python 3.10's datetime reads neither Z nor any number of digits: both are split off before."""
    whole, digits, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?( ?Z|[ ]?[+-]\d\d:?\d\d)?", cell, re.ASCII).groups()
    ahead = (zone or "").replace(":", "").strip()
    offset = (
        timedelta(hours=int(ahead[1:3]), minutes=int(ahead[3:5])) * (-1 if ahead[0] == "-" else 1)
        if ahead[1:]
        else timedelta()
    )
    since = datetime.fromisoformat(whole) - offset - datetime(1970, 1, 1)
    return since // timedelta(seconds=1) + Fraction(int(digits or 0), 10 ** len(digits or ""))


def written(at: Fraction, form: str) -> str:
    if form.startswith("iso"):
        micros = datetime(2024, 2, 28, 23, 59, 40) + timedelta(microseconds=int(at * 10**6))
        return micros.strftime("%Y-%m-%d %H:%M:%S.%f") + ("+00:00" if "zone" in form else "")
    if form == "seconds":
        return f"{float(at):.6f}"
    places = {"s": 0, "ms": 3, "us": 6}[form]
    n = (1_700_000_000 + at) * 10**places
    return f"{n.numerator // n.denominator}" if form == "us" else f"{int(n)}.{int(n * 10**6) % 10**6:06d}"


@pytest.mark.parametrize("block", range(10))
def test_a_random_table_is_read_as_it_is_written_or_refused_in_one_line(block, tmp_path):
    read = 0
    for seed in range(50 * block, 50 * block + 50):
        rng = random.Random(seed)
        table = Table(rng)
        path = tmp_path / f"{seed}.csv"
        path.write_bytes(table.text.encode())
        assert traces.read(path).values.tolist() == table.read(table.text), seed
        for _ in range(5):
            text = table.damaged(rng)
            path.write_bytes(text.encode())
            try:
                values = traces.read(path).values.tolist()
            except ValueError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 400, seed
            else:
                assert values == table.read(text), (seed, text)
                read += 1
    assert read > 25  # most damage lies in other columns or makes another number
