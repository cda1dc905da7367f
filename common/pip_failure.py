"""Why pip failed, in one line, from all that it printed."""

OFFLINE = "the package index does not answer"


def explain(output: str) -> str:
    """Return pip's last error in one line; where no index could be reached, that instead of a version not found."""
    if is_offline(output):
        return OFFLINE
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    return errors[-1] if errors else "no reason given"


def is_offline(output: str) -> bool:
    """Return whether pip found no version of a package because its connections broke."""
    return "connection broken by" in output and "(from versions: none)" in output
