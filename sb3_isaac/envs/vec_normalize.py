"""SB3's ``VecNormalize`` with its statistics as tensors on the simulation's device."""

from __future__ import annotations

import pickle
from typing import Any, Optional, Union

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import vec_env as sb3
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.envs.vec_env import IsaacVecEnv

Array = Union[np.ndarray, torch.Tensor]


class TensorMeanStd(RunningMeanStd):
    """SB3's RunningMeanStd whose moments are float64 tensors on a device.

    ``mean``, ``var`` and ``count`` read and write as SB3's do (numpy float64 and a float); reading them waits for the
    device, ``update`` with a tensor and ``center_and_scale`` do not. A batch's own moments are float32, its merging
    with the running ones (Chan et al. 1979, as in SB3) float64, so that 10⁹ samples do not drift.
    """

    def __init__(self, epsilon: float = 1e-4, shape: Any = (), device: Union[str, torch.device] = "cpu") -> None:
        self._moments = torch.zeros(2, *shape, dtype=torch.float64, device=device)
        self._count = torch.zeros((), dtype=torch.float64, device=device)
        super().__init__(epsilon=epsilon, shape=shape)

    @classmethod
    def of(cls, rms: RunningMeanStd, device: Union[str, torch.device]) -> "TensorMeanStd":
        """A copy of stock statistics on `device`."""
        made = cls(shape=np.shape(rms.mean), device=device)
        made.mean, made.var, made.count = rms.mean, rms.var, rms.count
        return made

    def stock(self) -> RunningMeanStd:
        """A copy as SB3's own class."""
        made = RunningMeanStd(shape=np.shape(self.mean))
        made.mean, made.var, made.count = self.mean.copy(), self.var.copy(), self.count
        return made

    @property
    def mean(self) -> np.ndarray:
        """Running mean, float64."""
        return np.array(self._moments[0].cpu().numpy())

    @mean.setter
    def mean(self, value: Any) -> None:
        self._moments[0] = torch.as_tensor(value, dtype=torch.float64)

    @property
    def var(self) -> np.ndarray:
        """Running variance, float64."""
        return np.array(self._moments[1].cpu().numpy())

    @var.setter
    def var(self, value: Any) -> None:
        self._moments[1] = torch.as_tensor(value, dtype=torch.float64)

    @property
    def count(self) -> float:
        """Samples behind the moments."""
        return float(self._count)

    @count.setter
    def count(self, value: float) -> None:
        self._count.fill_(float(value))

    def update(self, arr: Array) -> None:
        """Take in a batch (N, ...), a numpy array or a tensor on the device."""
        if not isinstance(arr, torch.Tensor):
            super().update(arr)
            return
        mean = arr.mean(dim=0)
        var = (arr - mean).square_().mean(dim=0)
        own_mean, own_var = self._moments
        total = self._count + len(arr)
        share = len(arr) / total
        delta = mean - own_mean
        own_var.add_((var - own_var + delta.square() * (self._count / total)) * share)
        own_mean.add_(delta * share)
        self._count.copy_(total)

    def center_and_scale(self, epsilon: float) -> torch.Tensor:
        """Mean and 1 / √(var + ε), stacked (2, ...) float32."""
        return torch.stack((self._moments[0], (self._moments[1] + epsilon).rsqrt())).float()


