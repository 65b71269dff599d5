"""Evaluation: one episode of each environment, from its start, without exploration."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

import torch

from sb3_isaac.clients import env_of_file, env_options, make_tensor_env, registered_id
from sb3_isaac.config import parse_options
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import NotFinite, UserError
from sb3_isaac.contract.tensor_env import StopRule, TensorEnv
from sb3_isaac.contract.torch_threads import alone_for_little
from sb3_isaac.rl.policy.export import Actor, ModelPolicy, acts_on_groups, starts_anew
from sb3_isaac.tasks import task_class

Policy = Union[Actor, Callable[[torch.Tensor], torch.Tensor]]
"""Observations as the environment gives them -> actions (N, A) within the action space."""


READ_STEPS = 25
"""On a GPU, whose work a read has to wait for, it is asked every so many steps whether all episodes have ended."""


def eval_options(env_id: str, env_kwargs: Mapping[str, Any], command: Optional[Sequence[Any]] = None,
                 hold_s: Optional[float] = None) -> Dict[str, Any]:
    """The environment's options for evaluation, from those it was trained with; for `command` and `hold_s` see
    :meth:`~sb3_isaac.contract.tensor_env.TensorEnv.evaluation_options`."""
    options = {key: value for key, value in env_kwargs.items() if key not in ("num_envs", "render_mode")}
    task = registered_id(env_id)
    if task is not None:
        later = {} if hold_s is None else {"hold_s": hold_s}
        return task_class(task).evaluation_options(options, command, **later)
    if command is not None:
        raise UserError(f"{env_id} takes no command: leave out --command.")
    return {**options, "stagger": False}


def env_of(policy: Actor, env: Optional[str] = None) -> str:
    """`env`, or the id of the environment that `policy` was trained on.

    :raises UserError: where the file has none, or names a package that nobody else has named.
    """
    if env is not None:
        return registered_id(env) or env
    if policy.info.get("env") is None:
        raise UserError("the run was made by a program without a configuration, so its policy does not say on which "
                        "environment: give --env ID.")
    return env_of_file(policy.info["env"], "the policy")


def given_options(env_id: str, items: Sequence[str]) -> Dict[str, Any]:
    """The options of an evaluation that ``--env-kwargs`` gives, from its ``key:value`` strings."""
    if any(re.match(r"command\b", item) for item in items):
        raise UserError("--env-kwargs was given a command: give --command V,W.")
    settled = ("num_envs", "seed", "command", "stagger", "render_mode")
    return parse_options(items, "--env-kwargs", [name for name in env_options(env_id) if name not in settled])


def make_eval_env(policy: Actor, num_envs: int, command: Optional[Sequence[Any]] = None,
                  seed: Optional[int] = None, env: Optional[str] = None, hold_s: Optional[float] = None,
                  **extra: Any) -> TensorEnv:
    """The environment that `policy` was trained on, or `env`, set up for evaluation.

    :param extra: options in place of those it was trained with, such as ``sim="isaacgym"``.
    :raises UserError: when the policy's observations or actions do not fit the environment.
    """
    env_id = env_of(policy, env)
    trained_on = policy.info.get("env")
    trained = dict(policy.info.get("env_kwargs", {})) if env_id == trained_on else {}
    options = eval_options(env_id, {**trained, **extra}, command, hold_s)
    if "seed" in env_options(env_id):
        options["seed"] = seed
    # What is for looking alone, such as a render mode, is no option of a task's evaluation.
    made = make_tensor_env(env_id, num_envs, **{**extra, **options})
    ours, theirs = made.metadata().get("obs_table"), policy.info.get("obs_table")
    if ours != theirs:
        made.close()
        raise UserError(f"the policy was trained on {trained_on or 'an environment'} with observations "
                        f"{theirs}, and {env_id} has {ours}: evaluate it on what it was trained on.")
    gives, takes = ((policy.action_space, made.action_space) if isinstance(policy, ModelPolicy)
                    else (tuple(policy.low.shape), made.action_space.shape))
    if gives != takes:
        made.close()
        raise UserError(f"the policy gives actions of shape {gives}, and {env_id} takes {takes}: evaluate it on "
                        "what it was trained on.")
    policy.to(made.device)
    return made


class Outlook:
    """Whether an evaluation can still meet a stop rule, as far as its first seconds tell.

    After two seconds and then each second the keys of ``rule.early`` are asked for as they will be if the robots go on
    to the end of their episodes at the pace that they have had since the first second. They may be off by less, the
    longer that is: by 3% of the bound over seconds simulated.
    """

    EACH_S, MARGIN_S = 1.0, 0.03

    def __init__(self, env: TensorEnv, rule: StopRule) -> None:
        self._env, self._rule = env, rule
        self._every = max(1, round(self.EACH_S / env.control_dt))
        self._since: Optional[Episodes] = None
        self.why = ""
        """What was missed, and when; empty while nothing was."""

    def missed(self, episodes: Episodes, steps: int) -> bool:
        """Whether the rule is out of reach after so many steps."""
        if self._rule.early and steps % self._every == 0:
            if self._since is None:
                self._since = episodes.copy()
            elif bool(episodes.good.any()):
                seconds = steps * self._env.control_dt
                later = figures(self._env, episodes.projected(self._since, self._env.max_steps))
                missed = self._rule.out_of_reach(later, self.MARGIN_S / seconds)
                self.why = f"given up after {seconds:.1f} s: {missed}" if missed else ""
        return bool(self.why)


def evaluate(env: TensorEnv, policy: Policy, seed: Optional[int] = None,
             on_step: Optional[Callable[[int, int], None]] = None, max_steps: Optional[int] = None,
             outlook: Optional[Outlook] = None) -> Dict[str, Any]:
    """Run every environment's first episode to its end and report the means.

    Keys: ``episodes reward_mean reward_std length_mean terminated_fraction bad_worlds seed``, and the task's own
    (:meth:`~sb3_isaac.contract.tensor_env.TensorEnv.report`).
    Episodes whose simulation diverged are counted in ``bad_worlds`` and in nothing else.

    :param on_step: called with (episodes finished, episodes in all) after each step.
    :param max_steps: cut episodes off after so many steps, for a quick look: rewards are then those of robots that go
        on at the same pace to the end of their episode, where they have not ended before.
    :param outlook: the evaluation is given up where this finds that it cannot meet its rule: see there what was missed,
        and leave the report.
    """
    return {**figures(env, run_episodes(env, policy, seed, on_step, max_steps, outlook)), "seed": seed}


def figures(env: TensorEnv, episodes: Episodes) -> Dict[str, Any]:
    """The report of `episodes`, without the seed."""
    good = episodes.good
    return {
        "episodes": int(good.sum()), "reward_mean": float(episodes.reward[good].mean()),
        "reward_std": float(episodes.reward[good].std(correction=0)),
        "length_mean": float(episodes.length[good].mean()),
        "terminated_fraction": float(episodes.terminated[good].float().mean()),
        "bad_worlds": int(episodes.diverged.sum()), **env.report(episodes),
    }


@torch.no_grad()
def run_episodes(env: TensorEnv, policy: Policy, seed: Optional[int] = None,
                 on_step: Optional[Callable[[int, int], None]] = None, max_steps: Optional[int] = None,
                 outlook: Optional[Outlook] = None) -> Episodes:
    """Every environment's first episode; for the arguments see :func:`evaluate`.

    :raises UserError: where all of them diverged.
    """
    measured, env.measured = env.measured, None
    try:
        with alone_for_little(env.num_envs, policy, env.device):
            return _first_episodes(env, policy, seed, on_step, max_steps, outlook)
    finally:
        env.measured = measured


def _first_episodes(env: TensorEnv, policy: Policy, seed: Optional[int], on_step: Optional[Callable[[int, int], None]],
                    max_steps: Optional[int], outlook: Optional[Outlook]) -> Episodes:
    n, every = env.num_envs, 1 if env.device.type == "cpu" else READ_STEPS
    obs = env.reset(seed=seed)
    starts_anew(policy)
    episodes, steps, act, running = Episodes(n, env.device, env.control_dt), 0, acts_on_groups(policy), n
    while running:
        step = env.step(act(obs))
        obs = step.obs
        episodes.add(step.reward, step.terminated, step.truncated, step.log)
        steps += 1
        if steps % every == 0:
            running = int(episodes.running.sum())
        if on_step is not None:
            on_step(n - running, n)
        if steps == max_steps:
            episodes.reward[episodes.running] *= env.max_steps / steps
            break
        if outlook is not None and outlook.missed(episodes, steps):
            break
    if not bool(episodes.good.any()):
        if not bool(torch.isfinite(act(obs)).all()):
            raise NotFinite("the policy's actions are NaN or infinite: its training has diverged, so evaluate an "
                            "earlier checkpoint, or train anew with a smaller learning_rate.")
        raise UserError(f"all {n} simulated worlds of the evaluation diverged: the policy's actions or the physics "
                        "step make them, so try a smaller physics_dt.")
    return episodes
