"""Finds out within seconds whether a URL answers."""

import threading
import urllib.error
import urllib.request


def problem(url, seconds=5):
    """Return in words why `url` gives no answer, or None if it does.

    One HEAD request, no retries, in a thread of its own: the resolver of a machine without a
    network takes far longer to give up than a socket's timeout.
    """
    reason: list[str | None] = [f"no answer within {seconds} s"]

    def ask():
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
            reason[0] = None
        except urllib.error.HTTPError as error:
            reason[0] = f"it answers {error.code}"
        except (OSError, ValueError) as error:
            reason[0] = str(getattr(error, "reason", error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return reason[0]
