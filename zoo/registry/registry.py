"""The registry: stages, backbones, versions and promotions in one SQL database."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from zoo.errors import Conflict
from zoo.manifest import StageManifest, StageRef, VersionManifest
from zoo.registry import log, readings, tables
from zoo.registry.engine import read, write
from zoo.registry.records import (
    AliasState,
    BackboneRow,
    HeadSummary,
    Live,
    Move,
    NewReading,
    Promotion,
    Reading,
    Version,
)

__all__ = ["Registry"]

T = TypeVar("T")

_WRITE_ATTEMPTS = 20
_VERSION_COLUMNS = (
    tables.version.c.head,
    tables.version.c.number,
    tables.version.c.digest,
    tables.version.c.path_digest,
    tables.version.c.build_key,
    tables.version.c.created_at,
    tables.version.c.created_by,
)


class Registry:
    """Rows that are only ever added, in transactions that happen wholly or not at all.

    It trusts its caller that the blobs which a row names are stored, and that manifests are valid.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def add_stage(self, ref: StageRef, manifest: StageManifest) -> StageRef:
        """Record a stage; one of the same digest that is there already is kept and returned."""

        def work(connection: Connection) -> StageRef:
            if stored := _stage(connection, ref.digest):
                return stored
            row = {**ref.model_dump(), "parameters": manifest.parameters, "created_at": _now()}
            connection.execute(tables.stage.insert().values(row))
            return ref

        return self._write(work)

    def stage(self, digest: str) -> StageRef | None:
        """Return the stage of that digest, if there is one."""
        with read(self.engine) as connection:
            return _stage(connection, digest)

    def stages(self) -> list[StageRef]:
        """Return every stage, by name."""
        query = sa.select(tables.stage).order_by(tables.stage.c.name, tables.stage.c.digest)
        with read(self.engine) as connection:
            return [_stage_ref(row) for row in connection.execute(query).mappings()]

    def add_backbone(self, name: str, digest: str) -> BackboneRow:
        """Record a backbone under the next number of its name; the same digest again returns what is stored."""

        def work(connection: Connection) -> BackboneRow:
            known = {row.digest: row for row in _backbones(connection)}
            if digest in known:
                return known[digest]
            number = 1 + max((row.number for row in known.values() if row.name == name), default=0)
            row = BackboneRow(name, number, digest)
            connection.execute(tables.backbone.insert().values(**row._asdict(), created_at=_now()))
            return row

        return self._write(work)

    def backbones(self) -> list[BackboneRow]:
        """Return every backbone, by name, newest first."""
        with read(self.engine) as connection:
            return _backbones(connection)

    def publish(self, manifest: VersionManifest, digest: str, promote_to: Sequence[str], reason: str) -> Version:
        """Record a version under its head's next number, its stages, and the promotions, in one transaction.

        Raises:
            Conflict: the head belongs to another team.
        """

        def work(connection: Connection) -> Version:
            _check_owner(connection, manifest.head, manifest.team)
            version = _version_by_digest(connection, digest) or _insert_version(connection, manifest, digest)
            standing = {state.alias: state.number for state in log.alias_states(connection, version.head)}
            moves = [
                Move(version.head, alias, version.number)
                for alias in dict.fromkeys(promote_to)
                if standing.get(alias) != version.number
            ]
            log.append(connection, moves, by=manifest.created_by, reason=reason, at=_now())
            return version

        return self._write(work)

    def check_owner(self, head: str, team: str) -> None:
        """Raise Conflict if the head belongs to another team."""
        with read(self.engine) as connection:
            _check_owner(connection, head, team)

    def find_build(self, head: str, build_key: str) -> Version | None:
        """Return the newest version of a head that was built from exactly these ingredients."""
        columns = tables.version.c
        query = (
            sa.select(*_VERSION_COLUMNS)
            .where(columns.head == head, columns.build_key == build_key)
            .order_by(columns.number.desc())
        )
        with read(self.engine) as connection:
            row = connection.execute(query).first()
        return _version(row) if row else None

    def heads(self) -> list[HeadSummary]:
        """Return every head that has a version, by name."""
        columns = tables.version.c
        query = sa.select(columns.head, sa.func.max(columns.number)).group_by(columns.head).order_by(columns.head)
        with read(self.engine) as connection:
            aliases: dict[str, list[AliasState]] = {}
            for head, state in log.newest_entries(connection):
                aliases.setdefault(head, []).append(state)
            return [
                HeadSummary(head, latest, tuple(aliases.get(head, ()))) for head, latest in connection.execute(query)
            ]

    def versions(self, head: str = "") -> list[Version]:
        """Return the versions of a head, or of all heads, newest first."""
        columns = tables.version.c
        query = sa.select(*_VERSION_COLUMNS).order_by(columns.head, columns.number.desc())
        with read(self.engine) as connection:
            return [_version(row) for row in connection.execute(query.where(columns.head == head) if head else query)]

    def version_stages(self, digest: str) -> list[str]:
        """Return the digests of a version's stages in order."""
        columns = tables.version_stage.c
        query = sa.select(columns.stage).where(columns.version == digest).order_by(columns.position)
        with read(self.engine) as connection:
            return list(connection.execute(query).scalars())

    def promote(self, moves: Sequence[Move], *, by: str, reason: str) -> list[Promotion]:
        """Move several aliases in one transaction, each only if it stands where its move expects it."""
        return self._write(lambda connection: log.append(connection, moves, by=by, reason=reason, at=_now()))

    def rollback(self, head: str, alias: str, *, by: str, reason: str) -> Promotion:
        """Make the alias mean what it meant before: version, canary and shadows."""
        return self._write(lambda connection: log.roll_back(connection, head, alias, by=by, reason=reason, at=_now()))

    def promotions(self, head: str, alias: str = "") -> list[Promotion]:
        """Return the promotions of a head, or of one of its aliases, newest first."""
        with read(self.engine) as connection:
            return log.entries(connection, head, alias)

    def promotions_after(self, promotion_id: int) -> list[Promotion]:
        """Return every promotion with a greater id, oldest first; ids appear in the order of their commits."""
        with read(self.engine) as connection:
            return log.entries_after(connection, promotion_id)

    def dangling_promotions(self) -> list[tuple[str, str, int, int]]:
        """Return (head, alias, epoch, number) of the promotions whose version does not exist; there should be none."""
        with read(self.engine) as connection:
            return log.dangling(connection)

    def live(self) -> list[Live]:
        """Return what every alias means now."""
        with read(self.engine) as connection:
            states = log.newest_entries(connection)
            rows = connection.execute(sa.select(*_VERSION_COLUMNS))
            versions = {(row.head, row.number): _version(row) for row in rows}
        return [_live(head, state, versions) for head, state in states]

    def newest_promotion(self) -> int:
        """Return the id of the newest promotion, 0 if there is none: cheap to ask again and again."""
        with read(self.engine) as connection:
            return log.newest_id(connection)

    def add_reading(self, new: NewReading) -> Reading:
        """Log that the labels of a test split are read."""
        return self._write(lambda connection: readings.append(connection, new, at=_now()))

    def readings(self, head: str, test_split: str = "") -> list[Reading]:
        """Return the readings of a head's test splits, or of one of them, newest first."""
        with read(self.engine) as connection:
            return readings.entries(connection, head, test_split)

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one transaction, and again if another writer took the same number or epoch meanwhile."""
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                with write(self.engine) as connection:
                    return work(connection)
            except IntegrityError as error:
                refused = error
                time.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311 - spreads writers, keeps no secret
        raise Conflict(
            f"Others wrote to the registry first, {_WRITE_ATTEMPTS} times in a row; nothing was changed."
        ) from refused


def _live(head: str, state: AliasState, versions: Mapping[tuple[str, int], Version]) -> Live:
    return Live(
        version=versions[head, state.number],
        alias=state.alias,
        epoch=state.epoch,
        canary=versions[head, state.canary] if state.canary else None,
        canary_percent=state.canary_percent,
        shadows=tuple(versions[head, number] for number in state.shadows),
    )


def _check_owner(connection: Connection, head: str, team: str) -> None:
    """Callers ask for a head by its name alone, so nobody else may make the name mean another model."""
    columns = tables.version.c
    query = sa.select(columns.team).where(columns.head == head).order_by(columns.number.desc()).limit(1)
    owner = connection.execute(query).scalar()
    if owner is not None and owner != team:
        raise Conflict(
            f"The head {head!r} belongs to team {owner!r}; team {team!r} cannot publish a version of it. "
            "Give your head another name in its head.py."
        )


def _insert_version(connection: Connection, manifest: VersionManifest, digest: str) -> Version:
    columns = tables.version.c
    newest = connection.execute(sa.select(sa.func.max(columns.number)).where(columns.head == manifest.head)).scalar()
    version = Version(
        head=manifest.head,
        number=1 + (newest or 0),
        digest=digest,
        path_digest=manifest.path,
        build_key=manifest.build_key,
        created_at=manifest.created_at,
        created_by=manifest.created_by,
    )
    values = {column.name: getattr(version, column.name) for column in _VERSION_COLUMNS}
    connection.execute(tables.version.insert().values(**values, team=manifest.team, backbone=manifest.backbone))
    connection.execute(
        tables.version_stage.insert(),
        [
            {"version": digest, "position": position, "stage": ref.digest}
            for position, ref in enumerate(manifest.stages)
        ],
    )
    return version


def _version_by_digest(connection: Connection, digest: str) -> Version | None:
    row = connection.execute(sa.select(*_VERSION_COLUMNS).where(tables.version.c.digest == digest)).first()
    return _version(row) if row else None


def _version(row: Sequence[Any]) -> Version:
    return Version(*row)


def _stage(connection: Connection, digest: str) -> StageRef | None:
    row = connection.execute(sa.select(tables.stage).where(tables.stage.c.digest == digest)).mappings().first()
    return _stage_ref(row) if row else None


def _stage_ref(row: RowMapping) -> StageRef:
    return StageRef(name=row["name"], digest=row["digest"], manifest=row["manifest"])


def _backbones(connection: Connection) -> list[BackboneRow]:
    columns = tables.backbone.c
    query = sa.select(columns.name, columns.number, columns.digest).order_by(columns.name, columns.number.desc())
    return [BackboneRow(*row) for row in connection.execute(query)]


def _now() -> datetime:
    return datetime.now(UTC)
