"""A long check, run by hand: studies on PostgreSQL, whose workers are killed and whose server goes away.

    python -m pytest tests/long_tune_database.py

It needs a PostgreSQL server (``apt-get install postgresql``) and takes about a minute.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from optuna.trial import TrialState
from test_tune_workers import check, kill_in_mid_trial, line, plan, there, until

from sb3_isaac.tuning import open_study, tune

TESTS = Path(__file__).parent
"""Where the study's task is, hold_tasks.py."""
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class Server:
    """A PostgreSQL server in a folder of its own, run as an ordinary user."""

    def __init__(self) -> None:
        self.folder, self.bin = Path(tempfile.mkdtemp(prefix="pg")), BINARIES[-1].parent
        # The server refuses to be run by root.
        self._as: Any = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self.folder, "nobody")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "tuner", "-N", "--no-locale", "-E", "UTF8")
        self.start()
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tuner", "study")
        self.url = f"postgresql+psycopg://tuner@127.0.0.1:{self.port}/study"

    def run(self, program: str, *args: str) -> None:
        subprocess.run([str(self.bin / program), *args], check=True, cwd=self.folder, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **self._as)

    def start(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "start", "-o",
                 f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not BINARIES:
        pytest.skip("there is no PostgreSQL server here (apt-get install postgresql)")
    pytest.importorskip("psycopg")
    made = Server()
    yield made
    made.stop()
    shutil.rmtree(made.folder, ignore_errors=True)


def test_two_workers_on_postgresql_and_one_is_killed(server: Server, tmp_path: Path) -> None:
    """The same line given twice, as on two machines; whoever is in the middle of a trial is killed."""
    this = plan(tmp_path, storage=server.url)
    begun = [subprocess.Popen(line(this, "--max-total-trials", "5"), stdout=subprocess.DEVNULL, cwd=TESTS)
             for _ in range(2)]
    study = until(lambda: there(this))
    killed = kill_in_mid_trial(study)
    codes = {worker.pid: worker.wait(timeout=240) for worker in begun}
    assert codes.pop(killed) == -signal.SIGKILL and list(codes.values()) == [0]
    check(study, 5)
    assert sum(t.state == TrialState.FAIL for t in study.trials) == 1


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
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS)
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
