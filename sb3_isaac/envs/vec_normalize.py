"""SB3's ``VecNormalize`` with its statistics as tensors on the simulation's device."""

from __future__ import annotations

import pickle
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import vec_env as sb3
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
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
        self.mirror: Optional[Mirror] = None
        """Where set, the moments are those of what is taken in and of its mirror image."""
        super().__init__(epsilon=epsilon, shape=shape)

    @property
    def device(self) -> torch.device:
        """Where the moments are."""
        return self._moments.device

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
        """Take in a batch (N, ...), a numpy array or a tensor on the device.

        The moments of a component in which a row is not finite stay as they are.
        """
        if not isinstance(arr, torch.Tensor):
            if self.mirror is None:
                super().update(arr)
                return
            arr = torch.as_tensor(arr, dtype=torch.float32, device=self.device)
        mean = arr.mean(dim=0)
        var = (arr - mean).square_().mean(dim=0)
        if self.mirror is not None:  # half of the batch and half of its mirror image
            image = self.mirror.of(mean)
            var = 0.5 * (var + var[list(self.mirror.source)]) + (0.5 * (mean - image)).square()
            mean = 0.5 * (mean + image)
        own_mean, own_var = self._moments
        finite = torch.isfinite(var)
        mean, var = torch.where(finite, mean, own_mean), torch.where(finite, var, own_var)
        total = self._count + len(arr)
        share = len(arr) / total
        delta = mean - own_mean
        own_var.add_((var - own_var + delta.square() * (self._count / total)) * share)
        own_mean.add_(delta * share)
        self._count.copy_(total)

    def update_from_moments(self, batch_mean: np.ndarray, batch_var: np.ndarray, batch_count: float) -> None:
        """See SB3; as for :meth:`update`."""
        finite = np.isfinite(batch_var)
        super().update_from_moments(np.where(finite, batch_mean, self.mean), np.where(finite, batch_var, self.var),
                                    batch_count)

    def center_and_scale(self, epsilon: float) -> torch.Tensor:
        """Mean and 1 / √(var + ε), stacked (2, ...) float32."""
        return torch.stack((self._moments[0], (self._moments[1] + epsilon).rsqrt())).float()


