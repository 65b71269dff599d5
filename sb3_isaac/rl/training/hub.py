"""Trained policies on the Hugging Face Hub: what of a run goes there, with a model card; and how one is fetched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import atomic_file, write_text
from sb3_isaac.contract.wording import steps as told_steps
from sb3_isaac.policy.formats import find_policy, load_policy
from sb3_isaac.rl.policy.evaluate import env_of, evaluate, make_eval_env
from sb3_isaac.rl.training.run_folder import read_meta

REPLAY = "replay.mp4"
"""Where the Hub looks for a video."""
_BESIDE = ("model.zip", "vecnormalize.pkl", "config.yml")
"""What goes along with ``policy.pth``; meta.json stays, which has this machine's names in it."""
_PICKLES = (".zip", ".pkl")


def package_for_hub(run: Union[str, Path], folder: Union[str, Path], repo_id: str = "user/name",
                    episodes: int = 256, seed: int = 0) -> Path:
    """Write what goes to the Hub of a run: ``README.md`` (the model card), ``policy.pth``, ``results.json``, and, where
    the run has them, ``model.zip``, ``vecnormalize.pkl`` and ``config.yml``. A ``replay.mp4`` in the folder is its
    video.

    :param run: a run folder, a checkpoint folder or a ``policy.pth``; of a run folder the newest checkpoint.
    :param folder: made if it is not there; other files in it stay as they are. Files of these names there have to be
        of such a package.
    :param repo_id: what the card names as the place.
    :param episodes: of the evaluation whose figures stand on the card.
    :param seed: of its starts.
    :raises UserError: where there is no ``policy.pth``, no task for it, the extra ``hub`` is missing, or the folder has
        files of these names that are of something else.
    """
    _library()
    folder, file = Path(folder), find_policy(run)
    check_folder(folder)
    policy = load_policy(file)
    env = make_eval_env(policy, episodes, seed=seed)
    try:
        report = evaluate(env, policy, seed=seed)
    finally:
        env.close()
    env_id, steps = env_of(policy), int(policy.info.get("steps", 0))
    meta = read_meta(file.parent) if (file.parent / "meta.json").is_file() else {}
    algo = str(meta.get("algo") or "ppo").upper()
    folder.mkdir(parents=True, exist_ok=True)
    names = {"policy.pth": file, **{name: file.parent / name for name in _BESIDE if (file.parent / name).is_file()}}
    for name, source in names.items():
        with atomic_file(folder / name) as path:
            shutil.copyfile(source, path)
    figures = {"mean_reward": report["reward_mean"], "std_reward": report["reward_std"], "is_deterministic": True,
               "n_eval_episodes": report["episodes"], "eval_datetime": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **report}
    write_text(folder / "results.json", json.dumps(figures, indent=2) + "\n")
    files = [*names, "results.json", *([REPLAY] if (folder / REPLAY).is_file() else [])]
    write_text(folder / "README.md", model_card(repo_id, env_id, algo, steps, report, files))
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder in which the package would write over what it has not written."""
    card = folder / "README.md"
    is_package = card.is_file() and _OURS in card.read_text(encoding="utf-8", errors="replace")
    there = [name for name in ("README.md", *_WHAT) if name != REPLAY and (folder / name).exists()]
    if there and not is_package:
        raise UserError(f"{folder} has files of other things ({', '.join(there)}), over which the package would be "
                        "written: give a new folder.")


def push_to_hub(repo_id: str, run: Union[str, Path], commit_message: Optional[str] = None,
                token: Optional[str] = None, private: bool = False, folder: Optional[Union[str, Path]] = None,
                episodes: int = 256) -> str:
    """Put a trained policy on the Hub, as :func:`package_for_hub` makes it; returns the address.

    :param repo_id: ``user/name``; it is made if it is not there.
    :param token: as of huggingface_hub; None is that of ``hf auth login``.
    :param private: whether a new one can be seen by its owner alone.
    :param folder: where the package is made, and stays; of other files in it none is sent. None is a temporary one.
    :param episodes: of the evaluation.
    :raises UserError: where it cannot be put there.
    """
    hub, env_id = _library(), env_of(load_policy(run))
    with tempfile.TemporaryDirectory() as temporary, _network(
            f"{repo_id} cannot be written on the Hub",
            "if it is not the network, log in with 'hf auth login', and give a name of yours, user/name"):
        api = hub.HfApi(token=token, library_name="sb3_isaac")
        where = api.create_repo(repo_id, private=private, exist_ok=True)
        made = package_for_hub(run, folder or temporary, repo_id, episodes)
        api.upload_folder(repo_id=where.repo_id, folder_path=made, allow_patterns=["README.md", *_WHAT],
                          commit_message=commit_message or f"A policy for {env_id}")
    return str(where)


def load_from_hub(repo_id: str, filename: str = "policy.pth") -> str:
    """Fetch a file from the Hub, or from what was fetched before; returns its path here.

    >>> policy = load_policy(load_from_hub("user/name"))

    A ``.zip`` or ``.pkl`` runs what it holds when SB3 loads it: it is fetched only where the environment variable
    ``TRUST_REMOTE_CODE`` is ``True``, as huggingface_sb3 has it.

    :raises UserError: for such a file, and where there is none of that name.
    """
    if filename.lower().endswith(_PICKLES) and os.environ.get("TRUST_REMOTE_CODE", "").lower() not in (
            "y", "yes", "t", "true", "on", "1"):
        raise UserError(f"{filename} of {repo_id} can run any program when SB3 loads it: take policy.pth, or set the "
                        "environment variable TRUST_REMOTE_CODE to True where you trust whoever made it.")
    with _network(f"{filename} of {repo_id} cannot be fetched from the Hub",
                  "give the name of a repository that 'sb3-isaac push' has made, user/name"):
        return str(_library().hf_hub_download(repo_id, filename, library_name="sb3_isaac"))


@contextlib.contextmanager
def _network(what: str, remedy: str) -> Iterator[None]:
    """What goes wrong in this block in one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what a network does comes in many kinds
        why = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise UserError(f"{what} ({why}): {remedy}.") from error


