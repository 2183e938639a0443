"""What the zoo can refuse, on one page. Every error has a stable ``code`` for programs to test.

::

    ZooError
    ├── NotFound           a head, version, alias, backbone, stage or blob that is not there
    ├── Conflict           somebody else moved first, or a name is taken by other content
    ├── Corrupt            stored bytes do not match their digest
    ├── InvalidReference   'intent@@7' and the like
    ├── InvalidManifest    a manifest that does not fit what the zoo holds, or does not add up
    ├── IncompatibleSchema a database or manifest written by another release than this one can read
    ├── Unavailable        a database or object store that cannot be reached or written
    ├── InvalidLabels      a labels file that does not parse or does not add up
    ├── InvalidConfig      an unknown or ill-typed setting
    ├── InvalidInput       one input that preprocessing refuses
    │   ├── TooLong
    │   └── Undecodable
    ├── InvalidOutput      a model's outputs that are no answer
    ├── ExportFailed       a stage that could not be exported as declared
    ├── ParityMissed       an export that answers differently from the torch model
    └── GateMissed         a version below what its head must reach
"""

__all__ = [
    "Conflict",
    "Corrupt",
    "ExportFailed",
    "GateMissed",
    "IncompatibleSchema",
    "InvalidConfig",
    "InvalidInput",
    "InvalidLabels",
    "InvalidManifest",
    "InvalidOutput",
    "InvalidReference",
    "NotFound",
    "ParityMissed",
    "TooLong",
    "Unavailable",
    "Undecodable",
    "ZooError",
]


class ZooError(Exception):
    """The root of everything the zoo raises on purpose; its text is written for the person who reads it."""

    code = "zoo"


class NotFound(ZooError):
    """Nothing has that name or digest; the text names the closest that exists."""

    code = "zoo.not_found"


class Conflict(ZooError):
    """A compare-and-swap lost, or content differs from what is already stored under that name."""

    code = "zoo.conflict"


class Corrupt(ZooError):
    """Stored bytes are missing or differ from their digest."""

    code = "zoo.corrupt"


class InvalidReference(ZooError):
    """A reference that is not ``head``, ``head@number``, ``head@alias`` or ``head@digest``."""

    code = "zoo.invalid_reference"


class InvalidManifest(ZooError):
    """A manifest does not fit the stages, backbone and blobs that the zoo holds; the text says where."""

    code = "zoo.invalid_manifest"


class IncompatibleSchema(ZooError):
    """A database or a manifest has a schema that this release does not know."""

    code = "zoo.incompatible_schema"


class Unavailable(ZooError):
    """The database or the object store cannot be reached or written; another try may succeed."""

    code = "zoo.unavailable"


class InvalidLabels(ZooError):
    """A labels file that does not parse or does not add up; the text names the line."""

    code = "zoo.invalid_labels"


class InvalidConfig(ZooError):
    """A setting that is unknown or has the wrong type; the text names the closest key."""

    code = "zoo.invalid_config"


class InvalidInput(ZooError):
    """One input that does not fit the declared preprocessing."""

    code = "zoo.invalid_input"


class TooLong(InvalidInput):
    """A text of more tokens than the model takes."""

    code = "zoo.too_long"


class Undecodable(InvalidInput):
    """Bytes that are not UTF-8 text or not an image."""

    code = "zoo.undecodable"


class InvalidOutput(ZooError):
    """A model gave a NaN or an infinity where a probability or a value belongs, so there is no answer."""

    code = "zoo.invalid_output"


class ExportFailed(ZooError):
    """A stage could not be exported, or its export does not have the declared names and axes."""

    code = "zoo.export_failed"


class ParityMissed(ZooError):
    """An export differs from the torch model by more than its tolerance, so it is not published."""

    code = "zoo.parity_missed"


class GateMissed(ZooError):
    """A version does not reach the bounds of its head's gate, so it is not published."""

    code = "zoo.gate_missed"
