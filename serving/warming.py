"""Run what is new once before anybody asks for it: the first caller does not pay, and what cannot run is found now."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from serving.errors import StageFailed
from serving.plan import LoadedPlan, Node, Root
from serving.runtimes.base import DeviceTensors, Runtime
from zoo.preprocessing import Preprocessor, Row, collate

__all__ = ["WarmUpJob", "warm_up_jobs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpJob:
    """One node to run, on the smallest row that there is."""

    stage: str
    """The stage's name."""
    versions: frozenset[str]
    """Digests of the versions that cannot answer if this does not run."""
    run: Callable[[], None]
    """Runs it; raises StageFailed if it does not run. To be called where the runtime may be."""


def warm_up_jobs(loaded: LoadedPlan, runtime: Runtime, before: LoadedPlan) -> Iterator[WarmUpJob]:
    """Yield a small job for each path of ``loaded`` that ``before`` has not; they are to run in order.

    A job runs its own stage, and those above it only where they are not new: so a further head on a body that runs
    costs one pass of one row through the body, and the head.

    Args:
        loaded: what is to be warmed up.
        runtime: what runs it.
        before: what runs already.
    """
    warm = {(root.preprocessing, node.path) for root in before.plan.roots for node in root.node.walk()}
    for root in loaded.plan.roots:
        yield from _Tree(loaded, runtime, root, warm).jobs(root.node, ())


class _Tree:
    """One tree of a plan, and what its nodes gave for the smallest row."""

    def __init__(self, loaded: LoadedPlan, runtime: Runtime, root: Root, warm: set[tuple[str, str]]) -> None:
        self._loaded = loaded
        self._runtime = runtime
        self._root = root
        self._warm = warm
        self._given: dict[str, DeviceTensors] = {}

    def jobs(self, node: Node, above: tuple[Node, ...]) -> Iterator[WarmUpJob]:
        """Yield the jobs of ``node`` and of all below it."""
        path = (*above, node)
        if (self._root.preprocessing, node.path) not in self._warm:
            yield WarmUpJob(
                stage=node.stage.name,
                versions=frozenset(version.digest for below in node.walk() for version in below.versions),
                run=lambda: self._run(path),
            )
        for child in node.children:
            yield from self.jobs(child, path)

    def _run(self, path: tuple[Node, ...]) -> None:
        node = path[-1]
        try:
            tensors = self._tensors(path)
            self._runtime.to_host({spec.name: tensors[spec.name] for spec in node.stage.outputs})
        except Exception as error:
            raise StageFailed(
                f"Stage {node.stage.name!r} failed on a row of ones, before anybody asked it. The cause: {error}"
            ) from error

    def _tensors(self, path: tuple[Node, ...]) -> DeviceTensors:
        """Return what the nodes of ``path`` and the input give together; each runs once."""
        if not path:
            preprocessor = self._loaded.preprocessors[self._root.preprocessing]
            return self._runtime.to_device(collate([smallest_row(preprocessor)], preprocessor))
        node = path[-1]
        if node.path not in self._given:
            above = self._tensors(path[:-1])
            self._given[node.path] = {**above, **self._loaded.executables[node.executable](above)}
        return self._given[node.path]


def smallest_row(preprocessor: Preprocessor) -> Row:
    """Return a row of ones: a token that is there, or a grey image; dynamic axes have size 1."""
    tensors = {
        spec.name: np.ones([axis if isinstance(axis, int) else 1 for axis in spec.shape[1:]], spec.dtype)
        for spec in preprocessor.declared
    }
    return Row(tensors=tensors, length=1, digest="")
