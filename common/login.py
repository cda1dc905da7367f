"""The login that a server asks for, from the environment: there neither a process list nor a shell's history shows it.

CROSSOVER_TOKEN becomes `Authorization: Bearer ...` (RFC 6750), CROSSOVER_USERNAME with CROSSOVER_PASSWORD the basic
scheme's header (RFC 7617). No message of this module repeats a value.
"""

import base64
import os
import re
from collections.abc import Mapping

TOKEN, USER, PASSWORD = "CROSSOVER_TOKEN", "CROSSOVER_USERNAME", "CROSSOVER_PASSWORD"
NAMES = (TOKEN, USER, PASSWORD)
CHARACTERS = re.compile(r"[\x21-\x7e]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_authorization(environment: Mapping[str, str]) -> str:
    """Return the value of the Authorization header that the environment asks for; empty without a login.

    An empty variable is none. Raises ValueError, in one line without a secret, for a login that no header can carry,
    for half of one and for two.
    """
    token, user, password = (environment.get(name, "") for name in NAMES)
    if token and (user or password):
        raise ValueError(f"{TOKEN} and {USER} or {PASSWORD} are both set; a request carries one login: unset the other")
    if token:
        if not CHARACTERS.fullmatch(token):
            raise ValueError(f"{TOKEN} holds a space, a line break or what is no ASCII: is it the token alone?")
        return f"Bearer {token}"
    if not user and not password:
        return ""
    if not user:
        raise ValueError(f"{PASSWORD} is set and {USER} is not; set both")
    if USER not in environment or PASSWORD not in environment:
        raise ValueError(f"{USER} is set and {PASSWORD} is not; set both, the password to nothing if it is empty")
    if ":" in user or CONTROL.search(user + password):
        raise ValueError(f"{USER} and {PASSWORD} may hold no control character, and the user no colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def without(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment without the login, for a server that is started: it runs programs of others, the models."""
    return {name: value for name, value in environment.items() if name not in NAMES}
