"""One batch on its way through a tree.

Depth first, so that the tensors of a finished branch are freed before the next one runs. What a node gives stays on
the device for its children; only what a version answers with, or what is kept for the next time, comes to the host.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from serving.batch_result import BatchResult, NodeRun
from serving.buffers import LaneBuffers
from serving.cache import NodeCache
from serving.groups import Group, Member, split
from serving.isolation import in_halves
from serving.outcomes import Outcomes, Spent
from serving.places import Place, Places
from serving.plan import LoadedPlan, Node
from serving.runtimes.base import Arrays, DeviceTensors, Runtime
from serving.work import Start, Work
from zoo.preprocessing.batch import collate, stack

__all__ = ["Means", "Walk"]

_log = logging.getLogger(__name__)

SMALL_PARAMETERS = 100_000
"""Up to so many, a stage computes a few rows more in less time than it takes to copy the others."""

SPARE = 4
"""Such a stage computes rows in vain as long as they are fewer than one in so many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """What every batch of a plan runs with."""

    loaded: LoadedPlan
    runtime: Runtime
    clock: Callable[[], float]
    cache: NodeCache
    places: Places
    buffers: LaneBuffers


@dataclass(frozen=True, slots=True)
class Carried:
    """Tensors on the device, and which positions of the batch their rows are."""

    rows: Sequence[int]
    """Ascending; perhaps more than are wanted."""
    tensors: DeviceTensors

    def index_of(self) -> dict[int, int]:
        """Return where in the tensors each position is."""
        return {position: index for index, position in enumerate(self.rows)}


@dataclass(frozen=True, slots=True)
class _GroupedHead:
    """A head that can run together with others, and the rows that want it."""

    place: Place
    member: Member
    rows: Sequence[int]


