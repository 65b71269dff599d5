"""What the environments of Isaac Lab and mjlab share: Gymnasium's step on tensors, and groups of observations."""

from __future__ import annotations

import warnings
from typing import Any, Dict, Mapping, Sequence, Tuple

import torch

from sb3_isaac.clients.adapter import ClientEnv, ClientStep, Groups
from sb3_isaac.contract.errors import UserError, truth

ACTOR_GROUPS = ("policy", "actor")
"""What Isaac Lab and mjlab call the observations of the actor."""


class LabEnv(ClientEnv):
    """A live environment ``env`` whose ``step`` gives ``(obs, reward, terminated, truncated, extras)``, all tensors.

    ============== ================== ============================================================================
    group          shape              what
    ============== ================== ============================================================================
    policy         (N, k)             the client's group ``policy`` (Isaac Lab) or ``actor`` (mjlab)
    critic         (N, k)             its group ``critic``, where it has one
    ============== ================== ============================================================================

    A group whose terms are kept apart, ``{term: (N, k)}``, is put together in the order of its space; other groups are
    not shown. Actions are unbounded in most tasks, and then bounded by `action_bound`. In a task of finite horizon
    (``cfg.is_finite_horizon``) running out of time is a termination.

    The last observation of an episode is ``extras["final_obs"]``, where there is one; else it is lost, which is said
    once, as a warning.

    :param env: the client's environment, or a wrapper of Gymnasium's around it.
    :param action_bound: largest action either way, in the client's units.
    :param stagger: begin each robot's first episode at a random point, so that time-outs do not come all at once.
    :param privileged: show the group ``critic``.
    """

    def __init__(self, env: Any, action_bound: float = 10.0, stagger: bool = True, privileged: bool = True) -> None:
        self.base = base = env.unwrapped
        spaces: Mapping[str, Any] = base.single_observation_space.spaces
        actor = next((name for name in ACTOR_GROUPS if name in spaces), None)
        if actor is None:
            raise UserError(f"{type(base).__name__} has the observation groups {', '.join(spaces)}: give one of the "
                            f"groups {' or '.join(ACTOR_GROUPS)}.")
        self._names = {"policy": actor}
        if truth("privileged", privileged) and "critic" in spaces:
            self._names["critic"] = "critic"
        self._terms: Dict[str, Tuple[str, ...]] = {
            name: tuple(getattr(spaces[name], "spaces", ())) for name in self._names.values()}
        actions = base.single_action_space
        if not hasattr(actions, "low") or len(actions.shape) != 1:
            raise UserError(f"{type(base).__name__} has the action space {actions}: only a Box of one dimension is "
                            "supported.")
        super().__init__(base, widths={ours: _width(name, spaces[name]) for ours, name in self._names.items()},
                         num_actions=int(actions.shape[0]), device=base.device,
                         max_steps=max(1, int(base.max_episode_length)), control_dt=float(base.step_dt),
                         action_bound=action_bound, own_bounds=(actions.low, actions.high), stagger=stagger)
        self.client = env  # its wrappers see each step
        self._finite_horizon = bool(getattr(base.cfg, "is_finite_horizon", False))
        if not self._keeps_final_obs():
            warnings.warn(f"{type(base).__name__} loses the last observation of an episode, which resets inside its "
                          "step: time-outs are bootstrapped with the observation before it, unless you set "
                          "cfg.compute_final_obs where its version has that.", stacklevel=2)

    def _keeps_final_obs(self) -> bool:
        return bool(getattr(self.base.cfg, "compute_final_obs", False))

    def _client_reset(self) -> Groups:
        return self._groups(self.client.reset()[0])

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        obs, reward, terminated, truncated, extras = self.client.step(actions)
        time_out = None if self._finite_horizon else truncated & ~terminated
        last = extras.get("final_obs")
        return ClientStep(self._groups(obs), reward, terminated | truncated, time_out,
                          None if last is None else self._groups(last), self._reward_terms())

    def _reward_terms(self) -> Groups:
        """``reward/<term>``: what each term of the client's reward manager has given in this step, (N,) each.

        ``_step_reward`` (N, terms) is a private name, in Isaac Lab 2.x and mjlab 1.x: rewards a second, where the
        manager scales them by the step's length. A manager without it is not asked.
        """
        manager: Any = getattr(self.base, "reward_manager", None)
        rates = getattr(manager, "_step_reward", None)
        if rates is None:
            return {}
        given = rates * (self.control_dt if getattr(self.base.cfg, "scale_rewards_by_dt", True) else 1.0)
        return {f"reward/{name}": given[:, column] for column, name in enumerate(manager.active_terms)}

    def _groups(self, obs: Mapping[str, Any]) -> Groups:
        return {ours: _whole(obs[name], self._terms[name]) for ours, name in self._names.items()}

    def _episode_lengths(self) -> torch.Tensor:
        lengths: torch.Tensor = self.base.episode_length_buf
        return lengths


def _width(name: str, space: Any) -> int:
    """Numbers in a group: a Box, or a Dict of them."""
    terms: Mapping[str, Any] = getattr(space, "spaces", {name: space})
    for term, box in terms.items():
        if len(getattr(box, "shape", None) or ()) != 1:
            raise UserError(f"the observation {term!r} of the group {name!r} has the space {box}: "
                            "only rows of numbers are supported.")
    return sum(int(box.shape[0]) for box in terms.values())


def _whole(group: Any, terms: Sequence[str]) -> torch.Tensor:
    whole: torch.Tensor = torch.cat([group[term] for term in terms], dim=1) if terms else group
    return whole
