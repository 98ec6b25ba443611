"""Migration to the current schema, once with any number of processes; and never backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from app.core.assignment import Deference
from app.core.generation_settings import LoraChoice
from app.core.needs import Needs
from app.errors import DatabaseTooNew
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.db.schema import metadata
from app.store.media.filters import GalleryQuery
from app.store.media.lineage import LineageStore
from app.store.media.selections import SelectionStore
from tests.store.harness import Store, an_output


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Opens connections to the same database, which has no tables yet."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/a folder/#odd names%/queue.db"
    else:
        url = request.getfixturevalue("postgres_url")
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database(url))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def test_from_nothing_to_working(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    store.submit()
    store.complete(store.claim())
    migrate(database)
    assert sum(store.jobs.counts().values()) == 1


def test_many_processes_starting_together_migrate_once(fresh: Callable[[], Database]) -> None:
    databases = [fresh() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, databases))
    for database in databases:
        Store(database).submit()


def test_a_newer_database_is_refused_and_left_alone(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    with pytest.raises(DatabaseTooNew, match="from_the_future") as refused:
        migrate(database)
    assert "newer" in str(refused.value)
    with database.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "from_the_future"


def test_the_migrations_build_exactly_the_schema(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_partial_index_is_built_as_it_is_declared(fresh: Callable[[], Database]) -> None:
    """The comparison above ignores the WHERE of an index and the direction of its columns."""
    database = fresh()
    migrate(database)
    declared = {
        index.name: str(index.dialect_options[database.engine.dialect.name].get("where"))
        for table in metadata.sorted_tables
        for index in table.indexes
    }
    on_sqlite, on_postgresql = "SELECT name, sql FROM sqlite_master", "SELECT indexname, indexdef FROM pg_indexes"
    catalogue = on_sqlite if database.is_sqlite else on_postgresql
    with database.read() as connection:
        built = dict(connection.execute(text(catalogue)).all())
    for name, where in declared.items():
        assert ("WHERE" in built[name]) == (where != "None"), name
        for status in ("PENDING", "PROCESSING"):
            assert (f"'{status}'" in built[name]) == (status in where), name
    assert "priority DESC" in built["ix_jobs_line"]
    assert "priority DESC" in built["ix_jobs_model_line"]


def take_back_capabilities(connection: Connection) -> None:
    """What migration 0034 added, and what came later."""
    connection.execute(text("DROP TABLE login_failures"))
    connection.execute(text("DROP INDEX ix_jobs_classes"))
    connection.execute(text("ALTER TABLE jobs DROP COLUMN needs"))
    connection.execute(text("ALTER TABLE workers DROP COLUMN capabilities"))
    connection.execute(text("DROP TABLE worker_capabilities"))


def take_back_batches(connection: Connection) -> None:
    """What migration 0033 added, and what came later."""
    take_back_capabilities(connection)
    on_sqlite = connection.dialect.name == "sqlite"
    for trigger in ("inserted", "moved", "deleted"):
        connection.execute(text(f"DROP TRIGGER tally_batch_{trigger}" + ("" if on_sqlite else " ON jobs")))
        if not on_sqlite:
            connection.execute(text(f"DROP FUNCTION tally_batch_{trigger}()"))
    connection.execute(text("DROP INDEX ix_jobs_batch"))
    for column in ("batch_id", "batch_place"):
        connection.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
    for table in ("batches", "batch_tallies"):
        connection.execute(text(f"DROP TABLE {table}"))


def take_back_the_bin(connection: Connection) -> None:
    """What migration 0032 added, and what came later."""
    take_back_batches(connection)
    on_sqlite = connection.dialect.name == "sqlite"
    for trigger in ("deleted", "leaves", "enters"):
        connection.execute(text(f"DROP TRIGGER tally_output_{trigger}" + ("" if on_sqlite else " ON outputs")))
        if not on_sqlite:
            connection.execute(text(f"DROP FUNCTION tally_output_{trigger}()"))
    for index in metadata.tables["outputs"].indexes:
        connection.execute(text(f"DROP INDEX {index.name}"))
    for column in ("deleted_at", "deletion_id"):
        connection.execute(text(f"ALTER TABLE outputs DROP COLUMN {column}"))
    connection.execute(text("DROP TABLE output_tags"))


def test_old_jobs_are_claimed_by_their_model(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    with_lora, plain = store.submit("flux", loras=(LoraChoice(id="style"),)), store.submit("sdxl")
    with database.write() as connection:
        take_back_capabilities(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0033'"))
    migrate(database)

    def judge(needs: Needs) -> Deference | None:
        assert not needs.loras, "nothing was said of them"
        return "none" if needs.model == "flux" else None

    claim = store.claims.claim("w1", judge=judge)
    assert claim is not None
    assert claim.job_id == with_lora.id
    assert store.claims.claim("w1", judge=judge) is None
    assert store.claim("w2").job_id == plain.id


def test_old_jobs_are_of_no_batch_and_new_ones_are_counted(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    old = store.submit()
    with database.write() as connection:
        take_back_batches(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0032'"))
    migrate(database)
    assert store.jobs.get(old.id).batch_id is None
    batch_id = store.submit_batch("demo", "demo")
    assert store.batches.get(batch_id).open == 2


def test_old_pictures_are_in_the_gallery_and_can_be_deleted(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    for _ in range(3):
        store.submit()
        store.complete(store.claim())
    with database.write() as connection:
        take_back_the_bin(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0029'"))
    migrate(database)
    page = store.outputs.page(GalleryQuery())
    assert len(page) == 3
    SelectionStore(database).move_to_bin([page[0].id], None, "d" * 32)
    store.outputs.remove(page[1].id)
    assert store.outputs.totals() == {"count": 1, "bytes": 1000}
    assert store.outputs.bin_totals() == {"count": 1, "bytes": 1000}


def test_old_pictures_can_be_searched_for_as_well(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    store.submit(prompt="ÜBER den Wolken")
    store.complete(store.claim())
    with database.write() as connection:
        take_back_the_bin(connection)
        connection.execute(text("DROP VIEW jobs_readable"))
        connection.execute(text("ALTER TABLE outputs DROP COLUMN search_text"))
        for later in (
            "jobs DROP COLUMN interruptions",
            "jobs DROP COLUMN traceparent",
            "webhook_deliveries DROP COLUMN traceparent",
            "workers DROP COLUMN device_id",
            "workers DROP COLUMN device_error",
            "predictions DROP COLUMN ended_at",
            "model_orders DROP COLUMN lora",
        ):
            connection.execute(text(f"ALTER TABLE {later}"))
        for table in (
            "output_sources",
            "device_faults",
            "worker_deaths",
            "memory_plans",
            "device_refusals",
            "spending",
        ):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0018'"))
    migrate(database)
    assert len(store.outputs.page(GalleryQuery(search="wolken über"))) == 1


def test_old_pictures_know_what_they_were_made_from(fresh: Callable[[], Database]) -> None:
    database = fresh()
    migrate(database)
    store = Store(database)
    manifests = [
        {"task": "img2img", "inputs": {"image": {"image_id": "a" * 32}, "mask": {"image_id": "b" * 32}}},
        {"task": "inpaint", "inputs": {"image": {"image_id": "a" * 32, "extend": {"left": 8}}}},
        {"task": "txt2img", "inputs": {}, "rerun_of": "c" * 32},
        {"task": "img2img", "inputs": {"image": {"sha256": "0" * 64}}},
        {},
    ]
    made = []
    for manifest in manifests:
        store.submit()
        claim = store.claim()
        output = an_output(claim.job_id, manifest=manifest)
        store.complete(claim, output)
        made.append(output.id)
    with database.write() as connection:
        take_back_the_bin(connection)
        connection.execute(text("DROP TABLE output_sources"))
        connection.execute(text("ALTER TABLE jobs DROP COLUMN traceparent"))
        connection.execute(text("ALTER TABLE webhook_deliveries DROP COLUMN traceparent"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0027'"))
    migrate(database)
    found = LineageStore(database).sources(made)
    assert [[(each.image_id[0], each.how) for each in found.get(one, ())] for one in made] == [
        [("a", "img2img")],
        [("a", "extend")],
        [("c", "rerun")],
        [],
        [],
    ]
