"""Running sums that stay on the simulation's device and are read once an iteration."""

from __future__ import annotations

from typing import Dict, List, Optional

import torch

from sb3_isaac.contract.tensor_env import Step

_MEANS = {"forward_speed": "rollout/forward_speed"}
_COUNTS = {"fall": "rollout/falls", "bad_world": "rollout/bad_worlds"}


class RolloutStatistics:
    """Means over every environment, step and finished episode since ``clear()``.

    ``add`` runs after each step and reads nothing back; ``read`` is the one place that waits for the device.
    Episodes and steps of worlds that the simulator lost are in no mean.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.episode_return = torch.zeros(num_envs, device=device)
        """Sum of rewards (N,) of the episode that the last step belonged to."""
        self.episode_length = torch.zeros(num_envs, dtype=torch.long, device=device)
        """Steps (N,) of that episode."""
        self._over = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._device, self._num_envs = device, num_envs
        self._names: Optional[List[str]] = None
        self._sums = torch.zeros(0, dtype=torch.float64, device=device)
        self.clear()

    def begin(self) -> None:
        """All episodes begin anew."""
        self._over.fill_(True)

    def clear(self) -> None:
        """Forget the sums; running episodes go on."""
        self._steps = 0
        self._sums.zero_()

    def add(self, step: Step) -> None:
        """Count a step in."""
        running = ~self._over
        self.episode_return.mul_(running).add_(step.reward)
        self.episode_length.mul_(running).add_(1)
        torch.logical_or(step.terminated, step.truncated, out=self._over)
        lost = step.log.get("bad_world")
        finished = self._over if lost is None else self._over & ~lost
        if self._names is None:
            self._names = [name for name, value in step.log.items() if value.dim() == 1
                           and (name.startswith("reward/") or name in _MEANS or name in _COUNTS)]
            self._sums = torch.zeros(4 + len(self._names), dtype=torch.float64, device=self._device)
        columns = [finished, step.truncated, self.episode_return * finished, self.episode_length * finished,
                   *(step.log[name] for name in self._names)]
        self._sums += torch.stack([column.to(torch.float32) for column in columns]).sum(dim=1)
        self._steps += 1

    def read(self) -> Dict[str, float]:
        """The means and counts under their log keys; episode means are absent while none has finished."""
        if self._names is None or self._steps == 0:
            return {}
        episodes, timeouts, total_return, total_length, *sums = self._sums.tolist()
        of = dict(zip(self._names, sums))
        steps = max(1.0, self._steps * self._num_envs - of.get("bad_world", 0.0))
        values = {name: total / steps for name, total in of.items() if name.startswith("reward/")}
        values.update({key: of[name] / steps for name, key in _MEANS.items() if name in of})
        values.update({key: of[name] for name, key in _COUNTS.items() if name in of})
        values["rollout/timeouts"] = timeouts
        if episodes:
            values["rollout/ep_rew_mean"] = total_return / episodes
            values["rollout/ep_len_mean"] = total_length / episodes
        return values

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """The running episodes."""
        return {"returns": self.episode_return * ~self._over, "lengths": self.episode_length * ~self._over}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Go on with the episodes of ``state_dict()``."""
        self._over.fill_(False)
        self.episode_return.copy_(state["returns"])
        self.episode_length.copy_(state["lengths"])
