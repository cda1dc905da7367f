"""What every stage works with, and the two measurements that most of them make: unloaded rounds and capacities."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.gpu.arms import CPU_ENSEMBLE, DECODING, RATIOS, Ask, AskRaw, find_arm
from benchmarks.gpu.capacity import FIRST, LATER, SLO_FACTOR, START, Capacity, Probe, Search, combine, search
from benchmarks.gpu.clients import ClientProcesses, Task
from benchmarks.gpu.load import Load, offer
from benchmarks.gpu.pace import Pace
from benchmarks.gpu.record import Record, T
from benchmarks.gpu.site import Site
from benchmarks.gpu.unloaded import (
    Blocks,
    mean_parts,
    measure_unloaded,
    median_latency,
    median_ratio,
    share_of,
)
from benchmarks.gpu.warm import send_batches
from serving.server import Server
from workloads.payloads import Payload

LONGEST = 2.5
"""Times the usual length that a probe may take, to have FEW requests or to last LASTING limits."""
FEW, LASTING = 60, 6
WARM_UP = 8.0
"""Seconds of a warm-up: on a GPU each size of batch costs some tenths of a second, the first time."""
RESTART = 25.0
"""Seconds until a server that is gone is up again."""
SPARE = 4
"""Requests that each client process may have in flight at any rate."""
PRELOADED = (1, 2, 4, 8, 16, 32)
"""Batches in which preprocessing is warmed up; a network is in every size."""


@dataclass
class Bench:
    """One run: where figures go, how long things take, and who sends and answers."""

    record: Record
    pace: Pace
    site: Site
    clients: ClientProcesses
    client_cores: list[int]
    slos: dict[str, float] = field(default_factory=dict)
    """Size -> the limit of p95 in ms."""
    saturated: dict[tuple[str, str], float] = field(default_factory=dict)
    """(size, arm) -> answers per second to clients that never pause."""
    searches: dict[tuple[str, str], list[Search]] = field(default_factory=dict)
    only_size: str | None = None
    """The size that a stage is asked for; None: all of its sizes."""
    warm: dict[str, tuple[Sequence[Ask], Sequence[Payload]]] = field(default_factory=dict)
    """Size -> arms and payloads that the server was warmed up with."""

    def attempt(self, stage: str, point: str, cost: float, do: Callable[[], T]) -> T | None:
        """Measure a point as `Record.attempt` does; if it failed, see that server and clients are there again."""
        failed: list[bool] = []

        def measure() -> T:
            failed.append(True)
            result = do()
            failed.clear()
            return result

        result = self.record.attempt(stage, point, cost, measure)
        if failed:
            self.record.attempt(stage, "starting the clients afresh", 0.1, self.clients.restart)
            if not self.site.is_live:
                self.record.attempt(stage, "starting the server again", RESTART, self.restart_server)
        return result

    def restart_server(self) -> None:
        """Start the server again, once, and warm it up as the one before was. Raises Unavailable."""
        self.site.restart()
        self.warm_up_again()

    def arms(self, workload: str, wanted: Iterable[str]) -> dict[str, Ask]:
        """Return name -> arm of those that the server has."""
        there = self.site.server.statistics()
        asks = {name: Ask(workload, name) for name in wanted}
        return {name: ask for name, ask in asks.items() if ask.make().placements[name].model in there}

    def capacity(self, size: str, arm: str) -> Capacity | None:
        """Return what the turns so far say of an arm's capacity."""
        return combine(self.searches.get((size, arm), []))

    # Warming up ---------------------------------------------------------------------------------------------------

    def warm_up(self, stage: str, size: str, asks: Sequence[Ask], sent: Sequence[Payload]) -> None:
        """Run each step of these arms in the batches that are to come: all sizes on a GPU, single ones without."""
        self.warm[size] = asks, sent
        self.attempt(stage, f"{size} warm-up", WARM_UP if self.site.on_gpu else 2.0, lambda: self._warm_up(asks, sent))

    def warm_up_again(self) -> None:
        """Run all that was warmed up so far once more, after something was loaded anew. Raises Unavailable."""
        for asks, sent in self.warm.values():
            self._warm_up(asks, sent)

    def _warm_up(self, asks: Sequence[Ask], sent: Sequence[Payload]) -> None:
        server, gpu = self.site.server, self.site.on_gpu
        encoded = np.frombuffer(sent[0].encoded, np.uint8)
        steps = dict.fromkeys(step for ask in asks for step in ask.make().steps if step in DECODING)
        for step in [each for each in steps if each in server.statistics()]:
            send_batches(server, step, encoded, list(PRELOADED) if gpu else [1])
        for arm in [find_arm(ask) for ask in asks]:
            if not arm.sends_payloads_unchanged:
                tensor = np.asarray(arm.preprocessor()(sent[0].encoded))
                send_batches(server, arm.target.model, tensor, list(range(1, 33)) if gpu else [1])

    # Unloaded -----------------------------------------------------------------------------------------------------

    def unloaded(self, stage: str, size: str, asks: dict[str, Ask], sent: Sequence[Payload]) -> Blocks | None:
        """Measure unloaded latencies of these arms in turns, and write their figures; sets the size's limit of p95."""
        cost = self.pace.unloaded + 3.0

        def measure() -> Blocks:
            arms = {name: find_arm(ask) for name, ask in asks.items()}
            return measure_unloaded(self.site.server, arms, sent, self.pace.unloaded, self.pace.rounds)

        blocks = self.attempt(stage, f"{size} unloaded", cost, measure)
        if blocks:
            self.write_unloaded(stage, size, blocks)
            self.slos[size] = SLO_FACTOR * max(median_latency(each)[0] for each in blocks.values())
        return blocks

    def write_unloaded(self, stage: str, size: str, blocks: Blocks) -> None:
        """Write medians, ratios to the client's, and where the time goes."""
        for arm, each in blocks.items():
            n = sum(len(block.latency) for block in each)
            value, low, high = median_latency(each)
            self.record.figure(stage, size, arm, "unloaded latency", value, "ms", low, high, n=n, rounds=len(each))
            shares = {"processing": ["processing"], "beyond the network": ["processing", "movement", "waiting"]}
            for name, parts in shares.items():
                if share := share_of(each, parts):
                    self.record.figure(stage, size, arm, f"share {name}", share[0], "", *share[1:], n=n)
            parts_ms = mean_parts(each)
            self.record.figure(stage, size, arm, "mean latency", sum(parts_ms.values()), "ms", n=n, parts=parts_ms)
        for candidate, baseline in RATIOS:
            if candidate in blocks and baseline in blocks:
                value, low, high = median_ratio(blocks[baseline], blocks[candidate])
                self.record.figure(stage, size, candidate, f"unloaded ratio to {baseline}", value, "", low, high)

    # Loads --------------------------------------------------------------------------------------------------------

    def offer(
        self,
        ask: Ask | AskRaw,
        sent: Sequence[Payload],
        seconds: float,
        count: int = 0,
        server: Server | None = None,
        **task,
    ) -> Load:
        """Offer one load; `task` are fields of `Task`. Raises Unavailable."""
        server = server or self.site.server
        return offer(server, self.clients, ask, sent, Task(server.url, ask, "", seconds, **task), count)

    def saturate(self, stage: str, size: str, arm: str, ask: Ask, sent: Sequence[Payload]) -> float | None:
        """Measure how many answers a second clients get that never pause, and write it."""

        def measure() -> Load:
            self.offer(ask, sent, self.pace.closed / 3, users=self.pace.users)  # warms up, in batches as they come
            return self.offer(ask, sent, self.pace.closed, users=self.pace.users)

        load = self.attempt(stage, f"{size} {arm} without pauses", 1.4 * self.pace.saturation, measure)
        if load is None or not load.rate:
            return None
        self.saturated[size, arm] = load.rate
        self.write_load(stage, size, arm, "rate without pauses", load.rate, "/s", load)
        return load.rate

    def write_load(
        self, stage: str, size: str, arm: str, figure: str, value: float | None, unit: str, load: Load, **more
    ) -> None:
        """Write a figure of a load, with what the load cost."""
        costs = load.costs(len(self.client_cores))
        more = {
            "n": len(load.answered),
            "sm_clock": load.sm_clock,
            "busiest_client": load.offered.busiest,
            **costs,
            **more,
        }
        self.record.figure(stage, size, arm, figure, value, unit, **more)

    def find_capacity(
        self, stage: str, size: str, arm: str, ask: Ask, sent: Sequence[Payload], turns: int | None = None
    ) -> None:
        """Search an arm's capacity, one turn more, and write what the turns say so far; none if there are `turns`."""
        if turns is not None and len(self.searches.get((size, arm), [])) >= turns:
            return
        slo, before = self.slos.get(size), self.searches.setdefault((size, arm), [])
        if slo is None:
            self.record.fail(stage, f"{size} {arm} capacity", "no limit is known, as there are no unloaded figures")
            return
        if (size, arm) not in self.saturated and self.saturate(stage, size, arm, ask, sent) is None:
            return
        known, turn = combine(before), len(before) + 1
        start = known.value if known else START * self.saturated[size, arm]
        bisections = self.pace.bisections if not known else 1
        probe = (3 if known else 4) * self.pace.load

        def fits() -> bool:
            return self.record.left > self.pace.load

        def measure() -> Search:
            factor = LATER if known else FIRST
            return search(lambda rate: self.probe(ask, sent, rate, slo, turn), start, factor, bisections, fits)

        found = self.attempt(stage, f"{size} {arm} capacity, turn {turn}", probe, measure)
        if found is None:
            return
        before.append(found)
        point = f"{size} {arm} capacity, turn {turn}"
        if found.value is None and not fits():
            self.record.leave_out(stage, f"the rest of {point}", self.pace.load)
        elif found.value is None:
            reason = "every rate was kept" if found.kept else "no rate was kept"
            tried = ", ".join(f"{each.rate:.4g}/s p95 {each.p95:.4g} ms" for each in found.probes)
            self.record.fail(stage, point, f"{reason}: {tried}")
        if capacity := combine(before):
            self.write_capacity(stage, size, arm, capacity, slo)

    def probe(self, ask: Ask, sent: Sequence[Payload], rate: float, slo: float, turn: int) -> Probe:
        """Offer Poisson arrivals at a rate, and say whether p95 is above the limit (ms)."""
        usual = self.pace.probe
        seconds = float(np.clip(max(FEW / rate, LASTING * slo / 1e3), usual, LONGEST * usual))
        # By Little's law rate x limit are in flight while the mean keeps it. More would only wait, also for the next
        # probe: all that is sent is answered, so that each probe finds an idle server.
        cap = SPARE * self.clients.count + int(2 * rate * slo / 1e3)
        timeout = 10.0 + 4 * slo / 1e3
        load = self.offer(ask, sent, seconds, arrivals=f"poisson:rate={rate:.6g}", seed=turn, cap=cap, timeout=timeout)
        p95 = load.percentile(95)
        return Probe(rate, p95 > slo or load.falls_behind(), p95, load)

    def write_capacity(self, stage: str, size: str, arm: str, capacity: Capacity, slo: float) -> None:
        """Write a capacity with the limits of its brackets, and the costs at the highest rate that was kept."""
        best = capacity.best
        over = [each for turn in self.searches[size, arm] for each in turn.probes if each.over]
        limit = "client" if over and over[-1].load.waits_for_client(slo) else "server"
        self.write_load(
            stage, size, arm, "capacity", capacity.value, "/s", best.load, low=capacity.low, high=capacity.high,
            turns=capacity.turns, slo_ms=slo, rate=best.rate, p95=best.p95, limit=limit,
            rules=best.load.client_limits(),
            probes=[[each.rate, each.p95, each.over] for turn in self.searches[size, arm] for each in turn.probes],
        )  # fmt: skip


MISSING_CPU = f"the server has no {CPU_ENSEMBLE}: there are no figures of CPU decode on the server"
