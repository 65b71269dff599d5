"""Conformance checks for environments of your own: the whole contract, and a sentence for each violation.

    from sb3_isaac.testing import check_tensor_env
    check_tensor_env(MyTask(num_envs=8, seed=0))

The environment is reset and stepped through at least one whole episode with random actions.
"""

from __future__ import annotations

import io
import math
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv, missing_members

Violations = Iterator[str]


class ContractError(AssertionError):
    """An environment breaks the contract; the message has one sentence for each violation."""


def check_tensor_env(env: TensorEnv, seed: int = 0, exact: bool = True, repeatable: bool = True) -> None:
    """Check all of :class:`~sb3_isaac.contract.tensor_env.TensorEnv`'s contract.

    :param env: of at least two environments, so that one can be told apart from the others.
    :param exact: a saved environment goes on bit for bit; False allows differences of 0.01 over 2 steps, for
        simulators that do not save all of their state.
    :param repeatable: the same seed and actions give the same numbers bit for bit; False allows those differences
        there too, for simulators on a GPU, where sums are in no fixed order.
    :raises ContractError: with a sentence for each violation.
    """
    missing = missing_members(env)
    if missing:
        raise ContractError(f"{type(env).__name__} lacks {', '.join(missing)}: make it a subclass of "
                            "sb3_isaac.TensorEnv, and set what that leaves open.")
    found: List[str] = []
    for check in TENSOR_CHECKS:
        again = BITS if repeatable and (exact or check is not _check_continuation) else NEARLY
        try:
            found += dict.fromkeys(check(env, seed, again))
        except (AttributeError, TypeError, RuntimeError, LookupError) as error:
            found.append(f"reset or step cannot be used ({type(error).__name__}: {error}): reset gives a dict of "
                         "tensors and step a Step of tensors.")
            raise ContractError("\n".join(found)) from error
        if found and check in (_check_members, _check_spaces):
            break  # what follows would only repeat it
    if found:
        raise ContractError("\n".join(found))


def _actions(env: TensorEnv, generator: torch.Generator) -> torch.Tensor:
    """Random actions (N, ...), within the bounds where there are any."""
    space, n = env.action_space, env.num_envs
    if isinstance(space, spaces.Box):
        low, high = np.maximum(space.low, -1.0), np.minimum(space.high, 1.0)
        part = torch.rand(n, *space.shape, generator=generator)
        drawn = torch.from_numpy(low) + part * torch.from_numpy(high - low)
        return drawn.to(env.device, torch.float32)
    if isinstance(space, spaces.Discrete):
        return torch.randint(int(space.n), (n,), generator=generator).to(env.device)
    raise UserError(f"the action space is a {type(space).__name__}: give a Box or Discrete.")


def _copied(step: Step) -> Step:
    def copy(values: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in values.items()}

    return Step(copy(step.obs), step.reward.clone(), step.terminated.clone(), step.truncated.clone(),
                copy(step.final_obs), copy(step.log))


def _run(env: TensorEnv, steps: int, seed: int, spoil: bool = False) -> List[Step]:
    """Copies of steps with random actions; `spoil` writes into each action tensor after its step."""
    generator, taken = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        actions = _actions(env, generator)
        taken.append(_copied(env.step(actions)))
        if spoil:
            actions.fill_(7)
    return taken


class Again(NamedTuple):
    """How that which is done again is compared with the first time: over at most so many steps, and by what."""

    steps: int
    same: Callable[[torch.Tensor, torch.Tensor], bool]

    def steps_alike(self, a: List[Step], b: List[Step]) -> bool:
        """Whether observations and rewards are the same in each step."""
        return all(self.obs_alike(x.obs, y.obs) and self.same(x.reward, y.reward) for x, y in zip(a, b))

    def obs_alike(self, a: Obs, b: Obs, rows: slice = slice(None)) -> bool:
        """Whether the observations of these environments are the same."""
        return all(self.same(a[name][rows], b[name][rows]) for name in a)


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), atol=1e-2, rtol=1e-2)


