"""A plan for people to read: what is served, and what of it is shared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.digest import SHORT_DIGEST_LENGTH

if TYPE_CHECKING:
    from serving.plan import AliasTarget, LoadFailure, Node, Plan, ServedVersion

__all__ = ["changes", "failure_line", "idle_shadows", "plan_as_json", "tree_lines", "version_rows"]


def version_rows(plan: "Plan") -> list[tuple[str, ...]]:
    """Return a table row for each version: its name, aliases, short digest and stages."""
    return [
        (
            str(version),
            ", ".join(_roles(plan, version)),
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
                "precision": version.precision,
                "stages": [{"name": stage.name, "digest": stage.digest} for stage in version.manifest.stages],
            }
            for version in _ordered(plan)
        ],
        "aliases": [
            {
                "head": target.head,
                "alias": target.alias,
                "epoch": target.epoch,
                "number": target.live.number,
                "canary": target.canary.number if target.canary else 0,
                "canary_percent": target.canary_percent,
                "shadows": [shadow.number for shadow in target.shadows],
            }
            for target in plan.targets
        ],
        "stages_listed": sum(len(version.manifest.stages) for version in plan.versions),
        "stages_run": sum(1 for root in plan.roots for _ in root.node.walk()),
    }


def changes(before: "Plan", after: "Plan") -> Iterator[str]:
    """Yield what the aliases mean now that they did not mean before, a line for each."""
    meant = {(target.head, target.alias): _meaning(target) for target in before.targets}
    for target in after.targets:
        if meant.get((target.head, target.alias)) != _meaning(target):
            yield f"{target.head}@{target.alias} is {_meaning(target)}"


def failure_line(failure: "LoadFailure", plan: "Plan", retry_s: float) -> str:
    """Return what to tell of a version that is promoted and not served: which, why, what is instead, what to do."""
    standing = [target for target in plan.targets if (target.head, target.alias) == (failure.head, failure.alias)]
    instead = f"there it is {_meaning(standing[0])} as before" if standing else "nothing answers there"
    return (
        f"{failure.head}@{failure.number}, promoted to {failure.alias}, is not served: {failure.cause} So {instead}. "
        f"`zoo verify` finds damaged bytes; promote another version, or `zoo rollback {failure.head} {failure.alias}`. "
        f"It is tried again every {retry_s:g} s."
    )


def idle_shadows(plan: "Plan") -> Iterator[str]:
    """Yield a line for each shadow that never runs, because it would cost more than its head."""
    for target in plan.targets:
        for shadow in target.shadows:
            if not plan.share_a_root(target.live, shadow):
                yield (
                    f"{shadow} is a shadow of {target.head}@{target.alias} and does not run: it begins with another "
                    f"preprocessing or first stage than {target.live}, so it would cost a body of its own. Compare the "
                    f"two with `zoo show`; promote it with --canary, or to an alias of its own."
                )


def _meaning(target: "AliasTarget") -> str:
    canary = f", {target.canary_percent} % on {target.canary.number}" if target.canary else ""
    shadows = ", ".join(str(shadow.number) for shadow in target.shadows)
    return f"{target.live} (epoch {target.epoch}){canary}{f', in the shadow {shadows}' if shadows else ''}"


def _roles(plan: "Plan", version: "ServedVersion") -> Iterator[str]:
    for target in plan.targets:
        if target.live is version:
            yield f"{target.alias} (epoch {target.epoch})"
        elif target.canary is version:
            yield f"{target.alias} ({target.canary_percent} %)"
        elif version in target.shadows:
            yield f"{target.alias} (shadow)"


def _branches(nodes: Sequence["Node"], indent: str) -> Iterator[str]:
    for position, node in enumerate(nodes):
        is_last = position == len(nodes) - 1
        ends = ", ".join(map(str, node.versions))
        yield f"{indent}{'└─' if is_last else '├─'} {node.stage.name}{_form(node)}{f'  ⇒ {ends}' if ends else ''}"
        yield from _branches(node.children, indent + ("   " if is_last else "│  "))


def _form(node: "Node") -> str:
    """Return what a stage computes in, where that is not fp32: the end of the name of its executable."""
    form = node.executable.rpartition("/")[2]
    return f" ({form.removeprefix('onnx-')})" if form.startswith("onnx-") else ""


def _ordered(plan: "Plan") -> list["ServedVersion"]:
    return sorted(plan.versions, key=lambda version: (version.head, version.number))
