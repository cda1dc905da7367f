"""The NVIDIA cards of this machine, as the driver describes them: by NVML, out of `nvidia-ml-py`.

Nothing here raises: without that package, or without a driver, there are no cards.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """One card, as NVML describes it: memory in MB (10^6 bytes), clocks in MHz; None where it does not say."""

    index: int
    name: str
    uuid: str
    driver: str
    memory_mb: int
    free_mb: int
    capability: str
    mig: bool
    sm_clock: int | None
    sm_clock_max: int | None
    memory_clock: int | None
    power_limit_watts: float | None

    def __str__(self) -> str:
        """Return name, memory and driver, in one line."""
        return f"{self.name}, {self.memory_mb / 1000:.0f} GB, driver {self.driver}"


@contextmanager
def nvml() -> Iterator[Any]:
    """Yield the module `pynvml`, initialised; None where it is not installed or no driver answers."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or one of NVML's many
        pynvml = None
    if pynvml is None:
        yield None
        return
    try:
        yield pynvml
    finally:
        with_default(pynvml.nvmlShutdown)


def with_default(ask: Callable[..., Any], *arguments: Any, default: Any = None) -> Any:
    """Return what NVML answers, or the default where this card or driver cannot say."""
    try:
        return ask(*arguments)
    except Exception:  # a function that the library lacks is no NVMLError
        return default


def read_cards() -> list[Card]:
    """Return this machine's cards in NVML's order, that of the PCI bus; empty where no driver answers."""
    with nvml() as library:
        if library is None:
            return []
        count = with_default(library.nvmlDeviceGetCount, default=0)
        found = [with_default(read_card, library, index) for index in range(count)]
        return [card for card in found if card]


def read_card(library: Any, index: int) -> Card:
    """Return the card of this index; raises NVML's errors where it has no name or no memory."""
    handle = library.nvmlDeviceGetHandleByIndex(index)
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    limit = with_default(library.nvmlDeviceGetPowerManagementLimit, handle)
    mig = with_default(library.nvmlDeviceGetMigMode, handle, default=(0, 0))
    capability = with_default(library.nvmlDeviceGetCudaComputeCapability, handle, default=("?",))
    sm, ram = library.NVML_CLOCK_SM, library.NVML_CLOCK_MEM
    return Card(
        index=index,
        name=text(library.nvmlDeviceGetName(handle)),
        uuid=text(with_default(library.nvmlDeviceGetUUID, handle, default="")),
        driver=text(with_default(library.nvmlSystemGetDriverVersion, default="?")),
        memory_mb=memory.total // 10**6,
        free_mb=memory.free // 10**6,
        capability=".".join(map(str, capability)),
        mig=bool(mig[0]),
        sm_clock=with_default(library.nvmlDeviceGetClockInfo, handle, sm),
        sm_clock_max=with_default(library.nvmlDeviceGetMaxClockInfo, handle, sm),
        memory_clock=with_default(library.nvmlDeviceGetClockInfo, handle, ram),
        power_limit_watts=None if limit is None else limit / 1000,
    )


def text(value: str | bytes) -> str:
    """Return NVML's text: older versions of `nvidia-ml-py` answer bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def used_card() -> Card | None:
    """Return the card that CUDA's device 0 is: the first, or the first that CUDA_VISIBLE_DEVICES names."""
    cards = read_cards()
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    named = [card for card in cards if first and first in (str(card.index), card.uuid)]
    return next(iter(named or cards), None)


def read_energy() -> dict | None:
    """Return joules spent so far by all cards and their mean utilisation (0 to 1), as NVML has them; None without."""
    with nvml() as library:
        if library is None:
            return None
        try:
            handles = [library.nvmlDeviceGetHandleByIndex(each) for each in range(library.nvmlDeviceGetCount())]
            joules = [library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000 for handle in handles]
            used = [library.nvmlDeviceGetUtilizationRates(handle).gpu / 100 for handle in handles]
        except Exception:  # a card before Volta counts no joules, a MIG instance has no utilisation
            return None
    return {"energy_joules": sum(joules), "utilisation": sum(used) / len(used)} if used else None
