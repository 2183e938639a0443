"""Distortions, drawn anew for every glyph at every step: what a picture of a letter may look like.

Each is a plain function of a batch and a generator: the same seed gives the same pictures.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

__all__ = ["LARGEST_TILT_DEG", "distorted", "on_backgrounds", "rotated", "with_thickness"]

LARGEST_TILT_DEG = 45.0
_SCALES = (0.8, 1.5)
_LARGEST_SHIFT = 0.12
_LARGEST_WARP = 0.08
_LEAST_CONTRAST = 0.25


def distorted(masks_NHW: Tensor, size_px: int, generator: Generator, *, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return pictures of glyphs as a network is shown them, and how far each was turned.

    Args:
        masks_NHW: ink, uint8, 0 to 255.
        size_px: width and height of the pictures.
        generator: where all randomness comes from.
        strength: how far they are distorted, 0 to 1; colours are random in any case.

    Returns:
        images_NCHW: float32, (N, 3, size_px, size_px), values between -1 and 1.
        tilt_N: degrees, positive is counter-clockwise.
    """
    ink_N1HW = masks_NHW.float().unsqueeze(1) / 255
    tilt_N = (_uniform(len(ink_N1HW), generator) * 2 - 1) * LARGEST_TILT_DEG * strength
    ink_N1HW = rotated(with_thickness(ink_N1HW, generator, strength), tilt_N, size_px, generator, strength)
    images_NCHW = on_backgrounds(ink_N1HW, generator, strength)
    images_NCHW = _coarse(_blurred(images_NCHW, generator, strength), generator, strength)
    noise = (
        torch.randn(images_NCHW.shape, generator=generator)
        * _uniform(len(images_NCHW), generator)[:, None, None, None].square()
        * (0.10 * strength)
    )
    return ((images_NCHW + noise).clamp(0, 1) - 0.5) / 0.5, tilt_N


def with_thickness(ink_N1HW: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Make strokes thicker (one in five), thinner (one in ten), or leave them."""
    draw_N111 = _uniform(len(ink_N1HW), generator)[:, None, None, None]
    thicker = F.max_pool2d(ink_N1HW, 3, stride=1, padding=1)
    thinner = -F.max_pool2d(-ink_N1HW, 2, stride=1, padding=1)[..., :-1, :-1]
    # A hairline would vanish: what is left is then the middle between both.
    return torch.where(
        draw_N111 < 0.2 * strength,
        thicker,
        torch.where(draw_N111 > 1 - 0.1 * strength, (ink_N1HW + thinner) / 2, ink_N1HW),
    )


def rotated(ink_N1HW: Tensor, tilt_N: Tensor, size_px: int, generator: Generator, strength: float = 1.0) -> Tensor:
    """Turn, scale, shift and warp; the canvas of the ink becomes one of ``size_px``."""
    count = len(ink_N1HW)
    low, high = _SCALES
    scale_N = (low * (high / low) ** _uniform(count, generator)) ** strength
    stretch_N = 1.2 ** ((_uniform(count, generator) * 2 - 1) * strength)
    shift_N2 = (torch.rand(count, 2, generator=generator) * 2 - 1) * (_LARGEST_SHIFT * strength)
    angle_N = tilt_N * (math.pi / 180)
    # Maps a place in the result to the place in the glyph that it shows, so it undoes the turn and the scale.
    cos_N, sin_N = angle_N.cos() / scale_N, angle_N.sin() / scale_N
    rows = [
        torch.stack((cos_N * stretch_N, -sin_N * stretch_N, shift_N2[:, 0]), dim=1),
        torch.stack((sin_N / stretch_N, cos_N / stretch_N, shift_N2[:, 1]), dim=1),
    ]
    grid_NHW2 = F.affine_grid(torch.stack(rows, dim=1), [count, 1, size_px, size_px], align_corners=False)
    strength_N = _uniform(count, generator).square()[:, None, None, None] * (_LARGEST_WARP * strength)
    coarse_N2HW = torch.randn(count, 2, 4, 4, generator=generator) * strength_N
    warp_N2HW = F.interpolate(coarse_N2HW, (size_px, size_px), mode="bicubic", align_corners=True)
    grid_NHW2 = grid_NHW2 + warp_N2HW.permute(0, 2, 3, 1)
    return F.grid_sample(ink_N1HW, grid_NHW2, mode="bilinear", padding_mode="zeros", align_corners=False)


def on_backgrounds(ink_N1HW: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Paint glyphs in random colours on random grounds: plain, shaded or cluttered. Light on dark is as likely."""
    count, _, size_px, _ = ink_N1HW.shape
    ground_NC = torch.rand(count, 3, generator=generator)
    glyph_NC = torch.rand(count, 3, generator=generator)
    grey_N1 = (_uniform(count, generator) < 0.5)[:, None]
    ground_NC = torch.where(grey_N1, ground_NC[:, :1], ground_NC)
    glyph_NC = torch.where(grey_N1, glyph_NC[:, :1], glyph_NC)
    # Too close to be told apart: the glyph goes to whichever end is farther away.
    close_N1 = (glyph_NC - ground_NC).abs().mean(dim=1, keepdim=True) < _LEAST_CONTRAST
    glyph_NC = torch.where(close_N1, (ground_NC < 0.5).float(), glyph_NC)
    clutter = (_uniform(count, generator) - 0.6).clamp(min=0)[:, None, None, None] * strength
    cells = torch.rand(count, 3, 5, 5, generator=generator) - 0.5
    shade_NCHW = F.interpolate(cells, (size_px, size_px), mode="bicubic", align_corners=True) * clutter
    grounds_NCHW = ground_NC[:, :, None, None] + shade_NCHW
    return grounds_NCHW * (1 - ink_N1HW) + glyph_NC[:, :, None, None] * ink_N1HW


def _blurred(images_NCHW: Tensor, generator: Generator, strength: float) -> Tensor:
    """Blur one in five by the binomial filter (1, 2, 1), twice."""
    kernel = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])).expand(3, 1, 3, 3) / 16
    chosen = (_uniform(len(images_NCHW), generator) < 0.2 * strength).nonzero().flatten()
    some_NCHW = images_NCHW[chosen]
    for _ in range(2):
        some_NCHW = F.conv2d(F.pad(some_NCHW, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return images_NCHW.index_copy(0, chosen, some_NCHW)


def _coarse(images_NCHW: Tensor, generator: Generator, strength: float) -> Tensor:
    """Show one in five with few pixels, as a small picture that was enlarged."""
    chosen = (_uniform(len(images_NCHW), generator) < 0.2 * strength).nonzero().flatten()
    size_px = images_NCHW.shape[-1]
    few_px = int(torch.randint(size_px // 5, size_px // 2, (), generator=generator))
    some_NCHW = F.interpolate(images_NCHW[chosen], (few_px, few_px), mode="area")
    some_NCHW = F.interpolate(some_NCHW, (size_px, size_px), mode="bilinear", align_corners=False)
    return images_NCHW.index_copy(0, chosen, some_NCHW)


def _uniform(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator)
