"""What the server's metrics say, for a model that has to decide by them many times a second."""

import collections
import http.client
import re
import threading
import time

STALE = 0.2  # seconds: nobody decides by an older page, where it says that there is something to decide


class Metrics:
    """The server's, over a connection that stays open (0.3 ms): those of these names that are given per model."""

    def __init__(self, address, names):
        self.connection = http.client.HTTPConnection(address, timeout=1)
        self.line = re.compile(rf'^({"|".join(names)})\{{[^}}]*model="([^"]+)"[^}}]*\}} (\S+)', re.M)
        self.seen = 0.0, collections.Counter()
        self.wanted, self.lock = threading.Event(), threading.Lock()
        threading.Thread(target=self._follow, daemon=True).start()

    def look(self, age, calm=False):
        """When it was looked, and (name, model) -> the sum over instances; 0 where it cannot be had.

        Where that is older than `age`, it is looked again for who comes next; above STALE, unless all is calm, now.
        """
        old = time.monotonic() - self.seen[0]
        if old > STALE and not calm:
            self._fetch(STALE)
        elif old > age:
            self.wanted.set()
        return self.seen

    def now(self, age):
        """The same, looked at again if it is older than that."""
        self._fetch(age)
        return self.seen

    def _follow(self):
        while self.wanted.wait():
            self.wanted.clear()
            self._fetch(0)

    def _fetch(self, age):
        with self.lock:
            if time.monotonic() - self.seen[0] < age:
                return  # another thread has, meanwhile
            began, found = time.monotonic(), collections.Counter()
            try:
                self.connection.request("GET", "/metrics")
                for name, model, value in self.line.findall(self.connection.getresponse().read().decode()):
                    found[name, model] += float(value)
            except (OSError, http.client.HTTPException):
                self.connection.close()
            self.seen = began, found
