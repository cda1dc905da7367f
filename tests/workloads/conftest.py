"""A pipeline of one's own, as docs/own-pipeline.md shows it, and the server that it is tried on."""

import pytest

from tests.workloads.own_pipeline import EXAMPLE
from workloads import image


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The example of docs/own-pipeline.md, with photographs beside it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "photos").mkdir()
    for payload in image.photographs((320, 640)):
        (folder / "photos" / payload.name).write_bytes(payload.encoded)
    (folder / "my_pipeline.py").write_text(EXAMPLE)
    return folder / "my_pipeline.py"


@pytest.fixture(scope="module")
def at(server):
    return ["--url", server.url, "--state", server.state]
