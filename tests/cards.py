"""A machine with NVIDIA cards, as far as `pynvml` tells of them: no test machine has one."""

import sys
from types import SimpleNamespace


class NVMLError(Exception):
    """What the library raises for what a card cannot say."""


class NVML:
    """Stands in for the module `pynvml`. `joules` is one card's reading after the other, the last one repeated."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(self, names=("NVIDIA H100 80GB HBM3",), free=80 * 10**9, joules=(1.5,), capability=(9, 0)):
        self.names, self.free, self.joules, self.capability = names, free, list(joules), capability
        self.running = 0

    def nvmlInit(self):
        self.running += 1

    def nvmlShutdown(self):
        self.running -= 1

    def nvmlDeviceGetCount(self):
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return int(uuid.removeprefix("GPU-"))

    def nvmlDeviceGetName(self, card):
        return self.names[card].encode()  # as older versions of nvidia-ml-py

    def nvmlDeviceGetUUID(self, card):
        return f"GPU-{card}"

    def nvmlSystemGetDriverVersion(self):
        return "580.95.05"

    def nvmlDeviceGetMemoryInfo(self, card):
        return SimpleNamespace(total=85 * 10**9, free=self.free, used=85 * 10**9 - self.free)

    def nvmlDeviceGetCudaComputeCapability(self, card):
        return self.capability

    def nvmlDeviceGetClockInfo(self, card, kind):
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[kind]

    def nvmlDeviceGetMaxClockInfo(self, card, kind):
        return 1980

    def nvmlDeviceGetPowerManagementLimit(self, card):
        raise NVMLError("Not Supported")

    def nvmlDeviceGetTotalEnergyConsumption(self, card):
        return round(1000 * (self.joules.pop(0) if len(self.joules) > 1 else self.joules[0]))

    def nvmlDeviceGetUtilizationRates(self, card):
        return SimpleNamespace(gpu=37, memory=12)


def install(monkeypatch, **facts) -> NVML:
    """Make this process see cards with these facts (arguments of NVML), and return the library."""
    library = NVML(**facts)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library
