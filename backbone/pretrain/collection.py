"""Every glyph that pre-training knows of, rendered once, with what is to be told of it."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backbone.pretrain.drawing import draw_glyph
from backbone.pretrain.faces import FACES, Face, is_held_out, letters_of

__all__ = ["CANVAS_PX", "UNNAMED", "Collection", "collect"]

CANVAS_PX = 48
_FONT_PX = 30
_LEAST_INK = 250
"""Sum of ink below which a glyph is taken for a space; a full stop has some 3,000."""
_LEAST_FACES = 8
"""In how many faces a shape has to be for its name to be taught: a name of one face says nothing about shapes."""

UNNAMED = -1
"""The class of a glyph that has no name to be learned.

Its script is held out, hardly any face has it, or it is a variant of another (é of e), of which there are thousands.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Rendered glyphs.

    Attributes:
        masks: (N, H, W) ink, uint8, 0 to 255.
        classes: (N,) class of each glyph, int64, or ``UNNAMED``.
        styles: (N, S) which of ``STYLES`` apply, float32, 0 or 1.
        faces: (N,) index into ``FACES``, int64.
        codes: (N,) code point, int64.
        in_held_out_face: (N,) bool.
        in_held_out_script: (N,) bool.
        class_count: how many classes there are.
    """

    masks: Tensor
    classes: Tensor
    styles: Tensor
    faces: Tensor
    codes: Tensor
    in_held_out_face: Tensor
    in_held_out_script: Tensor
    class_count: int

    def for_training(self) -> Tensor:
        """Return the indices of the glyphs that training may see."""
        seen_N = ~self.in_held_out_face & ~self.in_held_out_script & (self.classes != UNNAMED)
        return seen_N.nonzero().flatten()

    def of_held_out_faces(self) -> Tensor:
        """Return the indices of glyphs of unseen faces whose names were taught."""
        chosen_N = self.in_held_out_face & ~self.in_held_out_script & (self.classes != UNNAMED)
        return chosen_N.nonzero().flatten()

    def of_held_out_scripts(self) -> Tensor:
        """Return the indices of glyphs of unseen scripts, in faces that were seen."""
        return (self.in_held_out_script & ~self.in_held_out_face).nonzero().flatten()


def collect(
    faces: Sequence[Face] = FACES,
    *,
    characters: Callable[[str], Sequence[str]] = letters_of,
    on_face: Callable[[int, int], None] = lambda _done, _total: None,
) -> Collection:
    """Render the letters and digits of some faces.

    Characters whose glyphs look the same in the first face that has them (A, Α and А) share one name.

    Args:
        faces: what to render; names are given in their order.
        characters: which characters of a face to render.
        on_face: told how many faces of how many are done.
    """
    masks, styles, numbers, codes = [], [], [], []
    for number, face in enumerate(faces):
        on_face(number, len(faces))
        for character in characters(face.name):
            ink_HW = draw_glyph(character, face.name, canvas_px=CANVAS_PX, font_px=_FONT_PX)
            if int(ink_HW.sum()) >= _LEAST_INK:
                masks.append(ink_HW)
                styles.append(face.styles())
                numbers.append(number)
                codes.append(ord(character))
    held_out_face = [faces[number].held_out for number in numbers]
    held_out_script = [is_held_out(chr(code)) for code in codes]
    unseen = [face or script for face, script in zip(held_out_face, held_out_script, strict=True)]
    names, count = _names(masks, codes, unseen)
    return Collection(
        masks=torch.from_numpy(np.stack(masks)),
        classes=torch.tensor(names),
        styles=torch.tensor(styles, dtype=torch.float32),
        faces=torch.tensor(numbers),
        codes=torch.tensor(codes),
        in_held_out_face=torch.tensor(held_out_face),
        in_held_out_script=torch.tensor(held_out_script),
        class_count=count,
    )


def _names(masks: Sequence[np.ndarray], codes: Sequence[int], unseen: Sequence[bool]) -> tuple[list[int], int]:
    """Return each glyph's class, and how many there are."""
    shape_of_code: dict[int, bytes] = {}
    faces_of_shape: dict[bytes, int] = {}
    for mask, code, hidden in zip(masks, codes, unseen, strict=True):
        if not hidden and not unicodedata.decomposition(chr(code)):
            shape = shape_of_code.setdefault(code, mask.tobytes())
            faces_of_shape[shape] = faces_of_shape.get(shape, 0) + 1
    taught = [shape for shape, faces in faces_of_shape.items() if faces >= _LEAST_FACES]
    numbers = {shape: number for number, shape in enumerate(taught)}
    return [numbers.get(shape_of_code.get(code, b""), UNNAMED) for code in codes], len(taught)
