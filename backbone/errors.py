"""What loading a backbone can refuse, on one page. Every error has a stable ``code`` for programs to test.

::

    BackboneError
    ├── UnknownSource      not 'minilm', 'glyphs', 'hf:…' or 'timm:…', or nothing is there under that name
    ├── UnsupportedModel   a real model that no adapter here takes apart
    ├── IncompleteModel    a model whose weights or tokenizer are missing or do not fit its configuration
    └── InvalidSplit       split points that are not rising block indices of this model
"""

__all__ = ["BackboneError", "IncompleteModel", "InvalidSplit", "UnknownSource", "UnsupportedModel"]


class BackboneError(Exception):
    """The root of everything that loading a backbone raises on purpose; its text is for the person who reads it."""

    code = "backbone"


class UnknownSource(BackboneError):
    """The source is not written as one of the known kinds, or leads to nothing."""

    code = "backbone.unknown_source"


class UnsupportedModel(BackboneError):
    """The model loads, but no adapter knows how to cut it; the text lists what is supported."""

    code = "backbone.unsupported_model"


class IncompleteModel(BackboneError):
    """Weights or the tokenizer are missing; running the model would give random answers."""

    code = "backbone.incomplete_model"


class InvalidSplit(BackboneError):
    """Split points must rise, and lie between the first block and the last."""

    code = "backbone.invalid_split"
