import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from builders import make_case
from sqlalchemy import create_engine

from cloud.case_filter import CaseFilter
from cloud.errors import StoreError
from cloud.schema import HEAD, MIGRATIONS
from cloud.store import CaseStore
from cloud.tables import Base
from protocols.values import Detection, Interpretation

SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))


def file_of(folder, sql):
    connection = sqlite3.connect(folder / "skyloop.sqlite")
    connection.executescript(sql)
    connection.close()


def differences(folder):
    engine = create_engine(f"sqlite:///{folder / 'skyloop.sqlite'}")
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    return found


def columns(folder):
    connection = sqlite3.connect(folder / "skyloop.sqlite")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in names}
    connection.close()
    return found


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_file_of_earlier_schema_becomes_todays_and_keeps_its_rows(tmp_path, path):
    file_of(tmp_path, path.read_text())
    CaseStore(tmp_path).close()
    store = CaseStore(tmp_path)
    assert [craft.name for craft in store.crafts()] == ["uav1"]
    assert [(review.reviewer, review.label) for review in store.reviews()] == [("ann", "debris")]
    assert store.is_forbidden("teacher-1")
    assert [target.order.label for target in store.targets(5.0)] == ["boat"] * (path.stem >= "3")
    store.close()
    assert differences(tmp_path) == []


def test_migrated_file_has_the_columns_of_a_new_one(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    file_of(old, SCHEMAS[0].read_text())
    CaseStore(old).close()
    CaseStore(new).close()
    assert {name: {column[1:4] for column in table} for name, table in columns(old).items()} == {
        name: {column[1:4] for column in table} for name, table in columns(new).items()
    }


def test_head_is_the_newest_revision():
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


def test_file_of_newer_software_is_refused_and_stays_as_it_is(tmp_path):
    CaseStore(tmp_path).close()
    file_of(tmp_path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="schema revision 9999, this software reads up to"):
        CaseStore(tmp_path)
    connection = sqlite3.connect(tmp_path / "skyloop.sqlite")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    connection.close()


def test_migration_that_fails_leaves_the_file_as_it_was(tmp_path):
    # A table of the name that the last revision is to make: its own statement fails after others have succeeded.
    file_of(tmp_path, SCHEMAS[0].read_text() + "CREATE TABLE targets (id INTEGER);")
    before = columns(tmp_path)
    with pytest.raises(StoreError, match="targets already exists"):
        CaseStore(tmp_path)
    assert columns(tmp_path) == before


def test_cases_of_before_stand_in_the_queue_by_worth_and_label(tmp_path):
    car = Detection(box_xyxy=(1, 1, 9, 9), label="Car", score=0.5)
    boat = Detection(box_xyxy=(1, 1, 9, 9), label="b'oat", score=0.5)
    case = make_case(hardness=0.5, detections=(car, car))
    told = Interpretation(
        case_id=case.case_id, detections=(boat,), confidence=0.2, by="teacher", interpreter="t", made_at_s=1.0
    )
    file_of(tmp_path, SCHEMAS[3].read_text())
    connection = sqlite3.connect(tmp_path / "skyloop.sqlite")
    connection.execute(
        "INSERT INTO cases (craft, case_id, payload_sha256, case_json, received_at_s, state, reason, confidence) "
        "VALUES ('uav1', ?, '', ?, 1.0, 'unsure', '', 0.2)",
        (case.case_id, case.model_dump_json()),
    )
    connection.execute(
        "INSERT INTO interpretations (craft, case_id, by, interpretation_json, is_delivered) "
        "VALUES ('uav1', ?, 'teacher', ?, 0)",
        (case.case_id, told.model_dump_json()),
    )
    connection.commit()
    connection.close()
    store = CaseStore(tmp_path)
    for label in ("Car", "b'oat"):
        (place,) = store.queue(CaseFilter(label=label))
        assert place.value == pytest.approx(0.4)
    assert store.case_labels() == ["Car", "b'oat"]
    store.close()
