"""A long check, run by hand: a study whose database is lost in the middle of a trial and comes back.

    python -m pytest tests/long_tune_database.py

It needs a PostgreSQL server (``apt-get install postgresql``) and takes about half a minute.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from optuna.trial import TrialState
from test_tune_workers import Server, check, plan, server, there, until

from sb3_isaac.tuning import open_study, tune

__all__ = ["server"]


LOST = """
import sys
from sb3_isaac.tuning import tune
from test_tune_workers import Path, plan
from sb3_isaac.contract.errors import UserError
try:
    tune(plan(Path(sys.argv[1]), storage=sys.argv[2], study_name="lost", max_total_trials=3, patience_s=1.0))
except UserError as error:
    print(error)
"""


def test_a_database_that_is_lost_and_comes_back(server: Server, tmp_path: Path) -> None:
    """The worker says so and ends; nothing that was finished is lost; the same line goes on."""
    command = [sys.executable, "-c", LOST, str(tmp_path), server.url]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    this = plan(tmp_path, storage=server.url, study_name="lost", max_total_trials=3, patience_s=20.0)
    study = until(lambda: there(this))
    until(lambda: any(t.state == TrialState.COMPLETE for t in study.get_trials(deepcopy=False)))
    server.stop()
    said, _ = worker.communicate(timeout=120)
    server.start()
    assert "does not answer" in said and "same line again" in said
    study = open_study(this)
    finished = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert finished
    tune(this)
    check(study, 3)
    assert study.trials[finished[0].number].value == finished[0].value
