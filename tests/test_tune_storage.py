"""Storages: heartbeats in a journal, full disks, and sentences for those that cannot be used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import optuna
import pytest
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tuning import Plan
from sb3_isaac.tuning.passwords import hidden_in, shown
from sb3_isaac.tuning.results import check_folder, write_meta
from sb3_isaac.tuning.storage import MAX_RETRIES, RUNNER, StorageLost, StorageRetry, open_storage, retry

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning",
                                        "ignore:Heartbeat of storage:UserWarning")


def test_private_names_stay_in_one_file_with_an_upper_bound() -> None:
    """Optuna's private names may change with its next major version."""
    root = Path(__file__).parents[1]
    users = {file.name for file in (root / "sb3_isaac").rglob("*.py")
             if re.search(r"import _|\._(heartbeat|file|trial_id|storage)\b", file.read_text(encoding="utf-8"))
             and "optuna" in file.read_text(encoding="utf-8")}
    assert users == {"storage.py"}
    bounds = re.findall(r"^    optuna(\S*)$", (root / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    assert bounds and set(bounds) == {">=5.0,<6"}


def study_in(storage: Any) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def abandon(study: optuna.Study, storage: Any, seconds_ago: float, journal: Path) -> int:
    """A trial that a worker began, drew a value of, and was killed in."""
    trial = study.ask()
    trial.set_user_attr(RUNNER, "gone")
    trial.suggest_float("x", 0.0, 1.0)
    storage.record_heartbeat(trial._trial_id)
    beat = Path(f"{journal}.beats") / str(trial._trial_id)
    os.utime(beat, (time.time() - seconds_ago,) * 2)
    return trial.number


def test_a_journal_knows_who_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    storage = open_storage(str(path), heartbeat_s=10)
    study = study_in(storage)
    dead, alive = abandon(study, storage, 21.0, path), abandon(study, storage, 19.0, path)
    fail_stale_trials(study)
    trials = study.trials
    assert [trials[i].state for i in (dead, alive)] == [TrialState.FAIL, TrialState.RUNNING]
    assert len(trials) == 3 and trials[2].state == TrialState.WAITING
    again = study.ask()
    assert again.number == 2 and again.suggest_float("x", 0.0, 1.0) == trials[dead].params["x"]
    assert again.user_attrs == {"retry of": dead, "retries": 1}


def test_a_trial_is_retried_so_often_and_no_more(tmp_path: Path) -> None:
    study = optuna.create_study()
    for expected in (*range(1, MAX_RETRIES + 1), None):
        trial = study.ask()
        trial.set_user_attr(RUNNER, "gone")
        assert trial.user_attrs.get("retries", 0) == (expected or MAX_RETRIES + 1) - 1
        study.tell(trial, state=TrialState.FAIL)
        retry(study, study.trials[-1])
        assert (study.trials[-1].state == TrialState.WAITING) == (expected is not None)
    retry(study, study.trials[-1], counts=False)
    assert study.trials[-1].state == TrialState.WAITING, "what a person interrupted always waits"


@pytest.mark.parametrize("name", ["study.log", "sqlite:///study.db"])
def test_a_trial_without_a_first_heartbeat_is_dead_too(name: str, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_in(open_storage(name, heartbeat_s=1))
    study.ask()
    fail_stale_trials(study)
    assert study.trials[0].state == TrialState.RUNNING
    time.sleep(2.2)
    fail_stale_trials(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_cut_off_entry_is_taken_away_by_the_next_writer(tmp_path: Path) -> None:
    """A worker that is killed while it writes leaves half a line."""
    path = tmp_path / "study.log"
    study = study_in(open_storage(str(path)))
    study.tell(study.ask(), 1.0)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_')
    study.tell(study.ask(), 2.0)
    assert [t.value for t in study_in(open_storage(str(path))).trials] == [1.0, 2.0]
    assert all(json.loads(line) for line in path.read_text().splitlines())


FULL = """
import resource, sys
from sb3_isaac.tuning.storage import open_storage, StorageLost
import optuna
storage = open_storage(sys.argv[1], patience_s=0.3)
study = optuna.create_study(storage=storage, study_name="s")
study.tell(study.ask(), 1.0)
import os
# A disk that is full in the middle of the next entry.
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 20,) * 2)
try:
    study.tell(study.ask(), 2.0)
except StorageLost as error:
    print(error)
"""


def test_a_full_disk_leaves_a_journal_that_reads(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    run = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert "does not answer (File too large)" in run.stdout and "same line again" in run.stdout
    study = study_in(open_storage(str(path)))
    study.tell(study.ask(), 3.0)
    assert [t.value for t in study.trials] == [1.0, 3.0]


def test_retries_outlast_a_short_outage_and_ends() -> None:
    calls: List[float] = []

    def answers_at_the_third(value: int) -> int:
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise OSError(28, "No space left on device")
        return value

    assert StorageRetry(10.0, "x").wrap(answers_at_the_third)(7) == 7 and len(calls) == 3

    def never() -> None:
        raise optuna.exceptions.StorageInternalError("x") from OSError(5, "Input/output error")

    retries = StorageRetry(0.4, "x")
    for seconds in (1.0, 0.1):  # it is spent once
        start = time.monotonic()
        with pytest.raises(StorageLost, match="x does not answer \\(Input/output error\\)"):
            retries.wrap(never)()
        assert time.monotonic() - start < seconds
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        StorageRetry(9.0, "x").wrap(lambda: (_ for _ in ()).throw(optuna.exceptions.DuplicatedStudyError()))()


@pytest.mark.parametrize(("name", "words"), [
    ("study.txt", ["study.txt", ".log", "sqlite:///"]),
    ("nowhere/study.log", ["nowhere/study.log", "No such file"]),
    ("sqlite:////nowhere/study.db", ["sqlite:////nowhere/study.db", "unable to open"]),
    ("postgresql+psycopg://me:secret@127.0.0.1:1/x", ["me:***@127.0.0.1:1/x", "cannot be reached"]),
    ("postgresql+nothing://127.0.0.1/x", ["nothing", "cannot be reached"]),
    ("notes.log", ["notes.log", "not a journal"]),
])
def test_a_storage_that_cannot_be_used_is_one_sentence(name: str, words: List[str], tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.log").write_text("dear diary\nit rained\n")
    with pytest.raises(UserError) as error:
        open_storage(name)
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


# ---- journals that something else has written in

def study_of_three(path: Path) -> optuna.Study:
    study = study_in(open_storage(str(path), heartbeat_s=1))
    for value in (1.0, 2.0, 3.0):
        study.tell(study.ask(), value)
    return study


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"  \t\n", b"\n\n\n"])
@pytest.mark.parametrize("where", ["front", "middle", "end"])
def test_blank_lines_of_a_journal_are_passed_over(blank: bytes, where: str, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    running = study_of_three(path)
    lines = path.read_bytes().splitlines(keepends=True)
    at = {"front": 0, "middle": len(lines) // 2, "end": len(lines)}[where]
    if at < len(lines):  # a journal that a worker has open grows at its end alone
        path.write_bytes(b"".join([*lines[:at], blank, *lines[at:]]))
        running = study_in(open_storage(str(path)))
    else:
        with path.open("ab") as file:
            file.write(blank)
    running.tell(running.ask(), 4.0)
    for study in (running, study_in(open_storage(str(path)))):
        assert [t.value for t in study.trials] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("garbage", [
    b'{"op_code": 5}{{"x"\n', b'{"op_code": 5}\n', b"hello\n", b"\x00\x00\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n",
    b"null\n", b"[1]\n", b'{"op_code": "5", "worker_id": "x"}\n', b'{"op_code": 77, "worker_id": "x"}\n',
    b'{"op_code": 5, "worker_id": "x"}\n'])
def test_a_garbage_line_of_a_journal_is_named(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    running = study_of_three(path)
    with path.open("ab") as file:
        file.write(garbage)
    entries = path.read_bytes().count(b"\n")
    for use in (lambda: running.trials, lambda: open_storage(str(path))):
        with pytest.raises(UserError) as error:
            use()
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        assert f"line {entries} of " in str(error.value)
    path.write_bytes(path.read_bytes()[:-len(garbage)])
    assert [t.value for t in study_in(open_storage(str(path))).trials] == [1.0, 2.0, 3.0]


def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.log"
    for text in ("one line without an end", "two\nlines\n", "<html>"):
        path.write_text(text)
        with pytest.raises(UserError, match="is not a journal"):
            open_storage(str(path))
        assert path.read_text() == text
    os.mkfifo(tmp_path / "fifo.log")
    (tmp_path / "folder.log").mkdir()
    for name in ("fifo.log", "folder.log"):
        with pytest.raises(UserError, match="is not a journal"):
            open_storage(str(tmp_path / name))


def test_a_trial_without_a_heartbeat_file_is_dead_when_it_is_old(tmp_path: Path) -> None:
    """As in a journal that was copied to another machine, and in one whose last line, the end of a trial, is lost."""
    path = tmp_path / "study.log"
    storage = open_storage(str(path), heartbeat_s=1)
    study = study_in(storage)
    dead = abandon(study, storage, 0.0, path)
    shutil.rmtree(f"{path}.beats")
    fail_stale_trials(study)
    assert study.trials[dead].state == TrialState.RUNNING, "it may have begun a moment ago"
    time.sleep(2.2)
    fail_stale_trials(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    storage.record_heartbeat(study.ask()._trial_id)
    assert Path(f"{path}.beats").is_dir(), "the folder is made again"


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "/abs", "a/b", "a\\b", "a\nb", "a\0b", "\udcff", "x" * 201])
def test_a_study_has_the_name_of_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="study_name") as error:
        Plan(study_name=name, log_folder=str(tmp_path))
    assert "\n" not in str(error.value)
    for good in ("걷기-1", "coração", "a b", "-x", "<b>", "100%", "." + "x" * 199, None):
        assert Plan(study_name=good, log_folder=str(tmp_path)).folder.parent == tmp_path / "tuning"


@pytest.mark.parametrize("max_falls", [float("nan"), float("inf"), -0.1, 1.5, True, "0.1"])
def test_a_share_of_falls_is_from_0_to_1(max_falls: Any) -> None:
    with pytest.raises(UserError, match="max_falls"):
        Plan(max_falls=max_falls)


PASSWORDS = ["geheim", "pw@in", "zl/wxyz", "zq?ery&x", "ümläut", 'quo"te', "per%40cent", "back\\slash", "xz:wvq"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("url", [
    "postgresql+psycopg://user:{}@host:5432/db", "mysql://user:{}@host/db?charset=utf8",
    "postgresql://host/db?password={}",
    "postgresql://user@host/db?sslmode=require&password={}", "x://u:{}@[::1", "p://u:{}@host:notaport/x",
    "postgresql://host/db?pass%77ord={}&x=1", "postgresql://u:{}@h/d?sslpassword=other"])
def test_a_password_is_shown_nowhere(url: str, password: str) -> None:
    given = url.format(password)
    visible = shown(given)
    for part in re.split(r"[@/?&:]", password):
        assert len(part) < 2 or part not in visible.replace("postgresql", "").replace("charset=utf8", ""), visible
    assert visible.startswith(given.partition("://")[0] + "://") and "***" in visible
    argv = ["tune", "--storage", given, f"--storage={given}"]
    text = json.dumps(hidden_in({"plan": {"storage": given}, "argv": argv}, given))
    assert password not in text and json.dumps(password)[1:-1] not in text


def test_a_url_without_a_password_stays_as_it_is() -> None:
    for url in ("sqlite:///study.db", "postgresql://user@host/db", "study.log", "postgresql://host/db?sslmode=require"):
        assert shown(url) == url


def test_a_message_of_the_driver_does_not_repeat_the_password() -> None:
    for url in ("postgresql+psycopg://u:geheim@127.0.0.1:notaport/x", "postgresql://u:geheim@[::1", "://u:geheim@x",
                "nosuch://u:geheim@h/x", "sqlite:////nowhere/x.db?password=geheim"):
        with pytest.raises(UserError) as error:
            open_storage(url, patience_s=0.0)
        assert "geheim" not in str(error.value) and error.value.__cause__ is None


def test_the_results_of_a_study_in_another_storage_stay(tmp_path: Path) -> None:
    """Not so where the folder was moved, or the database's host is called otherwise."""
    first = Plan(env="IsaacDoublePendulum-v0", log_folder=str(tmp_path / "a"))
    first.folder.mkdir(parents=True)
    check_folder(first)
    write_meta(first, first.config())
    (tmp_path / "a").rename(tmp_path / "b")
    moved = replace(first, log_folder=str(tmp_path / "b"))
    check_folder(moved)
    with pytest.raises(UserError, match=r"results of the study in study.log, and this one is in x.db"):
        check_folder(replace(moved, storage="sqlite:///x.db"))
    write_meta(replace(moved, storage="postgresql://me:secret@here/studies?sslmode=off"), first.config())
    check_folder(replace(moved, storage="postgresql://me:secret@there/studies"))
    assert "secret" not in (moved.folder / "meta.json").read_text()
