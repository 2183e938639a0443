"""What the zoo can refuse, on one page. Every error has a stable ``code`` for programs to test.

::

    ZooError
    ├── NotFound           a head, version, alias, backbone, stage or blob that is not there
    ├── Conflict           somebody else moved first, or a name is taken by other content
    ├── Corrupt            stored bytes do not match their digest
    ├── InvalidReference   'intent@@7' and the like
    ├── InvalidLabels      a labels file that does not parse or does not add up
    ├── InvalidConfig      an unknown or ill-typed setting
    ├── InvalidInput       one input that preprocessing refuses
    │   ├── TooLong
    │   └── Undecodable
    ├── ExportFailed       a stage that could not be exported as declared
    └── ParityMissed       an export that answers differently from the torch model
"""

__all__ = [
    "Conflict",
    "Corrupt",
    "ExportFailed",
    "InvalidConfig",
    "InvalidInput",
    "InvalidLabels",
    "InvalidReference",
    "NotFound",
    "ParityMissed",
    "TooLong",
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


class ExportFailed(ZooError):
    """A stage could not be exported, or its export does not have the declared names and axes."""

    code = "zoo.export_failed"


class ParityMissed(ZooError):
    """An export differs from the torch model by more than its tolerance, so it is not published."""

    code = "zoo.parity_missed"