class VecNormalize(sb3.VecNormalize):
    """SB3's VecNormalize, with the same arguments and order of updates, on tensors.

    Around an IsaacVecEnv, ``reset_tensor`` and ``step_tensor`` normalise on its device without waiting for it, and
    groups of images (3-D uint8) stay as they are: ``norm_obs_keys`` are by default all other groups. Around any other
    VecEnv it behaves as SB3's. ``save`` writes a stock VecNormalize, which SB3 loads without sb3_isaac, and ``load``
    reads one. Pickled or copied, it comes back without its VecEnv, as SB3's does: give one with ``set_venv``.
    Statistics that are assigned to ``obs_rms`` or ``ret_rms`` may be SB3's: they are taken over as tensors.

    :raises UserError: where ``norm_obs_keys`` names an image.
    """

    obs_rms: Any
    ret_rms: TensorMeanStd

    def __init__(self, venv: VecEnv, training: bool = True, norm_obs: bool = True, norm_reward: bool = True,
                 clip_obs: float = 10.0, clip_reward: float = 10.0, gamma: float = 0.99, epsilon: float = 1e-8,
                 norm_obs_keys: Optional[List[str]] = None) -> None:
        self._place(venv)
        if norm_obs and isinstance(venv.unwrapped, IsaacVecEnv):
            norm_obs, norm_obs_keys = _without_images(venv.observation_space, norm_obs_keys)
        super().__init__(venv, training, norm_obs, norm_reward, clip_obs, clip_reward, gamma, epsilon, norm_obs_keys)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _as_tensors(value, self.device) if name in ("obs_rms", "ret_rms") else value)

    def _place(self, venv: VecEnv) -> None:
        self.device: torch.device = getattr(venv, "device", torch.device("cpu"))
        self._returns = torch.zeros(venv.num_envs, dtype=torch.float64, device=self.device)

    @property
    def returns(self) -> Any:
        """Discounted rewards (N,) of the running episodes, float64."""
        return self._returns

    @returns.setter
    def returns(self, value: Array) -> None:
        self._returns.copy_(torch.as_tensor(value))

    def mirror_obs(self, mirrors: Mapping[str, Mirror]) -> None:
        """From now on take in observations together with their mirror images, so that the statistics are symmetric.

        :param mirrors: of each group, see :meth:`TensorEnv.mirror`.
        """
        for group, mirror in mirrors.items():
            rms = self._rms(group)
            if rms is not None:
                rms.mirror = mirror

    # ---- by tensors

    def reset_tensor(self) -> Obs:
        """Start all episodes; normalised observations {group: (N, k)}."""
        obs = _row_by_row(self._isaac_env().reset_tensor())
        self._returns.zero_()
        self._learn_obs(obs)
        self.old_obs = obs  # type: ignore[assignment]
        return self._normal(obs)

    def step_tensor(self, actions: torch.Tensor) -> Step:
        """One control step with actions (N, ...) on ``device``; its observations and reward are new tensors.

        Groups of ``final_obs`` that are not normalised stay the environment's own live tensors.
        """
        step = self._isaac_env().step_tensor(actions)
        raw_obs = _row_by_row(step.obs)
        self.old_obs, self.old_reward = raw_obs, step.reward  # type: ignore[assignment]
        self._learn_obs(raw_obs)
        obs, final_obs = self._normal(raw_obs), self._normal(step.final_obs, copy=False)
        reward = step.reward
        if self.training:
            self._update_reward(reward)
        if self.norm_reward:
            scale = (self.ret_rms.center_and_scale(self.epsilon))[1]
            reward = (reward * scale).clamp_(-self.clip_reward, self.clip_reward)
        self._returns.masked_fill_(step.terminated | step.truncated, 0.0)  # filled, not multiplied: it may be NaN
        return step._replace(obs=obs, reward=reward, final_obs=final_obs)

    def _isaac_env(self) -> IsaacVecEnv:
        if not isinstance(self.venv, IsaacVecEnv):
            raise UserError(f"stepping by tensors needs an IsaacVecEnv below VecNormalize and was given a "
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

    def _normal(self, obs: Obs, copy: bool = True) -> Obs:
        normal = {}
        for group, value in obs.items():
            rms = self._rms(group)
            if rms is None:
                normal[group] = value.clone() if copy else value
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
        ours = ("device", "_returns", "old_obs", "obs_rms", "ret_rms")
        made = sb3.VecNormalize.__new__(sb3.VecNormalize)
        made.__dict__.update({key: value for key, value in self.__dict__.items() if key not in ours})
        made.venv, made.returns, made.old_reward = None, np.zeros(0), np.zeros(0)  # type: ignore[assignment]
        made.ret_rms = self.ret_rms.stock()
        if "obs_rms" in self.__dict__:
            made.obs_rms = ({key: rms.stock() for key, rms in self.obs_rms.items()}
                            if isinstance(self.obs_rms, dict) else self.obs_rms.stock())
        return made

    @staticmethod
    def load(load_path: str, venv: VecEnv) -> "VecNormalize":
        """The statistics of a file that this class or SB3's wrote, around `venv`."""
        with open(load_path, "rb") as file:
            saved = pickle.load(file)
        made = VecNormalize.__new__(VecNormalize)
        made.__setstate__(saved.__dict__)
        made.set_venv(venv)
        return made

    def __getstate__(self) -> Dict[str, Any]:
        """The state of a stock VecNormalize, without its VecEnv and what depends on it."""
        state = {key: value for key, value in self.stock().__dict__.items()
                 if key not in ("venv", "class_attributes", "returns")}
        if "old_obs" in self.__dict__:
            state.update(old_obs=self.get_original_obs(), old_reward=self.get_original_reward())
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.device = torch.device("cpu")  # until there is a VecEnv
        statistics: Dict[str, Any] = {key: _as_tensors(state[key], self.device)
                                      for key in ("obs_rms", "ret_rms") if key in state}
        rest = {key: value for key, value in state.items() if key not in ("venv", "returns", *statistics)}
        super().__setstate__({**rest, **statistics})
        self._returns = torch.zeros(self.num_envs, dtype=torch.float64)

    def set_venv(self, venv: VecEnv) -> None:
        """See SB3; the statistics move to the device of `venv`."""
        if self.venv is None:
            self._place(venv)
            for name in ("obs_rms", "ret_rms"):
                if name in self.__dict__:
                    setattr(self, name, getattr(self, name))
        super().set_venv(venv)


def _as_tensors(statistics: Any, device: torch.device) -> Any:
    """SB3's RunningMeanStd, or a dict of them, on `device`; what is so already stays the same object."""
    if isinstance(statistics, dict):
        made = {key: _as_tensors(rms, device) for key, rms in statistics.items()}
        return statistics if all(made[key] is rms for key, rms in statistics.items()) else made
    device = torch.empty(0, device=device).device  # "cuda" is cuda:0
    placed = isinstance(statistics, TensorMeanStd) and statistics.device == device
    return statistics if placed else TensorMeanStd.of(statistics, device)


def _without_images(space: spaces.Space, keys: Optional[List[str]]) -> Tuple[bool, Optional[List[str]]]:
    """Whether to normalise observations, and which groups: those that are no images."""
    if not isinstance(space, spaces.Dict):
        return not is_image_space(space), keys
    images = [key for key, group in space.spaces.items() if is_image_space(group)]
    named = [key for key in keys or () if key in images]
    if named:
        raise UserError(f"norm_obs_keys names {', '.join(named)}, which holds images: leave it out, for the policy "
                        "scales images itself.")
    unknown = [key for key in keys or () if key not in space.spaces]
    if unknown:
        raise UserError(f"norm_obs_keys names {', '.join(unknown)}, and the groups are {', '.join(space.spaces)}: "
                        "give names of these.")
    return True, [key for key in space.spaces if key not in images] if keys is None else keys


def _row_by_row(obs: Obs) -> Obs:
    """Observations stored one environment after the other, as SB3 has them: sums over them then round as SB3's do."""
    return {group: value.contiguous() for group, value in obs.items()}


def _numpy(value: Array) -> np.ndarray:
    """A copy as a numpy array."""
    return np.array(value.cpu().numpy() if isinstance(value, torch.Tensor) else value)