BITS, NEARLY = Again(20, torch.equal), Again(2, _close)


def _check_members(env: TensorEnv, seed: int, again: Again) -> Violations:
    if not isinstance(env.num_envs, int) or env.num_envs < 2:
        yield f"num_envs is {env.num_envs!r}: check an environment of at least 2."
    if not isinstance(env.max_steps, int) or env.max_steps < 1:
        yield f"max_steps is {env.max_steps!r}: give the number of steps after which an episode runs out of time."
    if not env.control_dt > 0:
        yield f"control_dt is {env.control_dt!r}: give the seconds of one step."
    if not isinstance(env.observation_space, spaces.Dict) or "policy" not in env.observation_space.spaces:
        yield "observation_space is no spaces.Dict with the group policy."
    if not isinstance(env.action_space, (spaces.Box, spaces.Discrete)):
        yield f"action_space is a {type(env.action_space).__name__}: give a Box or Discrete."


def _check_spaces(env: TensorEnv, seed: int, again: Again) -> Violations:
    yield from _fits(env, env.reset(seed=seed), "reset")
    for step in _run(env, 3, seed):
        yield from _fits(env, step.obs, "step")
        yield from _fits(env, step.final_obs, "final_obs")
        for name, value, dtype in (("reward", step.reward, torch.float32), ("terminated", step.terminated, torch.bool),
                                   ("truncated", step.truncated, torch.bool)):
            if value.shape != (env.num_envs,) or value.dtype is not dtype:
                yield f"{name} is {tuple(value.shape)} {value.dtype}: give ({env.num_envs},) {dtype}."
        for name, value in step.log.items():
            if value.dim() == 0 or len(value) != env.num_envs:
                yield f"log[{name!r}] is {tuple(value.shape)}: give one row for each of {env.num_envs} environments."


def _fits(env: TensorEnv, obs: Obs, where: str) -> Violations:
    groups = env.observation_space.spaces
    if set(obs) != set(groups):
        yield f"{where} gives the groups {sorted(obs)} and observation_space has {sorted(groups)}."
        return
    for name, value in obs.items():
        shape, wanted = (env.num_envs, *(groups[name].shape or ())), np.dtype(groups[name].dtype)
        if tuple(value.shape) != shape:
            yield f"{where} gives {name} of shape {tuple(value.shape)} and its space says {shape}."
        elif torch.zeros(0, dtype=value.dtype).numpy().dtype != wanted:
            yield f"{where} gives {name} as {value.dtype} and its space says {wanted}."
        elif value.device != torch.device(env.device):
            yield f"{where} gives {name} on {value.device} and the environment's device is {env.device}."
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            yield f"{where} gives {name} with values that are not finite."


def _check_aliasing(env: TensorEnv, seed: int, again: Again) -> Violations:
    env.reset(seed=seed)
    step = env.step(_actions(env, torch.Generator().manual_seed(seed)))
    if any(step.obs[name].data_ptr() == step.final_obs[name].data_ptr() for name in step.obs):
        yield "obs and final_obs are the same memory: where an episode ends they have to differ."
    steps = min(5, again.steps)
    env.reset(seed=seed)
    kept = _run(env, steps, seed)
    env.reset(seed=seed)
    if not again.steps_alike(kept, _run(env, steps, seed, spoil=True)):
        yield "the actions tensor is kept over the next step: copy it, for its owner writes into it again."


