"""A long check: Optuna's own tests of a storage, on SQLite and, where a server is installed, on PostgreSQL.

``python -m pytest tests/long_optuna_storages.py``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import optuna
import pytest
from long_tune_database import BINARIES, Server
from optuna.testing import pytest_storages

from sb3_isaac.tuning.storage import open_storage


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    made = Server() if BINARIES else None
    yield made
    if made is not None:
        made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: Any, server: Any, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        return open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    if server is None:
        pytest.skip("there is no PostgreSQL server here")
    made: Any = open_storage(server.url)
    for study in made.get_all_studies():  # they are told to begin without any
        optuna.delete_study(study_name=study.study_name, storage=made)
    return made


class TestOfOptuna(pytest_storages.StorageTestCase):
    """As it is shipped."""
