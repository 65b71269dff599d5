"""Weights & Biases: what a training logs, as a run of wandb that a resumed training goes on with."""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import write_text
from sb3_isaac.contract.output import say
from sb3_isaac.contract.records import Check, optional, record, refused, text
from sb3_isaac.envs.vec_env import unwrap

PROJECT = "sb3"
"""Where runs go that nobody has given a project, as in rl-zoo."""
FINISH_S = 300.0
"""Waited at the end of a training for what is not uploaded yet."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def _id(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 64 or not set(value) <= _LETTERS:
        raise refused(name, value, "the id of a run of wandb, small letters and digits")
    return value


_IDENTITY: Dict[str, Check] = {"id": _id, "project": text(128), "entity": optional(text(128))}
"""What ``wandb.json`` in a run folder holds."""


class WandbLog(BaseCallback):
    """Hands what SB3's logger writes to a run of Weights & Biases.

    What fails there ends no training: a run that cannot be begun is kept in ``RUN/wandb``, from where ``wandb sync``
    uploads it, and one sentence says so.

    :param folder: the run folder. Its ``wandb.json`` says which run of wandb it is, so that a resumed training goes on
        with that one; it is written where there is none.
    :param settings: the run's, as nested mappings; the options in effect of the task are added.
    :param project, entity: where the run goes; None is where it was begun, else ``PROJECT`` and wandb's default.
    :param group, tags: see wandb.
    :raises UserError: where wandb is not installed, or ``wandb.json`` holds something else.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], project: Optional[str] = None,
                 entity: Optional[str] = None, group: Optional[str] = None, tags: Sequence[str] = ()) -> None:
        super().__init__()
        if importlib.util.find_spec("wandb") is None:
            raise UserError("tracking a training needs wandb, which is not installed: run "
                            "pip install 'sb3_isaac[track]'.")
        self._folder, self._settings, self._group, self._tags = folder, settings, group, tags
        saved = _read_identity(folder / "wandb.json")
        self._identity: Dict[str, Any] = {
            "id": saved.get("id") or _new_id(), "project": project or saved.get("project") or PROJECT,
            "entity": entity or saved.get("entity")}
        self._check()
        self._mode: Any = _log_in()

    def _check(self) -> None:
        """Names that wandb takes."""
        import wandb

        try:
            wandb.Settings(project=self._identity["project"], entity=self._identity["entity"],
                           run_group=self._group, run_tags=self._tags)
        except (wandb.Error, ValueError) as error:
            raise UserError(f"wandb refuses a name of its run ({_why(error)}): give another one.") from error

    def _on_training_start(self) -> None:
        task = unwrap(self.training_env).env
        env_kwargs = {**self._settings.get("env_kwargs", {}), **task.options()}
        run = self._begin(_plain({**self._settings, "env_kwargs": env_kwargs}))
        if run is not None:
            write_text(self._folder / "wandb.json", json.dumps(self._identity) + "\n")
            self.logger.output_formats.append(WandbOutput(run))

    def _begin(self, settings: Dict[str, Any]) -> Any:
        """The run of wandb; one without a network where it cannot be reached; None where that fails, too."""
        import wandb

        folder = self._folder.resolve()
        for mode in dict.fromkeys((self._mode, "offline")):
            try:
                run = wandb.init(
                    **self._identity, name=f"{folder.parent.name}/{folder.name}", group=self._group,
                    tags=list(self._tags), config=settings, dir=str(folder), mode=mode,
                    resume=None if mode == "offline" else "allow",
                    settings=wandb.Settings(silent=True, console="off", finish_timeout=FINISH_S,
                                            finish_timeout_raises=True))
            except Exception as error:  # what a network does comes in many kinds
                say(f"wandb: no run can be begun there ({_why(error)}); training goes on.")
                wandb.teardown()  # its service still holds what was begun
                continue
            say(f"wandb: the run is kept here, {_upload(run)} uploads it." if run.offline else f"wandb: {run.url}",
                copied=True)
            return run
        return None

    def _on_step(self) -> bool:
        return True


class WandbOutput(KVWriter):
    """The numbers that TensorBoard gets, at the same steps, in a run of wandb, which is ended with the logger."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, key_values: Dict[str, Any], key_excluded: Dict[str, Tuple[str, ...]], step: int = 0) -> None:
        """Take in a row; called by SB3's logger. On a resumed run rows come again that wandb has: it keeps those."""
        values = {key: value for key, value in key_values.items() if isinstance(value, (int, float, np.number))
                  and "tensorboard" not in (key_excluded.get(key) or ())}
        self.log(values, step)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Numbers, or what wandb has classes for, of the row of `step`."""
        if self._run is None or step < self._run.step:
            return
        try:
            self._run.log(dict(values), step=step)
        except Exception as error:  # as above
            say(f"wandb: nothing more is tracked ({_why(error)}); training goes on.")
            self._run = None

    def log_gif(self, key: str, picture: bytes, step: int) -> None:
        """A moving picture, in the row of `step`."""
        import wandb

        self.log({key: wandb.Video(io.BytesIO(picture), format="gif")}, step)

    def close(self) -> None:
        """End the run, once all is uploaded."""
        run, self._run = self._run, None
        if run is None:
            return
        failed = isinstance(sys.exc_info()[1], Exception)  # and no signal, after which a training goes on
        try:
            run.finish(exit_code=1 if failed else 0)
        except Exception as error:  # as above
            say(f"wandb: not everything could be uploaded ({_why(error)}): {_upload(run)} does it later.",
                copied=True)


def _log_in() -> Any:
    """The mode that wandb is set to, "offline" where there is no key. On a terminal wandb asks for one, so this comes
    before the training."""
    import wandb

    mode: Any = wandb.setup().settings.mode
    if mode != "online":
        return mode
    try:
        if wandb.login(verify=False):
            return mode
        why = "nobody is logged in"
    except wandb.Error as error:
        why = _why(error)
    say(f"wandb: {why}; training goes on.")
    return "offline"


def _new_id() -> str:
    import secrets

    return "".join(secrets.choice(sorted(_LETTERS)) for _ in range(8))


def _read_identity(path: Path) -> Dict[str, Any]:
    """What ``wandb.json`` holds, nothing where there is none."""
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > 10_000:
            raise ValueError("it is too long")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({_why(error)}): delete it, to begin another run of wandb.") from error
    return record(str(path), content, _IDENTITY, needed=tuple(_IDENTITY), others=False)


def _upload(run: Any) -> str:
    return f"'wandb sync {shlex.quote(str(Path(run.dir).parent))}'"


def _why(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__


def _plain(value: Any) -> Any:
    """Numbers, truths, texts, None, and lists and dicts of them; of anything else its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