class Walk:
    """The state of one batch; used once.

    Args:
        means: what it runs with.
        works: its rows.
    """

    def __init__(self, means: Means, works: Sequence[Work]) -> None:
        self._means = means
        self._works = works
        self._result = BatchResult(answers=[{} for _ in works])
        self._outcomes = Outcomes(self._result, works, means.cache)
        self._at_node: dict[str, list[int]] = {}
        for position, work in enumerate(works):
            for path in work.route.paths:
                self._at_node.setdefault(path, []).append(position)

    def run(self, start: Start) -> BatchResult:
        """Run all that is wanted from ``start`` on."""
        rows = self._staying(range(len(self._works)))
        if rows:
            lengths = [self._works[position].row.length for position in rows]
            self._result.real_tokens = sum(lengths)
            self._result.padded_tokens = len(lengths) * max(lengths)
            self._enter(start, rows)
        return self._result

    def _enter(self, start: Start, rows: Sequence[int]) -> None:
        """Bring the rows to the device, and run the root's node on them, or what is below the node that is known."""
        place = self._means.places.at(start.root, start.path or start.root.node.path)
        collated = self._known_input if start.path else self._raw_input
        began_s = self._means.clock()
        for piece, tensors in in_halves(rows, lambda piece: self._means.runtime.to_device(collated(place, piece))):
            spent = Spent(input_s=self._means.clock() - began_s)
            if isinstance(tensors, Exception):
                self._outcomes.fail_below(place.node, piece, "the input of stage", tensors, spent)
            elif start.path:
                self._descend(place, Carried(piece, tensors), spent)
            else:
                self._visit(place, Carried(piece, tensors), spent)

    def _raw_input(self, place: Place, rows: Sequence[int]) -> Arrays:
        preprocessor = self._means.loaded.preprocessors[place.root.preprocessing]
        return collate([self._works[position].row for position in rows], preprocessor, self._means.buffers)

    def _known_input(self, place: Place, rows: Sequence[int]) -> Arrays:
        """Collate the known outputs of a node, as far as anything below it needs them."""
        batch = {}
        for name in {name for child in self._wanted_children(place) for name in child.needs}:
            arrays = [self._works[position].features[name] for position in rows]
            batch[name] = stack(name, arrays, place.features[name].padding, self._means.buffers)
        return batch

    def _visit(self, place: Place, carried: Carried, spent: Spent) -> None:
        """Run the node at ``place`` on the carried rows that want it, and then what is below it."""
        rows = self._staying(self._wanting(place.node, carried))
        if not rows:
            return
        for piece, outcome in in_halves(rows, lambda piece: self._run(place.node, carried, piece)):
            if isinstance(outcome, Exception):
                self._outcomes.fail_below(place.node, piece, "stage", outcome, spent)
                continue
            after, seconds = outcome
            now = spent.then(infer_s=seconds)
            self._answer(place, after, piece, now)
            self._keep(place, after, piece)
            self._descend(place, after, now)

    def _descend(self, place: Place, carried: Carried, spent: Spent) -> None:
        """Run the children of ``place`` that are wanted: heads of one group together, all others one by one."""
        groups: dict[Group, list[tuple[Place, Member]]] = {}
        for child in self._wanted_children(place):
            executable = self._means.loaded.executables[child.executable]
            below = self._means.places.at(place.root, child.path)
            if isinstance(executable, Member) and below.last:
                groups.setdefault(executable.group, []).append((below, executable))
            else:
                self._visit(below, carried, spent)
        for group, heads in groups.items():
            self._visit_group(group, heads, carried, spent)

    def _visit_group(self, group: Group, heads: Sequence[tuple[Place, Member]], carried: Carried, spent: Spent) -> None:
        """Run heads of one group in as few operations as pay.

        Where that fails each runs by itself, so that none fails for the fault of another.
        """
        staying = set(self._staying(carried.rows))
        wanted: list[_GroupedHead] = []
        for place, member in heads:
            if rows := [position for position in self._wanting(place.node, carried) if position in staying]:
                wanted.append(_GroupedHead(place, member, rows))
        for call in split([head.rows for head in wanted]):
            together = [wanted[index] for index in call.heads]
            if not self._run_together(group, together, call.rows, carried, spent):
                for each in together:
                    self._visit(each.place, carried, spent)

    def _run_together(
        self, group: Group, heads: Sequence[_GroupedHead], rows: Sequence[int], carried: Carried, spent: Spent
    ) -> bool:
        """Run heads as one operation, and give each of their rows its answer; return whether that worked."""
        began_s = self._means.clock()
        try:
            near = self._narrow({name for head in heads for name in head.place.node.needs}, carried, rows, small=True)
            outputs = group.run([head.member for head in heads], near.tensors)
        except Exception as error:
            _log.info("%d heads did not run as one, and are tried one by one: %s", len(heads), error)
            return False
        ended_s = self._means.clock()
        share_s = (ended_s - began_s) / sum(len(head.rows) for head in heads)
        now = spent.then(infer_s=ended_s - began_s)
        for index, head in enumerate(heads):
            own_s = share_s * len(head.rows)
            self._note_run(head.place.node, head.rows, len(head.rows), began_s, ended_s, own_s)
            own = Carried(near.rows, {name: array[index] for name, array in outputs.items()})
            self._give(head.place, own, head.rows, now, ended_s)
        return True

    def _run(self, node: Node, carried: Carried, rows: Sequence[int]) -> tuple[Carried, float]:
        """Run ``node`` on these of the carried rows; return its outputs beside what was there, and the seconds."""
        small = node.stage.parameters <= SMALL_PARAMETERS
        began_s = self._means.clock()
        near = self._narrow(node.needs, carried, rows, small=small)
        if len(near.rows) > len(rows):
            with suppress(Exception):  # what it fails on may be a row that nobody wants
                return self._run_on(node, near, rows, began_s)
            near = self._narrow(node.needs, carried, rows, small=False)
        return self._run_on(node, near, rows, began_s)

    def _run_on(self, node: Node, near: Carried, rows: Sequence[int], began_s: float) -> tuple[Carried, float]:
        outputs = self._means.loaded.executables[node.executable](near.tensors)
        ended_s = self._means.clock()
        self._note_run(node, rows, len(near.rows), began_s, ended_s, ended_s - began_s)
        return Carried(near.rows, {**near.tensors, **outputs}), ended_s - began_s

    def _narrow(
        self, needs: Sequence[str] | set[str], carried: Carried, rows: Sequence[int], *, small: bool
    ) -> Carried:
        """Pick ``rows`` out of the carried ones, or carry a few more along where that is cheaper."""
        in_vain = len(carried.rows) - len(rows)
        if not in_vain or (small and in_vain * SPARE < len(carried.rows)):
            return carried
        index_of = carried.index_of()
        needed = {name: carried.tensors[name] for name in needs}
        return Carried(rows, self._means.runtime.take(needed, [index_of[position] for position in rows]))

    def _answer(self, place: Place, after: Carried, rows: Sequence[int], spent: Spent) -> None:
        """Bring the outputs of the versions that end here to the host, and give each row its part."""
        wanted = self._outcomes.wanted(place.node, rows)
        if not wanted:
            return
        began_s = self._means.clock()
        try:
            names = {name for version, _ in wanted for name in place.versions[version.digest]}
            arrays = self._means.runtime.to_host({name: after.tensors[name] for name in names})
        except Exception as error:
            self._outcomes.fail_outputs(place.node, wanted, error, spent)
            return
        self._give(place, Carried(after.rows, arrays), rows, spent, began_s)

    def _give(self, place: Place, outputs: Carried, rows: Sequence[int], spent: Spent, began_s: float) -> None:
        """Give rows their part of outputs that are on the host; ``began_s`` is when they began to come there."""
        index_of = outputs.index_of()
        for version, positions in self._outcomes.wanted(place.node, rows):
            try:
                not_finite = self._outcomes.answer(place, version, outputs.tensors, index_of, positions)
            except Exception as error:
                self._outcomes.fail_outputs(place.node, [(version, positions)], error, spent)
                continue
            if not_finite:
                self._outcomes.fail_not_finite(place.node, version, not_finite, spent)
            if answered := [position for position in positions if position not in not_finite]:
                self._outcomes.record(version, answered, spent, self._means.clock() - began_s, failed=False)

    def _keep(self, place: Place, after: Carried, rows: Sequence[int]) -> None:
        """Keep what heads read, for inputs that come again; if that fails, they are computed again."""
        known = [position for position in rows if self._works[position].row.digest]
        if not (known and self._means.cache.on and place.features):
            return
        try:
            arrays = self._means.runtime.to_host({name: after.tensors[name] for name in place.features})
            self._outcomes.keep(place, arrays, after.index_of(), known)
        except Exception:
            _log.exception("the outputs of stage %r could not be kept", place.node.stage.name)

    def _note_run(
        self, node: Node, rows: Sequence[int], computed: int, began_s: float, ended_s: float, seconds: float
    ) -> None:
        run = NodeRun(
            path=node.path,
            stage=node.stage.name,
            rows=computed,
            width=max(self._works[position].row.length for position in rows),
            began_s=began_s,
            ended_s=ended_s,
            seconds=seconds,
        )
        self._result.runs.append(run)

    def _wanted_children(self, place: Place) -> list[Node]:
        """Return the children of a node that anybody in the batch wants, however many it has."""
        return [child for path in self._at_node if (child := place.children.get(path))]

    def _wanting(self, node: Node, carried: Carried) -> list[int]:
        """Return which of the carried rows want something at ``node`` or below it."""
        rows = self._at_node[node.path]
        if len(carried.rows) == len(self._works):
            return rows
        present = set(carried.rows)
        return [position for position in rows if position in present]

    def _staying(self, rows: Sequence[int]) -> list[int]:
        """Return those of ``rows`` that somebody still waits for, and note the others as dropped."""
        dropped = self._result.dropped
        for position in rows:
            if position not in dropped and not self._works[position].wanted():
                dropped.add(position)
        return [position for position in rows if position not in dropped]
