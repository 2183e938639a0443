"""Settings: flag, then environment, then ``./hydrazoo.toml``, then default; and where each value came from."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import InvalidConfig
from zoo.suggest import did_you_mean

__all__ = ["CONFIG_FILE", "DEFAULTS", "Setting", "Settings", "load_settings"]

CONFIG_FILE = "hydrazoo.toml"

DEFAULTS: Mapping[str, str] = {
    "zoo": ".zoo",
    "database_url": "",
    "blobs_url": "",
    "server": "localhost:8701",
    "mlflow_uri": "",
}
"""Every setting, and what it is if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and where it came from: 'flag', 'environment HYDRAZOO_ZOO', 'hydrazoo.toml' or 'default'."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one run.

    Attributes:
        zoo: the zoo's folder.
        database_url: SQLAlchemy URL of the registry; empty for a SQLite file in the folder.
        blobs_url: object store URL of the blobs; empty for files in the folder.
        server: host and port of the prediction server.
        mlflow_uri: the MLflow server that trainings are logged to; empty for none.
        origins: every setting with where it came from, in a fixed order.
    """

    zoo: str
    database_url: str
    blobs_url: str
    server: str
    mlflow_uri: str
    origins: tuple[Setting, ...]


def load_settings(
    flags: Mapping[str, str] = {}, environ: Mapping[str, str] = os.environ, folder: Path = Path()
) -> Settings:
    """Gather the settings; an empty flag or environment variable counts as not given.

    Args:
        flags: what the command line gave, by key.
        environ: the environment; ``HYDRAZOO_ZOO`` and so on are read.
        folder: where ``hydrazoo.toml`` is looked for.

    Raises:
        InvalidConfig: the file does not parse, has an unknown key, or a value that is no string.

    >>> settings = load_settings({"zoo": "mine"}, {"HYDRAZOO_SERVER": "gpu:8701"}, Path("/nowhere"))
    >>> settings.zoo, settings.server, settings.origins[3].origin
    ('mine', 'gpu:8701', 'environment HYDRAZOO_SERVER')
    """
    file = folder / CONFIG_FILE
    from_file = _read_file(file)
    found = tuple(_pick(key, flags, environ, from_file) for key in DEFAULTS)
    return Settings(**{setting.key: setting.value for setting in found}, origins=found)


def _pick(key: str, flags: Mapping[str, str], environ: Mapping[str, str], from_file: Mapping[str, str]) -> Setting:
    variable = f"HYDRAZOO_{key.upper()}"
    if flags.get(key):
        return Setting(key, flags[key], "flag")
    if environ.get(variable):
        return Setting(key, environ[variable], f"environment {variable}")
    if key in from_file:
        return Setting(key, from_file[key], CONFIG_FILE)
    return Setting(key, DEFAULTS[key], "default")


def _read_file(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f'{file} is not TOML: {error}. Expected lines such as zoo = ".zoo".') from error
    for key, value in values.items():
        if key not in DEFAULTS:
            raise InvalidConfig(f"{file} has the unknown setting {key!r}.{did_you_mean(key, DEFAULTS)}")
        if not isinstance(value, str):
            raise InvalidConfig(f"{file}: {key} is {value!r}; expected a string in quotes.")
    return values
