"""What tests of traces are given: a file of these lines."""

import pytest


@pytest.fixture
def trace(tmp_path):
    """Writes a trace file of these lines; gives the start of its specification."""

    def write(*lines, end: str = "\n") -> str:
        (tmp_path / "trace.csv").write_bytes((end.join(map(str, lines)) + end).encode())
        return f"trace:file={tmp_path / 'trace.csv'}"

    return write
