"""What is wrong with a trace file, in words to be written behind its name."""


class Fault(ValueError):
    pass


class LineFault(Fault):
    def __init__(self, line: int, text: str):
        super().__init__(f", line {line}: {text}")


def cut(text: str) -> str:
    """A cell or a name as an error shows it: on one line, its control characters escaped, at most 40 characters."""
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")[1:-1]


def quote(text: str) -> str:
    return f"'{cut(text)}'"


def pluralise(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
