"""The masks that labels name: read from the zoo when an example is handed out, and checked against head and image."""

from collections.abc import Sequence
from dataclasses import replace

from heads.base.declaration import Head, Segment
from heads.base.errors import InvalidHead
from zoo import Zoo
from zoo.errors import InvalidLabels, Undecodable
from zoo.labels import Example, Labels, MaskRef
from zoo.manifest import ImagePreprocessing, Preprocessing
from zoo.masks import UNLABELLED, Mask
from zoo.preprocessing.mask import load_mask, size_of

__all__ = ["check_painted", "open_masks"]


def open_masks(zoo: Zoo, head: Head, labels: Labels, spec: Preprocessing) -> Labels:
    """Return labels whose examples have the pixels of their masks, as the head sees them; other labels as they are.

    Nothing is read yet: a mask is when its example is handed out.

    Args:
        zoo: where the bytes are.
        head: the declaration.
        labels: of the head.
        spec: how the backbone's inputs are preprocessed.

    Raises:
        InvalidHead: the head labels pixels, and the backbone does not take images.
    """
    if not isinstance(head.task, Segment):
        return labels
    if not isinstance(spec, ImagePreprocessing):
        raise InvalidHead(
            f"{head.name!r} labels the pixels of images; the inputs of {head.backbone!r} are of kind {spec.kind!r}. "
            "Choose an image backbone."
        )
    task = head.task
    return labels.with_opened(lambda example: _opened(zoo, task, labels, spec, example))


def check_painted(head: Head, train: Sequence[Example]) -> None:
    """Refuse a label that no pixel of the train split has: the head would offer an answer that it never learned.

    Args:
        head: the declaration.
        train: its training examples, opened.

    Raises:
        InvalidHead: there is such a label.
    """
    if not isinstance(head.task, Segment):
        return
    painted = {place for each in train if isinstance(each.target, Mask) for place in set(each.target.pixels)}
    for place, name in enumerate(head.task.labels):
        if place not in painted:
            raise InvalidHead(
                f"{head.name!r} declares the label {name!r}, {place} in its masks, and no pixel of the train split has "
                "it. Paint some, or take it out of the declaration."
            )


def _opened(zoo: Zoo, task: Segment, labels: Labels, spec: ImagePreprocessing, example: Example) -> Example:
    assert isinstance(example.target, MaskRef), "a segment head's labels are masks"
    digest = example.target.digest
    if not zoo.blobs.has(digest):
        raise InvalidLabels(
            f"{labels.where(example.id)}: the mask of {example.id!r} is not in the zoo: there is no blob {digest!r}. "
            "`zoo labels put <files>` puts pictures there and prints the digests that lines name; a package with an "
            "images.py makes its own."
        )
    data = zoo.blobs.get(digest)
    try:
        mask, size = load_mask(data, spec), size_of(data)
        if zoo.blobs.has(example.image) and (expected := size_of(zoo.blobs.get(example.image))) != size:
            raise Undecodable(
                f"It has {size[0]} × {size[1]} pixels, and the image {expected[0]} × {expected[1]}: paint one for each."
            )
    except Undecodable as error:
        raise InvalidLabels(f"{labels.where(example.id)}: the mask of {example.id!r} is refused. {error}") from error
    unknown = set(mask.pixels) - {*range(len(task.labels)), UNLABELLED}
    if unknown:
        raise InvalidLabels(
            f"{labels.where(example.id)}: the mask of {example.id!r} has pixels of {min(unknown)}; there are "
            f"{len(task.labels)} labels, 0 to {len(task.labels) - 1}, and {UNLABELLED} is for pixels without one."
        )
    return replace(example, target=mask)
