"""The plan: an immutable snapshot of what a server answers with, as a forest of shared prefixes.

Every version is a path of stages. Versions that agree on a prefix (same preprocessing, same stages from the first
on) share its nodes, exactly as far as they agree; nothing else declares what is shared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from serving.errors import InvalidRequest, UnknownModel
from serving.runtimes.base import Executable
from serving.versions import AliasTarget, Precision, ServedVersion
from zoo.digest import path_digest
from zoo.manifest import StageManifest, TensorSpec
from zoo.preprocessing import Preprocessor
from zoo.suggest import did_you_mean

__all__ = [
    "AliasTarget",
    "LoadFailure",
    "LoadedPlan",
    "Node",
    "Plan",
    "Precision",
    "Root",
    "Route",
    "ServedVersion",
    "build_plan",
    "steps_of",
]

DEFAULT_ALIAS = "prod"

REMEMBERED_PATHS = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """A stage at its place in the forest; it runs once a batch, on the rows that want anything at or below it."""

    path: str
    """Digest of the path from the first stage to this one."""
    stage: StageManifest
    stage_digest: str
    executable: str
    """What runs it, in ``LoadedPlan.executables``: its stage in one stored form."""
    needs: tuple[str, ...]
    """Names of the tensors from above that this node or one below it reads, or that a version below answers with."""
    children: tuple["Node", ...]
    versions: tuple[ServedVersion, ...]
    """The versions whose path ends here."""

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Root:
    """The start of a tree: a first stage, and the preprocessing that feeds it. Rows of one root can share a batch."""

    preprocessing: str
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """The part of a request that one tree answers: the versions wanted there, and every node on the way."""

    root: Root
    versions: tuple[ServedVersion, ...]
    paths: tuple[str, ...]
    """Path digests of the nodes to visit, none twice."""
    shadows: tuple[ServedVersion, ...] = ()
    """Versions that run beside these, on the way in ``paths`` too; what fails of theirs fails nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What a server answers with: every version by name, and the forest that runs them."""

    versions: tuple[ServedVersion, ...]
    roots: tuple[Root, ...]
    targets: tuple[AliasTarget, ...]
    _by_number: Mapping[str, Mapping[str, ServedVersion]] = field(repr=False)
    _by_alias: Mapping[str, Mapping[str, AliasTarget]] = field(repr=False)
    _way_to: Mapping[str, tuple[Root, tuple[str, ...]]] = field(repr=False)

    def nodes(self) -> Iterator[Node]:
        """Yield every node, tree by tree, each after the one above it."""
        for root in self.roots:
            yield from root.node.walk()

    def resolve(self, head: str, version: str = "", routing_key: str = "") -> tuple[ServedVersion, str, int]:
        """Find a version by name.

        Args:
            head: the head's name.
            version: a number, an alias, or empty for the default alias: ``prod``, or the only one there is.
            routing_key: who asks; an alias that is split gives equal keys the same side.

        Returns:
            The version, the alias that led to it and that alias' epoch; an empty alias and 0 for a number.

        Raises:
            UnknownModel: nothing of that name is loaded; the text names the closest that is.
        """
        numbers = self._by_number.get(head)
        if numbers is None:
            raise UnknownModel(f"No head {head!r} is loaded.{did_you_mean(head, self._by_number)}")
        target = self._by_alias[head].get(version)
        if target is not None:
            return target.side(routing_key), target.alias, target.epoch
        if version not in numbers:
            raise UnknownModel(_unknown_version(head, version, [*numbers, *self._by_alias[head]]))
        return numbers[version], "", 0

    def shadows(self, served: ServedVersion, alias: str) -> tuple[ServedVersion, ...]:
        """Return what runs beside a version that answers under an alias; nothing if it was asked by its number.

        A shadow that begins elsewhere would cost a body of its own, and does not run.
        """
        target = self._by_alias[served.head].get(alias) if alias else None
        return tuple(shadow for shadow in target.shadows if self.share_a_root(served, shadow)) if target else ()

    def routes(self, served: Sequence[ServedVersion], shadows: Sequence[ServedVersion] = ()) -> tuple[Route, ...]:
        """Return the ways through the forest that answer one row with all of ``served``; one for each root on it.

        Args:
            served: what answers.
            shadows: what runs beside it, in the same trees; what is in none of them is left out.

        Raises:
            InvalidRequest: nothing is asked, or the versions take differently preprocessed inputs.
            UnknownModel: a version is not of this plan.
        """
        if not served:
            raise InvalidRequest("The request asks no head; name at least one.")
        if len({version.preprocessing for version in served}) > 1:
            listed = ", ".join(str(version) for version in served)
            raise InvalidRequest(
                f"{listed} preprocess their input differently, so one preprocessed row cannot answer for all; "
                "ask those that differ in calls of their own."
            )
        by_root: dict[Root, list[ServedVersion]] = {}
        for version in dict.fromkeys(served):
            if version.digest not in self._way_to:
                raise UnknownModel(f"{version} is not loaded any more; ask again for the alias.")
            by_root.setdefault(self._way_to[version.digest][0], []).append(version)
        beside = [shadow for shadow in dict.fromkeys(shadows) if shadow not in served]
        return tuple(self._route(root, tuple(versions), beside) for root, versions in by_root.items())

    def _route(self, root: Root, versions: tuple[ServedVersion, ...], shadows: Sequence[ServedVersion]) -> Route:
        here = tuple(shadow for shadow in shadows if self._root_of(shadow) is root)
        paths = dict.fromkeys(path for version in (*versions, *here) for path in self._way_to[version.digest][1])
        return Route(root=root, versions=versions, paths=tuple(paths), shadows=here)

    def share_a_root(self, one: ServedVersion, other: ServedVersion) -> bool:
        """Say whether two versions of this plan begin in one tree, so that a row can take both ways at once."""
        return self._root_of(one) is self._root_of(other)

    def _root_of(self, version: ServedVersion) -> Root | None:
        return self._way_to[version.digest][0] if version.digest in self._way_to else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailure:
    """A version that its alias should mean, and that does not load or does not run."""

    head: str
    alias: str
    number: int
    digest: str
    cause: str
    """Why, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedPlan:
    """A plan and everything that runs it, each loaded once: stages by ``Node.executable``, preprocessors by digest.

    Nothing in it knows the plan before it, so that what is served no more can be freed.
    """

    plan: Plan
    executables: Mapping[str, Executable]
    preprocessors: Mapping[str, Preprocessor]
    epoch: int = 0
    """Id of the newest promotion that it reflects; 0 if there was none."""
    failures: tuple[LoadFailure, ...] = ()
    """What is promoted and not served, because it does not load or run; what served before serves on."""

    def declared(self, version: ServedVersion) -> tuple[TensorSpec, ...]:
        """Return the ready tensors that a version takes in place of its raw input."""
        return self.preprocessors[version.preprocessing].declared


