"""What a pre-trained network is worth on faces and scripts that it never saw."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.pretrain.collection import UNNAMED, Collection
from backbone.pretrain.faces import FACES, HELD_OUT_SCRIPTS
from backbone.pretrain.network import Pretrained
from backbone.pretrain.training import batch_of

__all__ = ["evaluate", "find_by_example"]

_PICTURES = 4000
_ROWS_AT_ONCE = 250


def evaluate(network: Pretrained, collection: Collection, *, seed: int) -> dict[str, dict[str, float]]:
    """Measure a network on freshly distorted pictures of three kinds of glyphs.

    Args:
        network: in eval mode.
        collection: all glyphs.
        seed: of the choice and of the distortions.

    Returns:
        By kind (``seen``, ``held_out_faces``, ``held_out_scripts``): the share of pictures whose name is right
        (``name``), whose four styles are all right (``styles``), and the mean error of the rotation in degrees
        (``tilt_mae_deg``). Nobody taught the names of a held-out script; there, ``found_by_example`` is the share of
        pictures whose nearest example is the right one, given one upright picture of each letter in another face.
    """
    kinds = {
        "seen": collection.for_training(),
        "held_out_faces": collection.of_held_out_faces(),
        "held_out_scripts": collection.of_held_out_scripts(),
    }
    generator = Generator().manual_seed(seed + 1)
    found = {}
    for kind, glyphs in kinds.items():
        chosen = glyphs[torch.randint(len(glyphs), (_PICTURES,), generator=generator)]
        found[kind] = _measured(network, collection, chosen, generator)
    for script in HELD_OUT_SCRIPTS:
        found["held_out_scripts"][f"found_by_example_{script.lower()}"] = find_by_example(
            network, collection, script, generator
        )
    return found


def find_by_example(network: Pretrained, collection: Collection, script: str, generator: Generator) -> float:
    """Return how often a distorted letter in bold is nearest to its own upright picture in the regular face.

    Args:
        network: in eval mode.
        collection: all glyphs.
        script: one of ``HELD_OUT_SCRIPTS``.
        generator: of the distortions.
    """
    examples, asked = _pairs(collection, script)
    upright_N1HW = collection.masks[examples].float().unsqueeze(1) / 255
    size_px = batch_of(collection, examples[:1], generator)[0].shape[-1]
    scaled_N1HW = F.interpolate(upright_N1HW, (size_px, size_px), mode="area")
    images_NCHW = ((1 - scaled_N1HW) * 2 - 1).expand(-1, 3, -1, -1)  # black on white
    with torch.inference_mode():
        known_ND = F.normalize(network.features(images_NCHW), dim=1)
        found_ND = F.normalize(network.features(batch_of(collection, asked, generator)[0]), dim=1)
    nearest_N = (found_ND @ known_ND.T).argmax(dim=1)
    return float((nearest_N == torch.arange(len(asked))).float().mean())


def _pairs(collection: Collection, script: str) -> tuple[Tensor, Tensor]:
    """Return the indices of a script's letters in DejaVu Sans, and of the same letters in its bold face."""
    faces = [face.name for face in FACES]
    rows: dict[tuple[int, int], int] = {
        (int(face), int(code)): row
        for row, (face, code) in enumerate(zip(collection.faces, collection.codes, strict=True))
    }
    regular, bold = faces.index("DejaVuSans"), faces.index("DejaVuSans-Bold")
    codes = [code for first, last in HELD_OUT_SCRIPTS[script] for code in range(first, last + 1)]
    both = [code for code in codes if (regular, code) in rows and (bold, code) in rows]
    return torch.tensor([rows[regular, code] for code in both]), torch.tensor([rows[bold, code] for code in both])


def _measured(network: Pretrained, collection: Collection, chosen: Tensor, generator: Generator) -> dict[str, float]:
    names, styles, errors = [], [], []
    for rows in torch.split(chosen, _ROWS_AT_ONCE):
        images_NCHW, names_N, styles_NS, tilt_N = batch_of(collection, rows, generator)
        with torch.inference_mode():
            told = network(images_NCHW)
        names.append((told.names.argmax(dim=1) == names_N)[names_N != UNNAMED])
        styles.append(((told.styles > 0) == (styles_NS > 0.5)).all(dim=1))
        turn_N = torch.atan2(told.turn[:, 0], told.turn[:, 1]).rad2deg()
        errors.append((turn_N - tilt_N).abs())
    found = {"styles": float(torch.cat(styles).float().mean()), "tilt_mae_deg": float(torch.cat(errors).mean())}
    named = torch.cat(names)
    return {"name": float(named.float().mean()), **found} if len(named) else found
