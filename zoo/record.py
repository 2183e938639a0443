"""What every manifest is made of: frozen values with one encoding."""

from pydantic import BaseModel, ConfigDict

from zoo.digest import canonical_json, digest_bytes

__all__ = ["Record"]


class Record(BaseModel):
    """A frozen value that refuses unknown keys and has one canonical encoding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """Return the canonical JSON of this record."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def content_digest(self) -> str:
        """Return the digest of the canonical JSON of this record."""
        return digest_bytes(self.to_json())
