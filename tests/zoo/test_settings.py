from pathlib import Path

import pytest

from zoo.errors import InvalidConfig
from zoo.settings import Setting, load_settings


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    (tmp_path / "hydrazoo.toml").write_text('zoo = "file"\nserver = "file:1"\nblobs_url = "s3://file"\n')
    environ = {"HYDRAZOO_ZOO": "environment", "HYDRAZOO_SERVER": "environment:1", "HYDRAZOO_DATABASE_URL": ""}
    settings = load_settings({"zoo": "flag", "server": ""}, environ, tmp_path)
    assert settings.origins == (
        Setting("zoo", "flag", "flag"),
        Setting("database_url", "", "default"),
        Setting("blobs_url", "s3://file", "hydrazoo.toml"),
        Setting("server", "environment:1", "environment HYDRAZOO_SERVER"),
        Setting("mlflow_uri", "", "default"),
    )
    assert (settings.zoo, settings.server) == ("flag", "environment:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('databse_url = "sqlite://"', "Did you mean 'database_url'"),
        ("zoo = 7", "zoo is 7; expected a string"),
        ("zoo = ", "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hydrazoo.toml").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidConfig, match=message):
        load_settings({}, {}, tmp_path)