def model_card(repo_id: str, env_id: str, algo: str, steps: int, report: Mapping[str, Any],
               files: List[str]) -> str:
    """``README.md`` of a repository: metadata by which the Hub finds it, its figures, how it is used.

    :param report: of an evaluation.
    :param files: what lies beside it.
    """
    hub = _library()
    reward = f"{report['reward_mean']:.2f} +/- {report['reward_std']:.2f}"
    result = hub.EvalResult(task_type="reinforcement-learning", task_name="reinforcement-learning",
                            dataset_type=env_id, dataset_name=env_id, metric_type="mean_reward",
                            metric_name="mean_reward", metric_value=reward, verified=False)
    data = hub.ModelCardData(library_name="stable-baselines3", model_name=algo, eval_results=[result], tags=[
        env_id, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3", "sb3_isaac"])
    figures = {key: value for key, value in report.items() if isinstance(value, (int, float)) and key != "seed"}
    rows = "\n".join(f"| {key} | {value:.4g} |" for key, value in figures.items())
    held = "\n".join(f"| `{name}` | {_WHAT[name]} |" for name in files)
    return _CARD.format(data=data.to_yaml(), algo=algo, env=env_id, steps=told_steps(steps), repo=repo_id, rows=rows,
                        files=held, episodes=report["episodes"])


_WHAT: Dict[str, str] = {
    "policy.pth": "the policy with its normaliser, in tensors and plain values: loading it runs nothing",
    "config.yml": "the settings of its training",
    "results.json": "figures of the evaluation",
    REPLAY: "what it looks like",
    "model.zip": "SB3's model. **A pickle: SB3's `load` runs what it holds**",
    "vecnormalize.pkl": "SB3's normaliser. **A pickle, too**",
}
_OURS = "trained with Stable-Baselines3 and sb3_isaac for"
"""In each model card that is written here."""
_CARD = """---
{data}
---

# **{algo}** agent in **{env}**

A policy for {env}, trained with Stable-Baselines3 and sb3_isaac for {steps} transitions.

## Use

```bash
pip install 'sb3_isaac[hub]'
sb3-isaac play hub:{repo} --video play.mp4
sb3-isaac eval hub:{repo}
```

```python
from sb3_isaac import load_from_hub, load_policy

policy = load_policy(load_from_hub("{repo}"))
actions = policy(observations)  # (N, observations) -> (N, actions), both torch.float32
```

## Evaluation

{episodes} episodes without exploration:

| figure | value |
|---|---|
{rows}

## Files

| file | what |
|---|---|
{files}
"""


def _library() -> Any:
    """huggingface_hub, or a sentence where it is missing."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError("the Hub needs huggingface_hub, which is not installed: run pip install 'sb3_isaac[hub]'.") \
            from error
    return huggingface_hub

