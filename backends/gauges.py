"""What the server's metrics say, for a model that has to decide by them many times a second."""

import http.client
import re
import threading
import time

FRESH, STALE = 0.045, 0.2  # seconds: younger pages are used as they are; for older ones than the second, one waits


class Metrics:
    """The server's, over a connection that stays open (0.3 ms); nobody waits for them but who has none of late."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=1)
        self.page, self.at = "", 0.0
        self.wanted, self.lock = threading.Event(), threading.Lock()
        threading.Thread(target=self._follow, daemon=True).start()

    def read(self, name, model):
        """The sum over a model's instances; 0 where it cannot be had: then nothing is refused."""
        age = time.monotonic() - self.at
        if age > STALE:
            self._fetch()
        elif age > FRESH:
            self.wanted.set()
        return sum(map(float, re.findall(rf'^{name}\{{[^}}]*model="{model}"[^}}]*\}} (\S+)', self.page, re.M)))

    def _follow(self):
        while self.wanted.wait():
            self.wanted.clear()
            self._fetch()

    def _fetch(self):
        with self.lock:
            if time.monotonic() - self.at < FRESH:
                return  # another thread's, meanwhile
            try:
                self.connection.request("GET", "/metrics")
                self.page = self.connection.getresponse().read().decode()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.page = ""
            self.at = time.monotonic()
