"""What is wrong with a trace file, in words to be written behind its name."""


class Fault(ValueError):
    pass


class LineFault(Fault):
    def __init__(self, line: int, text: str):
        super().__init__(f", line {line}: {text}")


def shown(text: str) -> str:
    """A cell or a name as an error quotes it: on one line, no longer than 40 characters."""
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
