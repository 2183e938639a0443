"""A plan for people to read: what is served, and what of it is shared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.digest import SHORT_DIGEST_LENGTH

if TYPE_CHECKING:
    from serving.plan import Node, Plan, ServedVersion

__all__ = ["plan_as_json", "tree_lines", "version_rows"]


def version_rows(plan: "Plan") -> list[tuple[str, ...]]:
    """Return a table row for each version: its name, aliases, short digest and stages."""
    return [
        (
            str(version),
            ", ".join(f"{alias} (epoch {epoch})" for alias, epoch in version.aliases.items()),
            version.digest[:SHORT_DIGEST_LENGTH],
            " → ".join(stage.name for stage in version.manifest.stages),
        )
        for version in _ordered(plan)
    ]


def tree_lines(plan: "Plan") -> Iterator[str]:
    """Yield the prefix tree: a line for each stage that runs, the versions that end there behind it."""
    for root in plan.roots:
        yield f"{root.node.stage.inputs[0].name} (preprocessing {root.preprocessing[:SHORT_DIGEST_LENGTH]})"
        yield from _branches((root.node,), "")


def plan_as_json(plan: "Plan") -> Mapping[str, Any]:
    """Return the plan as JSON: the versions, and how many stages run for how many that are listed."""
    return {
        "versions": [
            {
                "head": version.head,
                "number": version.number,
                "digest": version.digest,
                "aliases": dict(version.aliases),
                "stages": [{"name": stage.name, "digest": stage.digest} for stage in version.manifest.stages],
            }
            for version in _ordered(plan)
        ],
        "stages_listed": sum(len(version.manifest.stages) for version in plan.versions),
        "stages_run": sum(1 for root in plan.roots for _ in root.node.walk()),
    }


def _branches(nodes: Sequence["Node"], indent: str) -> Iterator[str]:
    for position, node in enumerate(nodes):
        is_last = position == len(nodes) - 1
        ends = ", ".join(map(str, node.versions))
        yield f"{indent}{'└─' if is_last else '├─'} {node.stage.name}{f'  ⇒ {ends}' if ends else ''}"
        yield from _branches(node.children, indent + ("   " if is_last else "│  "))


def _ordered(plan: "Plan") -> list["ServedVersion"]:
    return sorted(plan.versions, key=lambda version: (version.head, version.number))
