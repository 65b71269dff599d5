"""Where a study is kept: a journal file or a database, with retries after an outage and heartbeats of the workers.

This is the only file that uses private names of Optuna (``_heartbeat``, ``_file``, ``_trial_id``,
``_get_stale_trial_ids``), which is why setup.cfg asks for ``optuna>=5.0,<6``, the releases that the tests run with.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Generator, List, Optional, Tuple, Type

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import get_lock_file
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tuning.passwords import shown, without_password

OUTAGES: Tuple[Type[Exception], ...] = (OSError, optuna.exceptions.StorageInternalError,
                                        sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
MAX_RETRIES = 3
RUNNER = "runner"
"""User attribute of a trial: the call of tune that runs it. It is absent where the worker died before setting it."""
RETRY_OF, RETRIES = "retry of", "retries"
_FIRST_BYTES = (b"", b"{", b"\n", b"\r", b"\t", b" ", b"\0")
"""What a journal may begin with: an entry, blank lines, or the zeros that a power cut leaves."""


class StorageLost(UserError):
    """The storage did not come back while the worker waited, or is damaged."""


def reason_of(error: BaseException) -> str:
    """What an outage says, in one line."""
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", None) or getattr(cause, "strerror", None) or cause).strip().split("\n")[0]


_RETRIED = {*BaseStorage.__abstractmethods__, "_get_trials", "_create_new_trial", "_set_trial_param",
            "_get_stale_trial_ids", "get_best_trial"}


class StorageRetry:
    """Retries the methods of a storage while it does not answer.

    :param seconds: how long, in all outages together.
    :param name: of the storage, for the error.
    """

    def __init__(self, seconds: float, name: str) -> None:
        self._left_s, self._name = seconds, name

    def wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`method`, repeated until the storage answers; StorageLost when the time is over."""
        @functools.wraps(method)
        def retried(*args: Any, **kwargs: Any) -> Any:
            """The method's call, again after each failure and twice as long a pause, for so many seconds in all."""
            start, pause_s = time.monotonic(), 0.1
            while True:
                try:
                    return method(*args, **kwargs)
                except OUTAGES as error:
                    waited_s = time.monotonic() - start
                    if waited_s + pause_s > self._left_s:
                        self._left_s = 0.0  # later calls, such as that for the trial's end, are made once
                        raise StorageLost(
                            f"the storage {self._name} does not answer ({reason_of(error)}), and retries did not "
                            "help: what it holds is safe, so free disk space or start it again, and give the same "
                            "line again.") from error
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, 5.0)
        return retried

    def install(self, storage: Any) -> None:
        """Wrap each method by which Optuna reads or writes `storage`."""
        storage.retries = self
        for name in _RETRIED:
            if hasattr(storage, name):
                setattr(storage, name, self.wrap(getattr(storage, name)))
        beat = self.wrap(storage.record_heartbeat)

        def record_heartbeat(trial_id: int) -> None:
            # It runs in a thread of its own; the worker's main thread finds the storage lost and says so.
            with contextlib.suppress(StorageLost):
                beat(trial_id)

        storage.record_heartbeat = record_heartbeat


class _WithRetries:
    """A storage that is pickled without the wrappers of its methods, and has them again in the other process."""

    retries: Optional[StorageRetry] = None

    def __getstate__(self) -> Dict[str, Any]:
        state: Any = super().__getstate__()
        return {key: value for key, value in state.items() if key not in _RETRIED and key != "record_heartbeat"}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if self.retries is not None:
            self.retries.install(self)


def find_storage_lost(error: Optional[BaseException]) -> Optional[StorageLost]:
    """The StorageLost that caused `error`, else None. Optuna may hide it behind an error of its own."""
    while error is not None and not isinstance(error, StorageLost):
        error = error.__cause__ or error.__context__
    return error


def retry(study: optuna.Study, trial: FrozenTrial, counts: bool = True) -> None:
    """Put a trial whose worker has died at the end of the queue, with its values; at most ``MAX_RETRIES`` times.

    (Optuna's own callback also copies what the pruner noted, which belongs to the first attempt.)

    :param counts: whether this is one of those times; False where a person interrupted the worker.
    """
    retries = int(trial.user_attrs.get(RETRIES, 0)) + counts
    if retries <= MAX_RETRIES:
        drawn = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(drawn, user_attrs={RETRY_OF: trial.number, RETRIES: retries})