class VecNormalize(sb3.VecNormalize):
    """SB3's VecNormalize, with the same arguments and order of updates, and a tensor door.

    Around an IsaacVecEnv, ``reset_tensor`` and ``step_tensor`` normalise on its device without waiting for it. Around
    any other VecEnv it behaves as SB3's. ``save`` writes a stock VecNormalize, which SB3 loads without sb3_isaac, and
    ``load`` reads one.
    """

    obs_rms: Any
    ret_rms: TensorMeanStd

    def __init__(self, venv: VecEnv, *args: Any, **kwargs: Any) -> None:
        self._place(venv)
        super().__init__(venv, *args, **kwargs)
        self._to_device()

    def _place(self, venv: VecEnv) -> None:
        self.device: torch.device = getattr(venv, "device", torch.device("cpu"))
        self._returns = torch.zeros(venv.num_envs, dtype=torch.float64, device=self.device)

    def _to_device(self) -> None:
        """Make tensors of stock statistics."""
        self.ret_rms = TensorMeanStd.of(self.ret_rms, self.device)
        if self.norm_obs:
            self.obs_rms = ({key: TensorMeanStd.of(rms, self.device) for key, rms in self.obs_rms.items()}
                            if isinstance(self.obs_rms, dict) else TensorMeanStd.of(self.obs_rms, self.device))

    @property
    def returns(self) -> Any:
        """Discounted rewards (N,) of the running episodes, float64."""
        return self._returns

    @returns.setter
    def returns(self, value: Array) -> None:
        self._returns.copy_(torch.as_tensor(value))

    # ---- the tensor door

    def reset_tensor(self) -> Obs:
        """Start all episodes; normalised observations {group: (N, k)}."""
        obs = self._door().reset_tensor()
        self._returns.zero_()
        self._learn_obs(obs)
        self.old_obs = obs  # type: ignore[assignment]
        return self._normal(obs)

    def step_tensor(self, actions: torch.Tensor) -> Step:
        """One control step with actions (N, ...) on ``device``; its observations and reward are new tensors."""
        step = self._door().step_tensor(actions)
        self.old_obs, self.old_reward = step.obs, step.reward  # type: ignore[assignment]
        self._learn_obs(step.obs)
        obs, final_obs = self._normal(step.obs), self._normal(step.final_obs)
        reward = step.reward
        if self.training:
            self._update_reward(reward)
        if self.norm_reward:
            scale = (self.ret_rms.center_and_scale(self.epsilon))[1]
            reward = (reward * scale).clamp_(-self.clip_reward, self.clip_reward)
        self._returns.mul_(~(step.terminated | step.truncated))
        return step._replace(obs=obs, reward=reward, final_obs=final_obs)

    def _door(self) -> IsaacVecEnv:
        if not isinstance(self.venv, IsaacVecEnv):
            raise UserError(f"the tensor door needs an IsaacVecEnv below VecNormalize and was given a "
                            f"{type(self.venv).__name__}: use step().")
        return self.venv

    def _rms(self, group: str) -> Optional[TensorMeanStd]:
        """The statistics of an observation group, or None where it is not normalised."""
        if not self.norm_obs:
            return None
        rms: Optional[TensorMeanStd] = self.obs_rms.get(group) if isinstance(self.obs_rms, dict) else self.obs_rms
        return rms

    def _learn_obs(self, obs: Obs) -> None:
        if self.training:
            for group, value in obs.items():
                rms = self._rms(group)
                if rms is not None:
                    rms.update(value)

    def _normal(self, obs: Obs) -> Obs:
        normal = {}
        for group, value in obs.items():
            rms = self._rms(group)
            if rms is None:
                normal[group] = value.clone()
                continue
            mean, scale = rms.center_and_scale(self.epsilon)
            normal[group] = (value - mean).mul_(scale).clamp_(-self.clip_obs, self.clip_obs)
        return normal

    def _update_reward(self, reward: Array) -> None:
        """Take rewards (N,) into the discounted returns and their statistics."""
        self._returns.mul_(self.gamma).add_(torch.as_tensor(reward, device=self.device))
        self.ret_rms.update(self._returns)

    # ---- what SB3's users read

    def get_original_obs(self) -> Any:
        """Copies of the last observations before normalisation, numpy."""
        if not isinstance(self.old_obs, dict):
            return np.array(self.old_obs)
        arrays = {key: _numpy(value) for key, value in self.old_obs.items()}
        return arrays if isinstance(self.observation_space, spaces.Dict) else arrays["policy"]

    def get_original_reward(self) -> np.ndarray:
        """A copy of the last rewards (N,) before normalisation."""
        return _numpy(self.old_reward)

    # ---- files

    def save(self, save_path: str) -> None:
        """Write a stock ``VecNormalize`` with these statistics."""
        with open(save_path, "wb") as file:
            pickle.dump(self.stock(), file)

    def stock(self) -> sb3.VecNormalize:
        """These statistics and settings as SB3's own class, without a VecEnv."""
        ours = ("device", "_returns", "old_obs")
        made = sb3.VecNormalize.__new__(sb3.VecNormalize)
        made.__dict__.update({key: value for key, value in self.__dict__.items() if key not in ours})
        made.venv, made.returns, made.old_reward = None, np.zeros(0), np.zeros(0)  # type: ignore[assignment]
        made.ret_rms = self.ret_rms.stock()
        if self.norm_obs:
            made.obs_rms = ({key: rms.stock() for key, rms in self.obs_rms.items()}
                            if isinstance(self.obs_rms, dict) else self.obs_rms.stock())
        return made

    @staticmethod
    def load(load_path: str, venv: VecEnv) -> "VecNormalize":
        """The statistics of a file that this class or SB3's wrote, around `venv`."""
        with open(load_path, "rb") as file:
            saved = pickle.load(file)
        made = VecNormalize.__new__(VecNormalize)
        made._place(venv)
        made.__dict__.update(saved.__dict__)
        made._to_device()
        made.set_venv(venv)
        return made


def _numpy(value: Array) -> np.ndarray:
    """A copy as a numpy array."""
    return np.array(value.cpu().numpy() if isinstance(value, torch.Tensor) else value)
