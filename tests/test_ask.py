"""The friendlier one-liner: `python -m loadgen.ask FILE...`."""

import subprocess
import sys

from tests.conftest import ROOT
from workloads.audio import CLIPS

PHOTOGRAPH, SOUND = ROOT / "serving" / "smoke_test.jpg", CLIPS / "light-16k-mono.wav"


def ask(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "loadgen.ask", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_it_names_classes_and_prints_a_transcript(server):
    done = ask(PHOTOGRAPH, SOUND, "--url", server.url, "--classes", 2)
    assert done.returncode == 0, done.stderr
    photograph, sound = done.stdout.splitlines()
    assert photograph.count("stand-in ") == 2
    assert sound.startswith(f"{SOUND}: ")
    assert len(sound) > len(f"{SOUND}: ''")


def test_one_bad_file_is_one_line_and_the_others_are_answered(server, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    done = ask(tmp_path / "text.jpg", tmp_path / "none.wav", ROOT / "README.md", PHOTOGRAPH, "--url", server.url)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    text, none, readme = done.stderr.splitlines()
    assert "input 'encoded'" in text
    assert "No such file" in none
    assert "its name ends in none of" in readme


def test_without_a_server_it_says_so(server):
    done = ask(PHOTOGRAPH, "--url", "localhost:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_names_one_class_at_least():
    done = ask(PHOTOGRAPH, "--url", "localhost:9", "--classes", 0)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--classes must be at least 1, not 0\n")
