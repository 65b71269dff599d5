"""A kind of client that this package has no adapter for, and the one file that an adapter for it is.

Its environments are counters: the observation is the step of the episode, which is given on after the episode's end.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch

from sb3_isaac.clients import Adapter
from sb3_isaac.clients.adapter import ClientEnv, ClientStep, Groups

ROW = Adapter(module="stand_in_client", describes="stand-in", packages=("stand_in",), layout=("counters",),
              members=("observation", "advance", "limit"), live_options=("stagger",),
              make_options=("device", "seed", "limit"))


class Counters:
    """The client's environment: ends at `limit` steps, or where the action is above 0.5."""

    def __init__(self, num_envs: int, limit: int = 5) -> None:
        self.num_envs, self.limit, self.observation = num_envs, limit, torch.zeros(num_envs, 1)

    def advance(self, actions: torch.Tensor) -> Tuple[Dict[str, torch.Tensor], torch.Tensor, Dict[str, torch.Tensor]]:
        self.observation += 1.0
        late, pushed = self.observation[:, 0] >= self.limit, actions[:, 0] > 0.5
        extra = {"done": late | pushed, "late": late & ~pushed, "last": self.observation.clone()}
        self.observation[extra["done"]] = 0.0
        return {"obs": self.observation}, actions[:, 0], extra


class CountersEnv(ClientEnv):
    """All that is peculiar to them."""

    def __init__(self, env: Counters, stagger: bool = True) -> None:
        super().__init__(env, widths={"policy": 1}, num_actions=1, device="cpu", max_steps=env.limit, control_dt=0.1,
                         action_bound=1.0, stagger=stagger)

    def _client_reset(self) -> Groups:
        self.client.observation.zero_()
        return {"policy": self.client.observation}

    def _client_step(self, actions: torch.Tensor) -> ClientStep:
        obs, reward, extra = self.client.advance(actions)
        return ClientStep({"policy": obs["obs"]}, reward, extra["done"], extra["late"], {"policy": extra["last"]})


adapt = CountersEnv


def make(package: str, task: str, num_envs: int, *, device: str = "auto", seed: Optional[int] = None, limit: int = 5,
         **adapter: Any) -> CountersEnv:
    assert (package, task) == ("stand_in", "count")
    return CountersEnv(Counters(num_envs, limit), **adapter)
