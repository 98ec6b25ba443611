"""After any sequence of operations, the store and a simple model of it agree.

`HYPOTHESIS_PROFILE=thorough` looks longer.
"""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from app.store.db.database import Database
from tests.store.conftest import empty
from tests.store.harness import Store
from tests.store.queue.machine import StoreMachine


def test_the_store_agrees_with_its_model(database: Database) -> None:
    def fresh() -> StoreMachine:
        empty(database)
        return StoreMachine(Store(database))

    run_state_machine_as_test(fresh)
