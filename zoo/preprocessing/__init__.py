"""Raw input to named tensors: one implementation for training, parity and serving, so that the three cannot differ.

Preprocessing is data: a ``Preprocessing`` record of the manifest and the blobs it names. ``load_preprocessor`` turns
it into a ``Preprocessor``, which makes one ``Row`` out of one raw input (text, the bytes of an image, or ready
tensors) or says why it cannot; ``collate`` makes a batch out of rows. Pillow and tokenizers are imported when the
first preprocessor of their kind is loaded, not before.
"""

from collections.abc import Callable

from zoo.manifest import ImagePreprocessing, Preprocessing, TextPreprocessing
from zoo.preprocessing.batch import collate
from zoo.preprocessing.row import Preprocessor, Row
from zoo.preprocessing.tensor import TensorPreprocessor

__all__ = ["Preprocessor", "Row", "collate", "load_preprocessor"]


def load_preprocessor(spec: Preprocessing, read_blob: Callable[[str], bytes]) -> Preprocessor:
    """Build the preprocessor that a manifest declares.

    Args:
        spec: what the manifest says.
        read_blob: gives the bytes of a blob by its digest; called for a tokenizer, once.

    Raises:
        Corrupt: the tokenizer's bytes are not a tokenizers JSON file.
    """
    if isinstance(spec, TextPreprocessing):
        from zoo.preprocessing.text import TextPreprocessor

        return TextPreprocessor(spec, read_blob(spec.tokenizer))
    if isinstance(spec, ImagePreprocessing):
        from zoo.preprocessing.image import ImagePreprocessor

        return ImagePreprocessor(spec)
    return TensorPreprocessor(spec)
