"""Options that commands share: which server is asked where none is named."""

from argparse import Namespace

import click
import pytest

from common import address
from crossover.cli import main, options
from serving import ROOT, __main__, state


def test_the_server_that_up_started_is_asked_unless_another_is_named(server, tmp_path):
    def reach(url, directory):
        return options.reach_server(Namespace(url=url, state=directory, cacert="", insecure=False))

    assert reach("", server.state) == f"http://{state.read(server.state)['address']}"
    assert reach("http://localhost:9", server.state) == "http://localhost:9"
    assert reach("", tmp_path) == options.DEFAULT_URL == "http://localhost:8000"


@pytest.mark.parametrize("name", ["up", "down", "status", "logs", "compare", "sweep", "soak", "infer"])
def test_the_servers_record_is_the_installations_wherever_a_command_is_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = main.crossover.get_command(click.Context(main.crossover), name)
    [own] = [each for each in command.params if each.name == "state"]
    assert own.default == str(ROOT / ".run")
    assert address.STATE == __main__.parse(["run"]).state == ROOT / ".run"
    assert "[default: (.run of the installation)]" in " ".join(command.get_help(click.Context(command)).split())
