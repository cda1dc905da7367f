"""Options that commands share: which server is asked where none is named."""

from crossover.cli import options
from serving import state


def test_the_server_that_up_started_is_asked_unless_another_is_named(server, tmp_path):
    assert options.find_url("", server.state) == f"http://{state.read(server.state)['address']}"
    assert options.find_url("http://triton:8000", server.state) == "http://triton:8000"
    assert options.find_url("", tmp_path) == options.DEFAULT_URL == "http://localhost:8000"