def _is_older(trial: FrozenTrial, seconds: float) -> bool:
    """Whether a trial began longer ago than that; its time is naive and local, or aware, by storage and release."""
    start = trial.datetime_start
    return start is not None and datetime.now(start.tzinfo) - start > timedelta(seconds=seconds)


def _orphans(storage: BaseStorage, study_id: int, grace_s: float) -> List[int]:
    """Running trials whose worker died before it set the user attribute ``RUNNER``."""
    running = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
    return [trial._trial_id for trial in running if RUNNER not in trial.user_attrs and _is_older(trial, grace_s)]


class Database(_WithRetries, RDBStorage):
    """Optuna's RDBStorage; trials that never had a heartbeat count as stale too."""

    def _get_stale_trial_ids(self, study_id: int) -> List[int]:
        orphans = _orphans(self, study_id, 2.0 * (self.heartbeat_interval or 0))
        return list(dict.fromkeys([*super()._get_stale_trial_ids(study_id), *orphans]))


class JournalFile(JournalFileBackend):
    """Optuna's journal file, which stays readable after a full disk or a killed writer.

    An entry is a line. The rest of an incomplete one would join the next entry and make the journal unreadable, so it
    is removed: at once where writing failed, by the next writer where the process was killed. Blank lines are passed
    over. A line that is something else may stand in the place of an entry, and then what follows would be taken for
    what it is not: a sentence names it.
    """

    def __init__(self, path: str) -> None:
        if os.path.exists(path):
            if not os.path.isfile(path):
                raise ValueError
            with open(path, "rb") as file:
                if file.read(1) not in _FIRST_BYTES:  # or the next writer would remove it as incomplete
                    raise ValueError
        # Making a symbolic link, Optuna's other lock, takes a privilege on Windows.
        super().__init__(path, lock_obj=JournalFileOpenLock(path) if os.name == "nt" else None)
        self._read = 0, 0
        """Entries read so far, and bytes up to there."""
        self.last_began, self.written_by = self._read, ""
        """Where the entry that was read last began, and whose it is."""

    def read_logs(self, log_number_from: int) -> Generator[Dict[str, Any], None, None]:
        """The entries from that number on."""
        number, end = self._read if self._read[0] <= log_number_from else (0, 0)
        with open(self._file_path, "rb") as file:
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written, or its writer was killed
                    return
                if line.strip():
                    try:
                        entry = _entry(line)
                    except (ValueError, RecursionError) as error:
                        raise self.damaged(number, end) from error
                    self.last_began, self.written_by = (number, end), entry["worker_id"]
                    number += 1
                end += len(line)
                self._read = number, end
                if line.strip() and number > log_number_from:
                    yield entry

    def damaged(self, number: int, end: int) -> ValueError:
        """The sentence for the line that begins after `number` entries and `end` bytes."""
        if number == 0:
            return ValueError(f"{self._file_path} is no journal")
        with open(self._file_path, "rb") as file:
            line = file.read(end).count(b"\n") + 1
        return StorageLost(f"line {line} of {self._file_path} is not an entry of Optuna's journal: delete the line if "
                           "something else wrote it there, else go back to a copy of the file, or begin another study "
                           "with --study-name.")

    def append_logs(self, logs: List[Dict[str, Any]]) -> None:
        """Append entries: all of them, or none."""
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with get_lock_file(self._lock), open(self._file_path, "r+b", buffering=0) as file:
            end = _complete_lines_end(file)
            file.truncate(end)
            file.seek(end)
            try:
                while data:
                    data = data[file.write(data) or 0:]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def _entry(line: bytes) -> Dict[str, Any]:
    """A line of a journal as Optuna reads it; ValueError for any other."""
    entry = json.loads(line)
    if not (isinstance(entry, dict) and isinstance(entry.get("op_code"), int)
            and isinstance(entry.get("worker_id"), str)):
        raise ValueError(entry)
    return entry


