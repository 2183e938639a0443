"""The pictures of the glyphs head: small letters in many faces. ``python -m heads.glyphs.images`` prints the labels."""

from collections.abc import Iterator
from random import Random

import click

from backbone.pretrain.drawing import Look, draw_picture
from backbone.pretrain.faces import characters_of
from heads.base.images import Drawn, labels_text, png_of
from heads.glyphs.head import LETTERS
from zoo.labels import Split

__all__ = ["drawn", "images"]

_TRAIN_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
)
_VALID_FACES = ("DejaVuSansMono-Oblique", "DejaVuSerif-Italic")
_TEST_FACES = {
    "DejaVuSansMono-BoldOblique": "held_out_face",
    "DejaVuSerif-BoldItalic": "held_out_face",
    "STIXGeneral": "stix",
    "STIXGeneralBol": "stix",
    "cmr10": "computer_modern",
    "cmss10": "computer_modern",
}


def images() -> Iterator[bytes]:
    """Yield every picture that the labels name."""
    return (each.file for each in drawn())


def drawn() -> Iterator[Drawn]:
    """Yield every picture with its line of labels: each letter once in every face that has it."""
    places: list[tuple[Split, str, tuple[str, ...]]] = [
        *(("train", face, ()) for face in _TRAIN_FACES),
        *(("valid", face, ()) for face in _VALID_FACES),
        *(("test", face, (name,)) for face, name in _TEST_FACES.items()),
    ]
    for split, face, slices in places:
        for number, letter in enumerate(LETTERS):
            if letter in characters_of(face):
                name = f"{split}-{face.lower()}-{number:02}"
                file = png_of(draw_picture(letter, face, _look(name)))
                yield Drawn(id=name, split=split, slices=slices, target=("label", letter), file=file)


def _look(name: str) -> Look:
    random = Random(name)  # noqa: S311 - for looks
    ground, ink = random.choice([(255, 0), (230, 40), (20, 220), (170, 30), (90, 235)])
    return Look(
        font_px=random.randint(26, 36),
        tilt_deg=random.randint(-10, 10),
        shift_px=(random.randint(-3, 3), random.randint(-3, 3)),
        ink=(ink, ink, ink),
        ground=(ground, ground, ground),
        noise=random.randint(0, 20),
        seed=random.getrandbits(32),
    )


if __name__ == "__main__":
    click.echo(labels_text(drawn()), nl=False)
