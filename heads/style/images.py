"""The pictures of the style head: letters in twelve faces. ``python -m heads.style.images`` prints the labels."""

from collections.abc import Iterator
from random import Random

import click

from backbone.pretrain.drawing import Look, draw_picture
from backbone.pretrain.faces import FACES, Face
from heads.base.images import Drawn, labels_text, png_of
from heads.style.head import STYLES
from zoo.labels import Split

__all__ = ["drawn", "images"]

_CHARACTERS: dict[Split, str] = {
    "train": "abdefghkmnpqrstuyABDEGHKMNPQRS",
    "valid": "cvFJTUZ3",
    "test": "jlwzCLVWXY",
}
_ARMENIAN = "ԲԳԴԵԸԽՀՁ"


def images() -> Iterator[bytes]:
    """Yield every picture that the labels name."""
    return (each.file for each in drawn())


def drawn() -> Iterator[Drawn]:
    """Yield every picture with its line of labels; the held-out faces and the Armenian letters are for the test."""
    faces = [face for face in FACES if not face.name.endswith("Display")]
    for split, characters in _CHARACTERS.items():
        for face in faces:
            if split == "test" or not face.held_out:
                for character in characters:
                    yield _drawn(split, face, character, ("held_out_face",) if face.held_out else ())
    for face in faces:
        for character in _ARMENIAN:
            slices = ("held_out_face", "unseen_script") if face.held_out else ("unseen_script",)
            yield _drawn("test", face, character, slices)


def _drawn(split: Split, face: Face, character: str, slices: tuple[str, ...]) -> Drawn:
    name = f"{split}-{face.name.lower()}-{ord(character):04x}"
    applies = dict(zip(STYLES, (face.bold, face.italic, face.mono), strict=True))
    return Drawn(
        id=name,
        split=split,
        slices=slices,
        target=("labels", [style for style in STYLES if applies[style]]),
        file=png_of(draw_picture(character, face.name, _look(name))),
    )


def _look(name: str) -> Look:
    random = Random(name)  # noqa: S311 - for looks
    ground, ink = random.choice([(255, 0), (235, 30), (15, 225), (200, 20)])
    return Look(
        font_px=random.randint(28, 36),
        shift_px=(random.randint(-2, 2), random.randint(-2, 2)),
        ink=(ink, ink, ink),
        ground=(ground, ground, ground),
        noise=random.randint(0, 12),
        seed=random.getrandbits(32),
    )


if __name__ == "__main__":
    click.echo(labels_text(drawn()), nl=False)