def _check_episodes(env: TensorEnv, seed: int, again: Again) -> Violations:
    obs = {name: value.clone() for name, value in env.reset(seed=seed).items()}
    generator, age = torch.Generator().manual_seed(seed), torch.zeros(env.num_envs, device=env.device)
    names: Optional[Set[str]] = None
    largest, jumps, observes = 0.0, [], _observes(env)
    for _ in range(env.max_steps + 1):
        step = _copied(env.step(_actions(env, generator)))
        age += 1
        over = step.terminated | step.truncated
        if bool((step.terminated & step.truncated).any()):
            yield "an episode is terminated and truncated at once: a state of no return is no time-out."
        names = set(step.log) if names is None else names
        if set(step.log) != names:
            yield f"the names in log change from step to step ({sorted(names ^ set(step.log))}): give all at each step."
        if observes and any(not torch.equal(step.obs[name], seen) for name, seen in env.observe().items()):
            yield "observe() is not the observation of the last step."
        before, after = _flat(obs), _flat(step.final_obs)
        moved = (after - before).norm(dim=1)
        diverged = step.log.get("bad_world", torch.zeros_like(over))
        if bool((~over).any()):
            largest = max(largest, float(moved[~over].max()))
        jumps += moved[over & ~diverged].tolist()
        same = (over & (_flat(step.obs) == after).all(dim=1)).nonzero().flatten()
        if len(same):
            yield ("final_obs of an episode that ended is the first observation of the next one: give the last one of "
                   "the old.")
        if bool((age > env.max_steps).any()):
            yield f"an episode has gone on beyond max_steps, {env.max_steps}."
        age[over], obs = 0, step.obs
    if largest and any(jump > 20.0 * largest for jump in jumps):
        yield ("final_obs of an episode that ended does not follow from the observation before: it is further from it "
               "than any step went.")


def _observes(env: TensorEnv) -> bool:
    """Whether the environment has written ``observe()``, which it may leave out."""
    try:
        env.observe()
    except UserError:
        return False
    return True


def _flat(obs: Obs) -> torch.Tensor:
    return obs["policy"].float().flatten(1)


def _check_seeds(env: TensorEnv, seed: int, again: Again) -> Violations:
    runs: List[Tuple[Obs, List[Step]]] = []
    for given in (seed, seed, seed + 1):
        first = {name: value.clone() for name, value in env.reset(seed=given).items()}
        runs.append((first, _run(env, again.steps, 0)))
    same = again.obs_alike(runs[0][0], runs[1][0])
    if not same or not again.steps_alike(runs[0][1], runs[1][1]):
        yield "the same seed and actions give other observations or rewards: draw from a generator of your own."
    if again.steps_alike(runs[0][1], runs[2][1]):
        yield "another seed gives the same episodes."


def _check_continuation(env: TensorEnv, seed: int, again: Again) -> Violations:
    env.reset(seed=seed)
    _run(env, 5, seed)
    saved = env.state_dict()
    if not saved:
        return
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch refuses, the sentence is the same
        yield f"state_dict() holds more than tensors and builtins ({type(error).__name__})."
        return
    later = _run(env, again.steps, 1)
    env.load_state_dict(state)
    if not again.steps_alike(later, _run(env, again.steps, 1)):
        yield "after load_state_dict() the environment does not go on as it did after state_dict()."


def _check_nan_actions(env: TensorEnv, seed: int, again: Again) -> Violations:
    if not isinstance(env.action_space, spaces.Box):
        return
    results = []
    for bad in (False, True):
        env.reset(seed=seed)
        actions = torch.zeros(env.num_envs, *env.action_space.shape, device=env.device)
        if bad:
            actions[0] = math.nan
        results.append(_copied(env.step(actions)))
    if not again.obs_alike(results[0].obs, results[1].obs, rows=slice(1, None)):
        yield "a NaN action of one environment changes others."
    zero = torch.zeros(env.num_envs, *env.action_space.shape, device=env.device)
    for _ in range(3):
        step = env.step(zero)
    if not all(bool(torch.isfinite(value.float()).all()) for value in (*step.obs.values(), step.reward)):
        yield "a NaN action stays in observations or rewards: end that episode, mark it bad_world, and start anew."


