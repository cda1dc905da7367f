"""Whether an address on the network answers, decided within seconds."""

import threading
import urllib.error
import urllib.request


def problem(url, seconds=5):
    """Why `url` cannot be had, in words, or None if it can.

    One HEAD request, no retries, in a thread of its own: the resolver of a machine without a
    network takes far longer to give up than a socket's timeout.
    """
    found = [f"no answer within {seconds} s"]

    def ask():
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
            found[0] = None
        except urllib.error.HTTPError as error:
            found[0] = f"it answers {error.code}"
        except (OSError, ValueError) as error:
            found[0] = str(getattr(error, "reason", error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0]
