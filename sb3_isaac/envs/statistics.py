"""Running sums that stay on the simulation's device and are read once an iteration."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.episodes import same_names
from sb3_isaac.contract.recorded import Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.envs.finite import FiniteWatch, not_finite


class RolloutStatistics:
    """Means over every environment, step and finished episode since ``clear()``.

    ``add`` runs after each step and reads nothing back; ``read`` is the one place that waits for the device.
    Episodes and steps of worlds that diverged are in no mean.

    :param logged: measures of ``Step.log`` that are read as ``rollout/<name>``, or as they are called where that has a
        slash: means of numbers, counts of booleans. Of a boolean there is also ``rollout/steps_without_<name>``: steps
        of all environments since the last rollout in which it was true anywhere.
    """

    def __init__(self, num_envs: int, device: torch.device, logged: Sequence[str] = ()) -> None:
        self.episode_return = torch.zeros(num_envs, device=device)
        """Sum of rewards (N,) of the episode that the last step belonged to."""
        self.episode_length = torch.zeros(num_envs, dtype=torch.long, device=device)
        """Steps (N,) of that episode."""
        self._finite = FiniteWatch()
        self._over = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._device, self._num_envs = device, num_envs
        self._logged = tuple(logged)
        self.reads = (*self._logged, "is_success")
        """Measures of ``Step.log`` that are looked at here, besides rewards and ``bad_world``."""
        self._names: Optional[List[str]] = None
        self._keys: List[Tuple[str, bool]] = []
        self._log: Dict[str, torch.Tensor] = {}
        self._sums = torch.zeros(0, dtype=torch.float64, device=device)
        self._counted: Dict[str, int] = {}
        """Booleans among ``logged`` -> their places in the sums."""
        self._without_before = torch.zeros(0, dtype=torch.float64, device=device)
        """Steps without each of them before this rollout."""
        self._recorder = Recorder(device, enabled=device.type == "cuda")
        self._taken_in = Recorded(self._take_in, self._recorder, copied=1)
        self.clear()

    def restart(self, mask: torch.Tensor) -> None:
        """The episodes of the environments of `mask` (N,) bool begin anew."""
        self._over |= mask

    def begin(self, obs: Obs) -> None:
        """All episodes begin anew, with these observations."""
        self._over.fill_(True)
        self._finite.begin(obs)
        self._recorder.forget()

    def clear(self) -> None:
        """Forget the sums; running episodes go on."""
        self._without_before = self._without()
        self._steps, self._robots = 0, self._num_envs
        self._sums.zero_()
        self._finite.clear()

    def add(self, step: Step, actions: torch.Tensor) -> None:
        """Count a step in, and the actions (N, ...) that led to it."""
        if self._names is None:
            self._choose(step.log)
        same_names(self._log, self._read_of(step.log))
        self._taken_in(actions, step)
        self._steps += 1

    def _take_in(self, actions: torch.Tensor, step: Step) -> None:
        self._finite.add(actions, step)
        # Filled, not multiplied: a return may be NaN.
        self.episode_return.masked_fill_(self._over, 0.0).add_(step.reward)
        self.episode_length.masked_fill_(self._over, 0).add_(1)
        torch.logical_or(step.terminated, step.truncated, out=self._over)
        diverged = step.log.get("bad_world")
        finished = self._over if diverged is None else self._over & ~diverged
        columns = [finished, step.truncated, torch.where(finished, self.episode_return, 0.0),
                   self.episode_length * finished, finished & self._success(step.log)]
        measures = [step.log[name] for name in self._names or ()]
        table = torch.stack([column.to(torch.float32) for column in (*columns, *measures)])
        if diverged is not None:  # what a diverged world shows is no measure, but for its own column, which is first
            table[len(columns) + 1:].masked_fill_(diverged, 0.0)
        self._sums += table.sum(dim=1)

    def _read_of(self, log: Mapping[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """What is read of a log, which holds more where others read it too."""
        return {name: value for name, value in log.items()
                if name in self.reads or name == "bad_world" or name.startswith("reward/")}

    def _success(self, log: Dict[str, torch.Tensor]) -> torch.Tensor:
        """Which environments have reached their goal (N,), as SB3 calls it."""
        return log["is_success"].bool() if "is_success" in log else torch.zeros_like(self._over)

    def _choose(self, log: Dict[str, torch.Tensor]) -> None:
        """Which names of the log are read, and under which keys."""
        keys = {name: name if "/" in name else f"rollout/{name}" for name in self._logged}
        keys["bad_world"] = "rollout/bad_worlds"
        keys.update({name: name for name in log if name.startswith("reward/")})
        self._names = sorted((name for name, value in log.items() if name in keys and value.dim() == 1),
                             key=lambda name: name != "bad_world")
        self._keys = [(keys[name], log[name].dtype is torch.bool) for name in self._names]
        self._log = self._read_of(log)
        with torch.inference_mode(False):  # else it could not be written to outside of that mode
            self._sums = torch.zeros(5 + len(self._names), dtype=torch.float64, device=self._device)
            self._counted = {name: 5 + i for i, name in enumerate(self._names)
                             if name in self._logged and log[name].dtype is torch.bool and "/" not in name}
            if len(self._without_before) != len(self._counted):
                self._without_before = torch.zeros(len(self._counted), dtype=torch.float64, device=self._device)

    def _without(self) -> torch.Tensor:
        """Steps without each of ``_counted``, those of this rollout included."""
        if not self._counted:
            return self._without_before
        counts = torch.stack([self._sums[place] for place in self._counted.values()])
        return torch.where(counts > 0, 0.0, self._without_before + self._steps * self._robots)

    def merge(self, total: Callable[[torch.Tensor], torch.Tensor], processes: int) -> None:
        """Until ``clear()``, what is read is of all robots of so many processes.

        :param total: the sum of a tensor over the processes.
        """
        self._sums.copy_(total(self._sums))
        self._robots = self._num_envs * processes

    def read(self) -> Dict[str, float]:
        """The means and counts under their log keys; episode means are absent while none has finished."""
        if self._names is None or self._steps == 0:
            return {}
        numbers = torch.cat((self._sums, self._without())).tolist()
        episodes, timeouts, total_return, total_length, successes, *sums = numbers[:len(self._sums)]
        of = dict(zip(self._names, sums))
        steps = max(1.0, self._steps * self._robots - of.get("bad_world", 0.0))
        values = {key: of[name] if counted else of[name] / steps
                  for name, (key, counted) in zip(self._names, self._keys)}
        values.update({"rollout/episodes": episodes, "rollout/timeouts": timeouts})
        values.update({f"rollout/steps_without_{name}": steps_without for name, steps_without
                       in zip(self._counted, numbers[len(self._sums):])})
        if episodes:
            values["rollout/ep_rew_mean"] = total_return / episodes
            values["rollout/ep_len_mean"] = total_length / episodes
            if "is_success" in self._log:
                values["rollout/success_rate"] = successes / episodes
        return values

    def check_finite(self, obs_table: Mapping[str, int]) -> None:
        """Raise NotFinite where an action, observation or reward since ``clear()`` was NaN or infinite.

        :param obs_table: name -> width of what the observation group ``policy`` is joined from.
        """
        step, found = self._finite.first()
        if found:
            terms = {key: value for key, value in self.read().items() if key.startswith("reward/")}
            raise not_finite(step, found, obs_table, terms)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """The running episodes, and how long it is since what is counted was seen."""
        return {"without": self._without(), "returns": self.episode_return.masked_fill(self._over, 0.0),
                "lengths": self.episode_length.masked_fill(self._over, 0)}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Go on from ``state_dict()``, or from what it gave when there were running episodes alone."""
        self._without_before = state.get("without", torch.zeros(0, dtype=torch.float64)).to(self._device)
        self._over.fill_(False)
        self.episode_return.copy_(state["returns"])
        self.episode_length.copy_(state["lengths"])
