"""The process of one check: `python -m crossover.gpu_check.child NAME MODULE:FUNCTION ARGUMENTS DESCRIPTOR SECONDS`.

Findings go to the descriptor as lines of JSON, each as soon as it is there. What libraries print goes elsewhere.
"""

import dataclasses
import faulthandler
import json
import os
import signal
import sys
import traceback
from importlib import import_module

from common.messages import one_line
from crossover.gpu_check.finding import REPORT, Finding, problem


def main(name: str, place: str, arguments: str, descriptor: str, seconds: str) -> int:
    """Run the check and return 0, also where it raises: that is a finding.

    The process ends itself after `seconds`, should nobody be left to kill it.
    """
    faulthandler.enable()
    signal.alarm(int(seconds))
    module, _, function = place.partition(":")
    with os.fdopen(int(descriptor), "w") as findings:
        try:
            for finding in getattr(import_module(module), function)(**json.loads(arguments)):
                print(json.dumps(dataclasses.asdict(finding)), file=findings, flush=True)
        except Exception as error:  # whatever a library does on a machine nobody has seen
            traceback.print_exc()
            finding = describe(name, error)
            print(json.dumps(dataclasses.asdict(finding)), file=findings, flush=True)
    # Without the interpreter's clean-up: drivers and libraries have crashed in it after all was well.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def describe(name: str, error: Exception) -> Finding:
    """Return the finding of a check that raised.

    Its figures have the traceback. A package that is missing, and too little memory, have remedies of their own.
    """
    text = f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")
    figures = {"traceback": traceback.format_exc()}
    if isinstance(error, ModuleNotFoundError):
        return problem(name, f"{error.name} is missing from this environment", "run `make env`", **figures)
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return problem(name, text, "free memory, of the machine or of the card, and try again", **figures)
    return problem(name, text, REPORT, **figures)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
