"""The plan: an immutable snapshot of what a server answers with, as a forest of shared prefixes.

Every version is a path of stages. Versions that agree on a prefix (same preprocessing, same stages from the first
on) share its nodes, exactly as far as they agree; nothing else declares what is shared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from serving.errors import InvalidRequest, UnknownModel
from serving.runtimes.base import Executable
from zoo.digest import path_digest
from zoo.manifest import StageManifest, TensorSpec, VersionManifest
from zoo.preprocessing import Preprocessor
from zoo.suggest import did_you_mean

__all__ = ["LoadedPlan", "Node", "Plan", "Root", "Route", "ServedVersion", "build_plan"]

DEFAULT_ALIAS = "prod"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedVersion:
    """A version of a head that the server answers with, and the aliases under which it does.

    ``digest`` and ``preprocessing`` (the digest of the declared preprocessing) are those of ``manifest``, kept
    because taking a digest of a manifest is work.
    """

    head: str
    number: int
    digest: str
    preprocessing: str
    manifest: VersionManifest
    aliases: Mapping[str, int]
    """Alias to epoch: how often it had moved when the plan was built."""

    def __str__(self) -> str:
        return f"{self.head}@{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """A stage at its place in the forest; it runs once a batch, on the rows that want anything at or below it."""

    path: str
    """Digest of the path from the first stage to this one."""
    stage: StageManifest
    stage_digest: str
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What a server answers with: every version by name, and the forest that runs them."""

    versions: tuple[ServedVersion, ...]
    roots: tuple[Root, ...]
    _by_name: Mapping[str, Mapping[str, tuple[ServedVersion, str, int]]] = field(repr=False)
    _way_to: Mapping[str, tuple[Root, tuple[str, ...]]] = field(repr=False)

    def resolve(self, head: str, version: str = "") -> tuple[ServedVersion, str, int]:
        """Find a version by name.

        Args:
            head: the head's name.
            version: a number, an alias, or empty for the default alias: ``prod``, or the only one there is.

        Returns:
            The version, the alias that led to it and that alias' epoch; an empty alias and 0 for a number.

        Raises:
            UnknownModel: nothing of that name is loaded; the text names the closest that is.
        """
        names = self._by_name.get(head)
        if names is None:
            raise UnknownModel(f"No head {head!r} is loaded.{did_you_mean(head, self._by_name)}")
        if version not in names:
            raise UnknownModel(_unknown_version(head, version, names))
        return names[version]

    def routes(self, served: Sequence[ServedVersion]) -> tuple[Route, ...]:
        """Return the ways through the forest that answer one row with all of ``served``; one for each root on it.

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
        return tuple(self._route(root, tuple(versions)) for root, versions in by_root.items())

    def _route(self, root: Root, versions: tuple[ServedVersion, ...]) -> Route:
        paths = dict.fromkeys(path for version in versions for path in self._way_to[version.digest][1])
        return Route(root=root, versions=versions, paths=tuple(paths))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedPlan:
    """A plan and everything that runs it, each thing loaded once: stages and preprocessors by digest."""

    plan: Plan
    executables: Mapping[str, Executable]
    preprocessors: Mapping[str, Preprocessor]

    def declared(self, version: ServedVersion) -> tuple[TensorSpec, ...]:
        """Return the ready tensors that a version takes in place of its raw input."""
        return self.preprocessors[version.preprocessing].declared


def build_plan(versions: Iterable[ServedVersion], stages: Mapping[str, StageManifest]) -> Plan:
    """Build the forest in which versions share a node exactly as far as their paths agree.

    Args:
        versions: what to serve, each once.
        stages: the manifest of every stage on their paths, by stage digest.

    Returns:
        The plan.
    """
    versions = tuple(versions)
    by_start: dict[tuple[str, str], list[ServedVersion]] = {}
    for version in versions:
        by_start.setdefault((version.preprocessing, version.manifest.stages[0].digest), []).append(version)
    roots = tuple(
        Root(preprocessing=preprocessing, node=_grow((first,), group, stages))
        for (preprocessing, first), group in by_start.items()
    )
    return Plan(versions=versions, roots=roots, _by_name=_names(versions), _way_to=_ways(roots))


def _grow(prefix: tuple[str, ...], versions: Sequence[ServedVersion], stages: Mapping[str, StageManifest]) -> Node:
    """Build the node at the end of ``prefix``, and all below it, for versions whose path starts so."""
    ends: list[ServedVersion] = []
    further: dict[str, list[ServedVersion]] = {}
    for version in versions:
        below = version.manifest.stages[len(prefix) :]
        if below:
            further.setdefault(below[0].digest, []).append(version)
        else:
            ends.append(version)
    children = tuple(_grow((*prefix, digest), group, stages) for digest, group in further.items())
    return Node(
        path=path_digest(prefix),
        stage=stages[prefix[-1]],
        stage_digest=prefix[-1],
        needs=_needs(stages[prefix[-1]], ends, children),
        children=children,
        versions=tuple(ends),
    )


def _needs(stage: StageManifest, ends: Sequence[ServedVersion], children: Sequence[Node]) -> tuple[str, ...]:
    """Return the names that must come from above ``stage``: what it reads, and what it only passes on."""
    passed_on = {spec.name for version in ends for spec in version.manifest.signature.outputs}
    passed_on.update(name for child in children for name in child.needs)
    given = {spec.name for spec in stage.outputs}
    return tuple(sorted({spec.name for spec in stage.inputs} | (passed_on - given)))


def _names(versions: Iterable[ServedVersion]) -> dict[str, dict[str, tuple[ServedVersion, str, int]]]:
    """Return, by head, what each number, alias and the empty name (the default alias) stands for."""
    names: dict[str, dict[str, tuple[ServedVersion, str, int]]] = {}
    for version in versions:
        of_head = names.setdefault(version.head, {})
        of_head[str(version.number)] = (version, "", 0)
        of_head.update({alias: (version, alias, epoch) for alias, epoch in version.aliases.items()})
    for of_head in names.values():
        aliases = [name for name, (_, alias, _) in of_head.items() if alias]
        if DEFAULT_ALIAS in aliases or len(aliases) == 1:
            of_head[""] = of_head[DEFAULT_ALIAS if DEFAULT_ALIAS in aliases else aliases[0]]
    return names


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