def _complete_lines_end(file: Any) -> int:
    """Bytes of an open file up to the end of its last complete line."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - 2**20)
    file.seek(start)
    return int(start + file.read().rfind(b"\n") + 1)


class Journal(_WithRetries, JournalStorage, BaseHeartbeat):
    """A journal file with the heartbeats that Optuna has for databases alone.

    A worker touches ``<file>.beats/<trial>``; times are compared on the file system that holds them, so that the
    clocks of several machines need not agree. A trial without such a file is one of a journal that was brought here
    without them, or whose last line is lost: its own time of beginning counts.
    """

    def __init__(self, path: str, heartbeat_s: int) -> None:
        super().__init__(JournalFile(path))
        self._beats, self._heartbeat_s = Path(path + ".beats"), heartbeat_s
        self._beats.mkdir(exist_ok=True)

    def _sync_with_backend(self) -> None:
        """Read what is new; an entry that cannot be applied raises, here, where a line that is none does."""
        journal: Any = self._backend
        try:
            super()._sync_with_backend()
        except (OSError, UserError):
            raise
        except Exception as error:
            if journal.written_by.startswith(self._worker_id_prefix):
                raise  # Optuna's answer to what was asked here
            raise journal.damaged(*journal.last_began) from error

    def record_heartbeat(self, trial_id: int) -> None:
        """See BaseHeartbeat."""
        self._beats.mkdir(exist_ok=True)
        (self._beats / str(trial_id)).touch()

    def _get_stale_trial_ids(self, study_id: int) -> List[int]:
        self._beats.mkdir(exist_ok=True)
        clock = self._beats / f"now.{os.getpid()}"
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink()
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if self._is_stale(trial, now)]

    def _is_stale(self, trial: FrozenTrial, now: float) -> bool:
        try:
            return now - (self._beats / str(trial._trial_id)).stat().st_mtime > 2 * self._heartbeat_s
        except FileNotFoundError:
            return _is_older(trial, 2 * self._heartbeat_s)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        """See BaseStorage; the heartbeat file of a finished trial is removed."""
        done: bool = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            (self._beats / str(trial_id)).unlink(missing_ok=True)
        return done

    def get_heartbeat_interval(self) -> Optional[int]:
        """See BaseHeartbeat."""
        return self._heartbeat_s

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None]:
        """See BaseHeartbeat."""
        return retry


def open_storage(name: str, heartbeat_s: int = 60, patience_s: float = 120.0) -> BaseStorage:
    """The storage `name`: a file ``*.log`` is a journal, anything with ``://`` a database's URL.

    :raises UserError: when it cannot be reached, is not Optuna's, or lacks a driver.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we print trials ourselves
    storage: Any
    if "://" in name:
        storage = _database(name, heartbeat_s)
    elif name.endswith(".log"):
        storage = _journal(name, heartbeat_s)
    else:
        raise UserError(f"storage {name!r} is neither a journal file nor a database: give a file that ends in .log, "
                        f"sqlite:///{name}, or a URL such as postgresql+psycopg://user@host/database.")
    StorageRetry(patience_s, shown(name)).install(storage)
    return optuna.storages.get_storage(storage)


def _journal(name: str, heartbeat_s: int) -> Journal:
    try:
        return Journal(name, heartbeat_s)
    except OSError as error:
        raise UserError(f"storage {name} cannot be written ({error.strerror}): create its folder or choose another "
                        "one with --storage.") from error
    except StorageLost:
        raise
    except Exception as error:  # Optuna asserts, and fails in many ways, where it replays what it did not write
        raise UserError(f"storage {name} is not a journal of Optuna's: choose another one with --storage.") from error


def _database(url: str, heartbeat_s: int) -> Database:
    def words(error: object) -> str:
        return without_password(" ".join(str(error).split())[:250], url)

    try:
        sqlalchemy.make_url(url)
        for _ in range(5):
            with contextlib.suppress(sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
                return _connected(url, heartbeat_s)
            time.sleep(0.5)  # another worker makes the tables at this moment
        return _connected(url, heartbeat_s)
    except (ImportError, ModuleNotFoundError) as error:
        raise UserError(f"storage {shown(url)} needs a database driver that is not installed "
                        f"({words(error.__cause__ or error)}): pip install 'psycopg[binary]' for "
                        "postgresql+psycopg://, pymysql for mysql+pymysql://.") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        raise UserError(f"storage {shown(url)} cannot be reached ({words(reason_of(error))}): start it, or correct "
                        "the URL given with --storage.") from None
    except Exception as error:  # drivers and Optuna answer what is no URL, or no study's database, in many ways
        raise UserError(f"storage {shown(url)} is of no use to this version of Optuna ({words(reason_of(error))}): "
                        "choose another one with --storage.") from None


def _connected(url: str, heartbeat_s: int) -> Database:
    waits: Dict[str, Any] = {"connect_args": {"connect_timeout": 10}} if url.startswith("postgresql") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Database(url, engine_kwargs={"pool_pre_ping": True, **waits}, heartbeat_interval=heartbeat_s,
                        grace_period=2 * heartbeat_s, heartbeat_stale_trial_callback=retry)
