"""Optuna's own tests of a storage, on the journal that studies are kept in by default.

``python -m pytest tests/long_optuna_storages.py`` runs them on SQLite and, where a server is installed, on PostgreSQL.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

storages = pytest.importorskip("optuna.testing.pytest_storages", reason="Optuna below 5.0 does not ship its tests")

from sb3_isaac.tuning.storage import StorageLost, open_storage  # noqa: E402


@pytest.fixture
def storage(tmp_path: Path) -> Any:
    return open_storage(str(tmp_path / "study.log"))


class TestOfOptuna(storages.StorageTestCase):  # type: ignore[misc,name-defined]
    """As it is shipped."""


def test_a_storage_in_another_process_retries_too(tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    again = pickle.loads(pickle.dumps(open_storage(str(journal), patience_s=0.2)))
    journal.unlink()
    with pytest.raises(StorageLost, match="does not answer \\(No such file"):
        again.get_all_studies()
