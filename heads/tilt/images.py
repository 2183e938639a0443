"""The pictures of the tilt head: letters, turned. ``python -m heads.tilt.images`` prints the labels."""

from collections.abc import Iterator
from random import Random

import click

from backbone.pretrain.drawing import Look, draw_picture
from heads.base.images import Drawn, labels_text, png_of
from heads.tilt.head import LARGEST_DEG
from zoo.labels import Split

__all__ = ["drawn", "images"]

_UPRIGHT_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
)
_LETTERS = "ABDEFGHJKLMNPQRTUYabdefghkmnpqrtuy234567"
_OTHER_LETTERS = "VWCjvwcßÆЖЯΩΨ"
_TIMES: dict[Split, int] = {"train": 8, "valid": 2, "test": 2}


def images() -> Iterator[bytes]:
    """Yield every picture that the labels name."""
    return (each.file for each in drawn())


def drawn() -> Iterator[Drawn]:
    """Yield every picture with its line of labels: every letter some times, each time in another face and tilt."""
    for split, times in _TIMES.items():
        for time in range(times):
            for letter in _LETTERS:
                yield _drawn(split, letter, time, _UPRIGHT_FACES, "")
    for time in range(4):
        for letter in _OTHER_LETTERS:
            yield _drawn("test", letter, time, _UPRIGHT_FACES, "unseen_letter")
    for letter in _LETTERS:
        yield _drawn("test", letter, 0, ("STIXGeneral",), "stix")


def _drawn(split: Split, letter: str, time: int, faces: tuple[str, ...], slice_name: str) -> Drawn:
    name = f"{split}-{slice_name or 'plain'}-{ord(letter):04x}-{time}"
    random = Random(name)  # noqa: S311 - for looks
    tilt_deg = random.randint(-10 * LARGEST_DEG, 10 * LARGEST_DEG) / 10
    ground, ink = random.choice([(255, 0), (230, 40), (20, 220), (170, 30)])
    look = Look(
        font_px=random.randint(26, 34),
        tilt_deg=tilt_deg,
        shift_px=(random.randint(-2, 2), random.randint(-2, 2)),
        ink=(ink, ink, ink),
        ground=(ground, ground, ground),
        noise=random.randint(0, 15),
        seed=random.getrandbits(32),
    )
    file = png_of(draw_picture(letter, random.choice(faces), look))
    slices = (slice_name,) if slice_name else ()
    return Drawn(id=name, split=split, slices=slices, target=("value", tilt_deg), file=file)


if __name__ == "__main__":
    click.echo(labels_text(drawn()), nl=False)
