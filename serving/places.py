"""A plan as a batch sees it: which tensors there are at each node, which are kept, and where a row can start."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from serving.plan import LoadedPlan, Node, Root, Route, ServedVersion
from serving.work import Start
from zoo.manifest import TensorSpec
from zoo.preprocessing.batch import padding_of

__all__ = ["Place", "Places", "Rest", "Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """How one row's part of a batch's tensor is cut out, and put into another batch."""

    token_axes: tuple[int, ...]
    """Which axes of one row, so without N, run over its tokens."""
    padding: int = 0

    def of_row(self, array: NDArray[Any], index: int, length: int) -> NDArray[Any]:
        """Return a copy of row ``index``, without the padding after ``length`` tokens, that cannot be written to.

        Not a view: that would keep the whole batch in memory, or see the lane's next one.
        """
        row: NDArray[Any] = array[index, ...]
        for axis in self.token_axes:
            row = row[(slice(None),) * axis + (slice(length),)]
        row = row.copy(order="C")
        row.setflags(write=False)
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A node of a tree, with what a batch has to know there."""

    root: Root
    node: Node
    way: tuple["Place", ...] = field(repr=False)
    """The places above it, from the root's on."""
    children: Mapping[str, Node] = field(repr=False)
    """By path digest."""
    versions: Mapping[str, Mapping[str, Tensor]]
    """By version digest: the outputs of those that end here."""
    last: bool
    """Whether nothing is below it, and its own stage gives all that its versions answer with."""
    features: Mapping[str, Tensor]
    """What is kept for the nodes below; empty unless a body ends and heads begin here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A way to answer what no cached answer was found for."""

    start: Start
    route: Route
    needs: frozenset[str] = frozenset()
    """The tensors that the cache must have of the node where it starts; none for a raw row."""


class Places:
    """Every node of a plan at its place. Immutable, and safe to use from every thread.

    Args:
        loaded: the plan.
    """

    def __init__(self, loaded: LoadedPlan) -> None:
        self._plan = loaded.plan
        self._by_path: dict[tuple[Root, str], Place] = {}
        self._by_version: dict[str, Place] = {}
        for root in loaded.plan.roots:
            preprocessor = loaded.preprocessors[root.preprocessing]
            available = {spec.name: (spec, padding_of(preprocessor.spec, spec.name)) for spec in preprocessor.declared}
            self._add(root, root.node, (), available)

    def at(self, root: Root, path: str) -> Place:
        """Return the place of the node with this path digest."""
        return self._by_path[root, path]

    def end_of(self, version: ServedVersion) -> Place:
        """Return where the path of a version ends."""
        return self._by_version[version.digest]

    def rest(self, versions: tuple[ServedVersion, ...], shadows: tuple[ServedVersion, ...]) -> tuple[Rest, ...]:
        """Return the ways to answer a row with versions of one tree, that with the least to run first.

        The last one starts with the raw row. The others start at a node that is above all of their ends.
        """
        (route,) = self._plan.routes(versions, shadows)
        ends = [self.end_of(version) for version in (*route.versions, *route.shadows)]
        common = [place for place in ends[0].way if all(place in end.way for end in ends)]
        ways = [self._from(place, route) for place in reversed(common) if place.features]
        return *ways, Rest(start=Start(root=route.root), route=route)

    def _from(self, place: Place, route: Route) -> Rest:
        above = {place.node.path, *(each.node.path for each in place.way)}
        below = tuple(path for path in route.paths if path not in above)
        return Rest(
            start=Start(root=route.root, path=place.node.path),
            route=Route(root=route.root, versions=route.versions, paths=below, shadows=route.shadows),
            needs=frozenset(name for path in below if path in place.children for name in place.children[path].needs),
        )

    def _add(self, root: Root, node: Node, way: tuple[Place, ...], above: Mapping[str, tuple[TensorSpec, int]]) -> None:
        available = {**above, **{spec.name: (spec, 0) for spec in node.stage.outputs}}
        given = {spec.name for spec in node.stage.outputs}
        versions = {version.digest: _outputs(version) for version in node.versions}
        place = Place(
            root=root,
            node=node,
            way=way,
            children={child.path: child for child in node.children},
            versions=versions,
            last=not node.children and all(given.issuperset(outputs) for outputs in versions.values()),
            features=dict(_features(node, available)),
        )
        self._by_path[root, node.path] = place
        self._by_version.update(dict.fromkeys(place.versions, place))
        for child in node.children:
            self._add(root, child, (*way, place), available)


def _outputs(version: ServedVersion) -> dict[str, Tensor]:
    return {spec.name: Tensor(_token_axes(spec)) for spec in version.manifest.signature.outputs}


def _features(node: Node, available: Mapping[str, tuple[TensorSpec, int]]) -> Iterator[tuple[str, Tensor]]:
    """Yield what the children of a node read, if a version ends at one of them and rows can be cut out of it."""
    if not any(child.versions for child in node.children):
        return
    names = sorted({name for child in node.children for name in child.needs})
    if _can_be_cut(available[name][0] for name in names if name in available):
        for name in names:
            if name in available:
                spec, padding = available[name]
                yield name, Tensor(_token_axes(spec), padding)


def _can_be_cut(specs: Iterable[TensorSpec]) -> bool:
    """Return whether a row's own size is known on every axis: on one of another name than T it is not."""
    return all(isinstance(axis, int) or axis == "T" for spec in specs for axis in spec.shape[1:])


def _token_axes(spec: TensorSpec) -> tuple[int, ...]:
    axes: Sequence[int | str] = spec.shape[1:]
    return tuple(position for position, axis in enumerate(axes) if axis == "T")
