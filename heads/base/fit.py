"""Whether a declaration fits what it is combined with: its labels, its backbone and its recipe."""

from collections import Counter
from collections.abc import Sequence
from typing import cast

from heads.base.declaration import Embed, Head, Regress, Segment
from heads.base.errors import InvalidHead, InvalidRecipe
from heads.base.recipe import READ_BY, Augmentation, Recipe
from zoo import Backbone
from zoo.labels import Labels, labels_in
from zoo.manifest import Preprocessing, StageManifest, StageRef
from zoo.suggest import did_you_mean

__all__ = ["attached_stages", "check_labels", "check_noise", "check_read", "count_shared"]

_MOVING: frozenset[Augmentation] = frozenset(
    {
        "RandomAffine",
        "RandomHorizontalFlip",
        "RandomPerspective",
        "RandomResizedCrop",
        "RandomRotation",
        "RandomVerticalFlip",
    }
)
"""Transforms after which a pixel is elsewhere."""


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
    _check_slices(head, labels)
    if isinstance(head.task, Embed):
        _check_alike(head, labels)
    elif not isinstance(head.task, Segment):  # a mask's labels are known once it is read
        _check_names(head, labels)
        _check_learnable(head, labels)
    if isinstance(head.task, Regress):
        _check_range(head.task, labels)


def _check_names(head: Head, labels: Labels) -> None:
    for name in sorted(labels.label_names() - set(head.task.labels)):
        example = labels.example_with(name)
        raise InvalidHead(
            f"{labels.where(example)}: {example!r} has the label {name!r}, which {head.name!r} does not "
            f"declare.{did_you_mean(name, head.task.labels)}"
        )


def _check_alike(head: Head, labels: Labels) -> None:
    """Refuse splits of which nothing can be learned or measured: vectors need their like, and something unlike."""
    known = labels.for_training()
    for split, examples in (("train", known.train), ("valid", known.valid), ("test", labels.for_gate())):
        counts = Counter(example.target for example in examples)
        if len(counts) < 2 or max(counts.values()) < 2:
            raise InvalidHead(
                f"The {split} split of {labels.path} has {len(counts)} labels, of at most {max(counts.values())} "
                f"examples each; {head.name!r} tells apart by at least 2 labels, and draws together by at least 2 "
                "examples of one. Write some."
            )


def _check_learnable(head: Head, labels: Labels) -> None:
    """Refuse a label that nothing or one example is trained on: nobody could say what such an answer stands for."""
    learned = Counter(name for example in labels.for_training().train for name in labels_in(example.target))
    for name in head.task.labels:
        if learned[name] == 1:
            only = next(each.id for each in labels.for_training().train if name in labels_in(each.target))
            raise InvalidHead(
                f"{head.name!r} declares the label {name!r}, which has one training example, {labels.where(only)}; a "
                "head would learn it by heart. Write more, or take the label out of the declaration and that line."
            )
        if not learned[name]:
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
                f"{labels.where(example.id)}: {example.id!r} has the value {value}; the head declares "
                f"{task.low} to {task.high}."
            )


def attached_stages(head: Head, backbone: Backbone) -> tuple[StageRef, ...]:
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


def count_shared(head: Head, stages: Sequence[StageManifest]) -> int:
    """Return how many of the stages that a head builds on stay shared: those before the first block that it trains.

    Args:
        head: the declaration.
        stages: manifests of the stages up to the one that it is attached to.

    Raises:
        InvalidHead: there are fewer blocks than its tail counts.
    """
    if head.tail is None:
        return len(stages)
    ends = [int(stage.architecture["blocks"][1]) for stage in stages]
    if head.tail.blocks == "all":
        return 0
    if head.tail.blocks > ends[-1]:
        raise InvalidHead(
            f"The tail of {head.name!r} counts {head.tail.blocks} blocks; {head.backbone!r} has {ends[-1]} up to the "
            "stage that it is attached to. Count fewer, or train them and the embeddings with blocks='all'."
        )
    return sum(end <= ends[-1] - head.tail.blocks for end in ends)


def check_read(head: Head, recipe: Recipe) -> None:
    """Check that a recipe sets nothing that heads of this kind do not read: it would change nothing, and nobody know.

    Raises:
        InvalidRecipe: it does.
    """
    for key, kinds in READ_BY.items():
        found = getattr(recipe, key)
        if head.task.kind not in kinds and found != Recipe.model_fields[key].default:
            raise InvalidRecipe(
                f"The recipe has {key} = {str(found).lower()}, which the {head.task.kind} head {head.name!r} does not "
                f"read; heads of the kinds {', '.join(kinds)} do. Take it out."
            )


def check_noise(head: Head, recipe: Recipe, spec: Preprocessing, *, shared: int) -> None:
    """Check that a recipe changes training inputs only where a head sees them.

    Args:
        head: the declaration.
        recipe: of the head.
        spec: how inputs are preprocessed.
        shared: how many stages are left as they are; what comes out of them was computed once.

    Raises:
        InvalidRecipe: it does not.
    """
    asked = {"token_dropout": ("text", recipe.token_dropout > 0), "augment": ("image", bool(recipe.augment))}
    for key, kind in ((key, kind) for key, (kind, wanted) in asked.items() if wanted):
        if spec.kind != kind:
            raise InvalidRecipe(
                f"The recipe of {head.name!r} has {key}, which changes inputs of kind {kind!r}; those of "
                f"{head.backbone!r} are of kind {spec.kind!r}. Take it out."
            )
        if shared:
            raise InvalidRecipe(
                f"The recipe of {head.name!r} has {key}, which changes the inputs of the first stage; the first "
                f"{shared} stages of {head.backbone!r} are shared, and what they give is computed once for all epochs. "
                "Take it out, or declare a tail that begins with the first stage, such as Tail(blocks='all')."
            )
    moving = [name for name in recipe.augment if name in _MOVING]
    if moving and isinstance(head.task, Segment):
        raise InvalidRecipe(
            f"The recipe of {head.name!r} has {', '.join(moving)} in augment, which would move an image's pixels away "
            "from the labels in its mask. A segment head takes what changes colours: take it out."
        )
