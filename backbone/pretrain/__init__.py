"""Makes the backbone ``glyphs``: a small ConvNeXt, pre-trained on rendered letters and signs. Synthetic data only.

``python -m backbone.pretrain`` renders the glyphs of the DejaVu faces that matplotlib brings (``collect``), distorts
them anew at every step (``distorted``), trains one network to name the glyph, its style and its rotation
(``pretrain``), and measures it on faces and scripts that it never saw (``evaluate``). Loading the result needs none
of this: ``load_backbone("glyphs")`` reads the folder ``backbone/weights``.
"""

__all__: list[str] = []
