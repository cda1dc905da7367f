"""What the server's metrics say, for a model that has to decide by them many times a second."""

import collections
import http.client
import re
import threading
import time

STALE = 0.2  # seconds: nobody decides by an older page, where it says that there is something to decide


class Metrics:
    """The server's metrics of these names that are given per model, over a connection that stays open (0.3 ms)."""

    def __init__(self, address, names):
        self.connection = http.client.HTTPConnection(address, timeout=1)
        self.line = re.compile(rf'^({"|".join(names)})\{{[^}}]*model="([^"]+)"[^}}]*\}} (\S+)', re.M)
        self.page = 0.0, collections.Counter()
        self.refresh, self.lock = threading.Event(), threading.Lock()
        threading.Thread(target=self._refresh_when_asked, daemon=True).start()

    def read(self, age, idle=False):
        """Return the cached page: when it was read, and (name, model) -> the sum over instances (0 if there is none).

        Refresh it in the background if it is older than `age`, and at once if it is older than STALE, unless the
        server is `idle`.
        """
        old = time.monotonic() - self.page[0]
        if old > STALE and not idle:
            self._fetch(STALE)
        elif old > age:
            self.refresh.set()
        return self.page

    def read_newer(self, age):
        """Return the page, read again if it is older than `age`."""
        self._fetch(age)
        return self.page

    def _refresh_when_asked(self):
        while self.refresh.wait():
            self.refresh.clear()
            self._fetch(0)

    def _fetch(self, age):
        with self.lock:
            if time.monotonic() - self.page[0] < age:
                return  # another thread has, meanwhile
            began, sums = time.monotonic(), collections.Counter()
            try:
                self.connection.request("GET", "/metrics")
                for name, model, value in self.line.findall(self.connection.getresponse().read().decode()):
                    sums[name, model] += float(value)
            except (OSError, http.client.HTTPException):
                self.connection.close()
            self.page = began, sums
