"""The NVIDIA cards of this machine, as the driver describes them: by NVML, out of `nvidia-ml-py`.

Nothing here raises: without that package, or without a driver, there are no cards.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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

    def public(self) -> dict[str, Any]:
        """Return what reports may say of it: all but the number that tells this card from every other."""
        return {name: value for name, value in asdict(self).items() if name != "uuid"}


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
        ask(pynvml, "nvmlShutdown")


def ask(library: Any, function: str, *arguments: Any, default: Any = None) -> Any:
    """Return what a function of NVML answers, or the default where this card, driver or library cannot say."""
    try:
        return getattr(library, function)(*arguments)
    except Exception:  # NVMLError, of each library its own, or AttributeError
        return default


def read_cards() -> list[Card]:
    """Return this machine's cards in NVML's order, that of the PCI bus; empty where no driver answers."""
    with nvml() as library:
        if library is None:
            return []
        found = [read_card(library, index) for index in range(ask(library, "nvmlDeviceGetCount", default=0))]
        return [card for card in found if card]


def read_card(library: Any, index: int) -> Card | None:
    """Return the card of this index; None where it tells nothing of its memory, as one that has failed."""
    handle = ask(library, "nvmlDeviceGetHandleByIndex", index)
    memory = ask(library, "nvmlDeviceGetMemoryInfo", handle)
    if memory is None:
        return None
    limit = ask(library, "nvmlDeviceGetPowerManagementLimit", handle)
    mig = ask(library, "nvmlDeviceGetMigMode", handle, default=(0, 0))
    capability = ask(library, "nvmlDeviceGetCudaComputeCapability", handle, default=("?",))
    sm, ram = library.NVML_CLOCK_SM, library.NVML_CLOCK_MEM
    return Card(
        index=index,
        name=text(ask(library, "nvmlDeviceGetName", handle, default="a card without a name")),
        uuid=text(ask(library, "nvmlDeviceGetUUID", handle, default="")),
        driver=text(ask(library, "nvmlSystemGetDriverVersion", default="?")),
        memory_mb=memory.total // 10**6,
        free_mb=memory.free // 10**6,
        capability=".".join(map(str, capability)),
        mig=bool(mig[0]),
        sm_clock=ask(library, "nvmlDeviceGetClockInfo", handle, sm),
        sm_clock_max=ask(library, "nvmlDeviceGetMaxClockInfo", handle, sm),
        memory_clock=ask(library, "nvmlDeviceGetClockInfo", handle, ram),
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


def read_energy(uuid: str) -> dict | None:
    """Return what a card has spent so far and uses now; None if it does not say.

    `energy_joules`, `utilisation` (0 to 1) and `memory_mb` (MB in use, anyone's). NVML counts the joules since the
    driver was loaded, on cards from Volta on, and not of a MIG instance. The utilisation is the share of the last 0.2
    to 1 s in which the card computed anything.
    """
    with nvml() as library:
        if library is None:
            return None
        handle = ask(library, "nvmlDeviceGetHandleByUUID", uuid)
        joules = ask(library, "nvmlDeviceGetTotalEnergyConsumption", handle)  # in mJ
        used = ask(library, "nvmlDeviceGetUtilizationRates", handle)
        memory = ask(library, "nvmlDeviceGetMemoryInfo", handle)
    if joules is None or used is None or memory is None:
        return None
    return {"energy_joules": joules / 1000, "utilisation": used.gpu / 100, "memory_mb": memory.used // 10**6}