def _check_restart(env: TensorEnv, seed: int, again: Again) -> Violations:
    env.reset(seed=seed)
    before = {name: value.clone() for name, value in _run(env, 5, seed)[-1].obs.items()}
    mask = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    mask[0] = True
    try:
        after = env.restart(mask)
    except UserError:
        return
    for name, value in after.items():
        if not again.same(value[1:], before[name][1:]):
            yield f"restart(mask) changes {name} of environments that are not in the mask."
    if torch.equal(_flat(after)[0], _flat(before)[0]):
        yield "restart(mask) starts no new episode."


def _check_mirror(env: TensorEnv, seed: int, again: Again) -> Violations:
    """Widths alone: that mirrored actions lead to mirrored states is for the environment to try out."""
    try:
        mirrors = env.mirror()
    except UserError:
        return  # it does not say
    flat = {name: space for name, space in env.observation_space.spaces.items() if len(space.shape or ()) == 1}
    for name, space in {**flat, "action": env.action_space}.items():
        mirror = mirrors.action if name == "action" else mirrors.observation.get(name)
        if mirror is None or len(mirror.source) != spaces.flatdim(space):
            yield f"mirror() gives {name} {0 if mirror is None else len(mirror.source)} numbers and its space has " \
                  f"{spaces.flatdim(space)}."


TENSOR_CHECKS: Tuple[Callable[[TensorEnv, int, Again], Violations], ...] = (
    _check_members, _check_spaces, _check_aliasing, _check_episodes, _check_seeds, _check_continuation,
    _check_nan_actions, _check_restart, _check_mirror)


def check_vec_env(env: Any, seed: int = 0) -> None:
    """Check an SB3 ``VecEnv`` as SB3's algorithms rely on it, by numpy.

    :raises ContractError: with a sentence for each violation.
    """
    found = list(dict.fromkeys(_vec_violations(env, seed)))
    if found:
        raise ContractError("\n".join(found))


def _vec_violations(env: Any, seed: int) -> Violations:
    env.seed(seed)
    obs = env.reset()
    rng = np.random.default_rng(seed)
    inner = getattr(env.unwrapped, "env", None)  # an IsaacVecEnv's; another VecEnv does not say how long episodes are
    for _ in range(int(getattr(inner, "max_steps", 1000)) + 1):
        actions = np.stack([_sample(env.action_space, rng) for _ in range(env.num_envs)])
        kept, copy = obs, _np_copy(obs)
        obs, rewards, dones, infos = env.step(actions)
        if not _np_equal(kept, copy):
            yield "the observation of a step is changed by the next one: give copies."
        for row in range(env.num_envs):
            one = {k: v[row] for k, v in obs.items()} if isinstance(obs, dict) else obs[row]
            if not env.observation_space.contains(one):
                yield "an observation is not in observation_space (shape, dtype or bounds)."
                return
        if rewards.shape != (env.num_envs,) or dones.shape != (env.num_envs,) or dones.dtype != bool:
            yield f"rewards {rewards.shape} and dones {dones.shape} {dones.dtype}: give ({env.num_envs},) and bool."
        if len(infos) != env.num_envs or len({id(info) for info in infos}) != env.num_envs:
            yield "infos is not a list of one dict of its own for each environment."
        for info, done in zip(infos, dones):
            if done and not {"terminal_observation", "TimeLimit.truncated"} <= set(info):
                yield "the info of an episode that ended lacks terminal_observation or TimeLimit.truncated."


def _sample(space: spaces.Space, rng: np.random.Generator) -> np.ndarray:
    if isinstance(space, spaces.Box):
        return rng.uniform(np.maximum(space.low, -1), np.minimum(space.high, 1)).astype(np.float32)
    return np.asarray(space.sample())


def _np_copy(obs: Any) -> Any:
    return {k: v.copy() for k, v in obs.items()} if isinstance(obs, dict) else obs.copy()


def _np_equal(a: Any, b: Any) -> bool:
    return all(np.array_equal(a[k], b[k]) for k in a) if isinstance(a, dict) else np.array_equal(a, b)