def build_plan(
    versions: Iterable[ServedVersion],
    stages: Mapping[str, StageManifest],
    *,
    targets: Iterable[AliasTarget] = (),
    share: bool = True,
) -> Plan:
    """Build the forest in which versions share a node exactly as far as their paths agree.

    Args:
        versions: what to serve, each once.
        stages: the manifest of every stage on their paths, by stage digest.
        targets: what the aliases stand for; without any, what ``versions`` say that leads to them.
        share: give every version a tree of its own if it is false, to compare with.

    Returns:
        The plan.
    """
    versions = tuple(versions)
    targets = tuple(targets) or tuple(_plain_targets(versions))
    steps = {version.digest: steps_of(version, stages, share=share) for version in versions}
    by_start: dict[tuple[str, str], list[ServedVersion]] = {}
    for version in versions:
        by_start.setdefault((version.preprocessing, steps[version.digest][0]), []).append(version)
    roots = tuple(
        Root(preprocessing=preprocessing, node=_grow((first,), group, steps, stages))
        for (preprocessing, first), group in by_start.items()
    )
    return Plan(
        versions=versions,
        roots=roots,
        targets=targets,
        _by_number=_numbers(versions),
        _by_alias=_aliases(versions, targets),
        _way_to=_ways(roots),
    )


def _plain_targets(versions: Iterable[ServedVersion]) -> Iterator[AliasTarget]:
    for version in versions:
        for alias, epoch in version.aliases.items():
            yield AliasTarget(head=version.head, alias=alias, epoch=epoch, live=version)


