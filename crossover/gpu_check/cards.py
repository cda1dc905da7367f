"""The cards, their driver, and whether the server can use one."""

from collections.abc import Iterator

from crossover.gpu_check.finding import Finding, ok, problem, skipped
from serving import gpu, nvml
from serving.nvml import Card

ABSENT = "no NVIDIA driver"  # how `gpu.obstacle` begins where this is no machine with a GPU


def examine() -> Iterator[Finding]:
    """Describe each card.

    The last finding, `gpu`, has two figures: whether a `driver` offers a card, and whether the server can use it.
    """
    cards = nvml.read_cards()
    driver, obstacle = gpu.driver_obstacle() is None, gpu.obstacle()
    absent = bool(obstacle and obstacle.startswith(ABSENT))
    yield from (describe(card) for card in cards)
    if not cards:
        unknown = problem("card", "nothing is known of it without NVML", "install nvidia-ml-py: run `make env GPU=1`")
        yield skipped("card", str(obstacle)) if absent else unknown
    if len(cards) > 1:
        used = nvml.used_card()
        index = used.index if used else 0
        yield ok("cards", f"{len(cards)}, of which the server uses {index}; CUDA_VISIBLE_DEVICES names another one")
    if obstacle is None:
        yield ok("gpu", "the server can use it", driver=True, usable=True)
    elif absent:
        yield skipped("gpu", obstacle, driver=driver, usable=False)
    else:
        what, _, remedy = obstacle.partition("; ")
        yield problem("gpu", what, remedy or "see docs/gpu.md", driver=driver, usable=False)


def describe(card: Card) -> Finding:
    """Return name, driver, memory, clocks and MIG of a card."""
    clocks = f"SM {card.sm_clock} of {card.sm_clock_max} MHz, memory {card.memory_clock} MHz"
    limit = "" if card.power_limit_watts is None else f", limit {card.power_limit_watts:.0f} W"
    mig = "; MIG is on, so a process sees one slice of it" if card.mig else ""
    return ok(
        "card",
        f"{card.name}, driver {card.driver}, compute capability {card.capability}, "
        f"{card.free_mb} of {card.memory_mb} MB free, {clocks}{limit}{mig}",
        **vars(card),
    )
