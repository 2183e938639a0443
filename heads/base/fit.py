"""Whether a declaration fits what it is combined with: its labels, and its backbone."""

from typing import cast

from heads.base.declaration import Head, Regress
from heads.base.errors import InvalidHead
from zoo import Backbone
from zoo.labels import Labels, labels_in
from zoo.manifest import StageRef
from zoo.suggest import did_you_mean

__all__ = ["check_labels", "shared_stages"]


def check_labels(head: Head, labels: Labels) -> None:
    """Check that a labels file is of the head's kind, with its labels and within its range.

    Raises:
        InvalidHead: it is not.
    """
    wrong = labels.kinds() - {head.task.target}
    if wrong:
        raise InvalidHead(
            f"{labels.path} has targets {', '.join(sorted(wrong))}; the {head.task.kind} head {head.name!r} "
            f"takes {head.task.target!r}. Change the head's task, or the labels."
        )
    for name in sorted(labels.label_names() - set(head.task.labels)):
        raise InvalidHead(
            f"{labels.path}: {labels.example_with(name)!r} has the label {name!r}, which {head.name!r} does not "
            f"declare.{did_you_mean(name, head.task.labels)}"
        )
    _check_learnable(head, labels)
    _check_slices(head, labels)
    if isinstance(head.task, Regress):
        _check_range(head.task, labels)


def _check_learnable(head: Head, labels: Labels) -> None:
    """Refuse a label that nothing is trained on: the head would offer an answer that it never learned."""
    learned = {name for example in labels.for_training().train for name in labels_in(example.target)}
    for name in head.task.labels:
        if name not in learned:
            raise InvalidHead(
                f"{head.name!r} declares the label {name!r}, and no training example has it in {labels.path}. "
                "Write some, or take it out of the declaration."
            )


def _check_slices(head: Head, labels: Labels) -> None:
    """Refuse a gate on a slice that is not there; without this it would be found after the training."""
    slices = labels.gated_slices()
    for bound in head.gate.bounds:
        where = bound.rpartition("/")[0]
        if where and where not in slices:
            raise InvalidHead(
                f"The gate of {head.name!r} bounds {bound!r}, but no test example is in the slice {where!r}."
                f"{did_you_mean(where, slices)}"
            )


def _check_range(task: Regress, labels: Labels) -> None:
    known = labels.for_training()
    for example in (*known.train, *known.valid, *labels.for_gate()):
        value = cast("float", example.target)
        if not task.low <= value <= task.high:
            raise InvalidHead(
                f"{labels.path}: {example.id!r} has the value {value}; the head declares {task.low} to {task.high}."
            )


def shared_stages(head: Head, backbone: Backbone) -> tuple[StageRef, ...]:
    """Return the leading stages of the backbone that a head builds on.

    Raises:
        InvalidHead: the backbone has no such stage.
    """
    stages = backbone.manifest.stages
    if head.attach == "last":
        return stages
    if head.attach >= len(stages):
        raise InvalidHead(
            f"{head.name!r} is attached to stage {head.attach} of {backbone}, which has stages 0 to {len(stages) - 1}: "
            f"{', '.join(stage.name for stage in stages)}. Choose one of these, or 'last'."
        )
    return stages[: head.attach + 1]