def steps_of(version: ServedVersion, stages: Mapping[str, StageManifest], *, share: bool = True) -> tuple[str, ...]:
    """Return the key in ``LoadedPlan.executables`` of each stage on the path of ``version``.

    Args:
        version: whose path it is.
        stages: the manifests of its stages, by digest.
        share: whether another version that has the same stage in the same form may have the same executable.
    """
    own = "" if share else f"{version.digest}/"
    variant = "" if version.precision == "fp32" else f"onnx-{version.precision}"
    return tuple(
        f"{own}{ref.digest}{f'/{variant}' if variant in stages[ref.digest].artifacts else ''}"
        for ref in version.manifest.stages
    )


def _grow(
    prefix: tuple[str, ...],
    versions: Sequence[ServedVersion],
    steps: Mapping[str, tuple[str, ...]],
    stages: Mapping[str, StageManifest],
) -> Node:
    """Build the node at the end of ``prefix``, and all below it, for versions whose steps start so."""
    depth = len(prefix)
    ends: list[ServedVersion] = []
    further: dict[str, list[ServedVersion]] = {}
    for version in versions:
        below = steps[version.digest][depth:]
        if below:
            further.setdefault(below[0], []).append(version)
        else:
            ends.append(version)
    children = tuple(_grow((*prefix, step), group, steps, stages) for step, group in further.items())
    stage_digest = versions[0].manifest.stages[depth - 1].digest
    return Node(
        path=_path(prefix),
        stage=stages[stage_digest],
        stage_digest=stage_digest,
        executable=prefix[-1],
        needs=_needs(stages[stage_digest], ends, children),
        children=children,
        versions=tuple(ends),
    )


@lru_cache(REMEMBERED_PATHS)
def _path(prefix: tuple[str, ...]) -> str:
    """Return the digest of a path; the next plan has nearly all of them again."""
    return path_digest(prefix)


def _needs(stage: StageManifest, ends: Sequence[ServedVersion], children: Sequence[Node]) -> tuple[str, ...]:
    """Return the names that must come from above ``stage``: what it reads, and what it only passes on."""
    passed_on = {spec.name for version in ends for spec in version.manifest.signature.outputs}
    passed_on.update(name for child in children for name in child.needs)
    given = {spec.name for spec in stage.outputs}
    return tuple(sorted({spec.name for spec in stage.inputs} | (passed_on - given)))


def _numbers(versions: Iterable[ServedVersion]) -> dict[str, dict[str, ServedVersion]]:
    numbers: dict[str, dict[str, ServedVersion]] = {}
    for version in versions:
        numbers.setdefault(version.head, {})[str(version.number)] = version
    return numbers


def _aliases(versions: Iterable[ServedVersion], targets: Iterable[AliasTarget]) -> dict[str, dict[str, AliasTarget]]:
    """Return, by head, what each alias and the empty name (the default alias) stands for."""
    aliases: dict[str, dict[str, AliasTarget]] = {version.head: {} for version in versions}
    for target in targets:
        aliases[target.head][target.alias] = target
    for of_head in aliases.values():
        if DEFAULT_ALIAS in of_head or len(of_head) == 1:
            of_head[""] = of_head[DEFAULT_ALIAS] if DEFAULT_ALIAS in of_head else next(iter(of_head.values()))
    return aliases


def _ways(roots: Iterable[Root]) -> dict[str, tuple[Root, tuple[str, ...]]]:
    """Return, by version digest, its root and the path digests from there to its end."""
    ways: dict[str, tuple[Root, tuple[str, ...]]] = {}

    def visit(root: Root, node: Node, above: tuple[str, ...]) -> None:
        way = (*above, node.path)
        ways.update({version.digest: (root, way) for version in node.versions})
        for child in node.children:
            visit(root, child, way)

    for root in roots:
        visit(root, root.node, ())
    return ways


def _unknown_version(head: str, version: str, names: Iterable[str]) -> str:
    known = [name for name in names if name]
    if version:
        return f"Head {head!r} has no version or alias {version!r} loaded.{did_you_mean(version, known)}"
    listed = ", ".join(sorted(known))
    return f"Head {head!r} has no alias {DEFAULT_ALIAS!r}, and not exactly one other; name one of {listed}."
