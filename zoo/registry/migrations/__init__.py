"""The registry's schema, step by step: Alembic revisions, shipped with the package."""
