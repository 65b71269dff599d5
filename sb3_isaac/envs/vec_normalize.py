"""SB3's ``VecNormalize`` with its statistics as tensors on the simulation's device."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import vec_env as sb3
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.contract.recorded import Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.tensor_env import Obs, Step
from sb3_isaac.envs.mean_std import Array, Merge, Mirrored, TensorMeanStd, center_and_scale, for_tensors, take_in
from sb3_isaac.envs.vec_env import IsaacVecEnv

_LAST = ("old_obs", "old_reward")


class VecNormalize(sb3.VecNormalize):
    """SB3's VecNormalize, with the same arguments and order of updates, on tensors.

    Around an IsaacVecEnv, ``reset_tensor`` and ``step_tensor`` normalise on its device without waiting for it, and
    groups of images (3-D uint8) stay as they are: ``norm_obs_keys`` are by default all other groups. Around any other
    VecEnv it behaves as SB3's. ``save`` writes a stock VecNormalize, which SB3 loads without sb3_isaac, and ``load``
    reads one. Pickled or copied, it comes back without its VecEnv, as SB3's does: give one with ``set_venv``.
    ``obs_rms``, ``ret_rms`` and ``returns`` are read, edited in place and assigned as SB3's are; statistics of SB3's
    class turn into tensors when tensors are normalised, and stay the same objects.

    :raises UserError: where ``norm_obs_keys`` names an image.
    """

    def __init__(self, venv: VecEnv, training: bool = True, norm_obs: bool = True, norm_reward: bool = True,
                 clip_obs: float = 10.0, clip_reward: float = 10.0, gamma: float = 0.99, epsilon: float = 1e-8,
                 norm_obs_keys: Optional[List[str]] = None) -> None:
        if norm_obs and isinstance(venv.unwrapped, IsaacVecEnv):
            norm_obs, norm_obs_keys = _without_images(venv.observation_space, norm_obs_keys)
        super().__init__(venv, training, norm_obs, norm_reward, clip_obs, clip_reward, gamma, epsilon, norm_obs_keys)
        self._begin()
        for rms in self._statistics():
            for_tensors(rms)

    def _begin(self) -> None:
        self._mirrors: Dict[str, Mirror] = {}
        self._merge: Optional[Merge] = None
        self._recorded: Optional[Recorded] = None

    def _statistics(self) -> List[RunningMeanStd]:
        observed: Any = self.obs_rms if self.norm_obs else {}
        return [self.ret_rms, *(observed.values() if isinstance(observed, dict) else [observed])]

    @property
    def device(self) -> torch.device:
        """Where tensors are: that of the VecEnv below."""
        device: torch.device = getattr(self.venv, "device", torch.device("cpu"))
        return device

    @property
    def returns(self) -> np.ndarray:
        """Discounted rewards (N,) of the running episodes, float64; what is written into it counts."""
        return self._returns.array

    @returns.setter
    def returns(self, value: Any) -> None:
        self._returns = Mirrored(value)

    @property
    def old_obs(self) -> Any:
        """The last observations before normalisation, numpy."""
        raw = self._old_obs
        if not isinstance(raw, dict):
            return raw
        arrays = {key: _numpy(value) for key, value in raw.items()}
        return arrays if isinstance(self.observation_space, spaces.Dict) else arrays["policy"]

    @old_obs.setter
    def old_obs(self, value: Any) -> None:
        self._old_obs = value

    @property
    def old_reward(self) -> np.ndarray:
        """The last rewards (N,) before normalisation, numpy."""
        return _numpy(self._old_reward)

    @old_reward.setter
    def old_reward(self, value: Array) -> None:
        self._old_reward = value

    def mirror_obs(self, mirrors: Mapping[str, Mirror]) -> None:
        """From now on take in observations together with their mirror images, so that the statistics are symmetric.

        :param mirrors: of each group, see :meth:`TensorEnv.mirror`.
        """
        self._mirrors = dict(mirrors)
        for group in mirrors:
            self._rms(group)

    def merge_moments(self, merge: Merge) -> None:
        """From now on take in what several processes observe, so that each has the statistics of all.

        :param merge: makes the moments of a batch those of all processes' batches.
        """
        self._merge = merge
        space = self.observation_space
        for group in space.spaces if isinstance(space, spaces.Dict) else ("policy",):
            self._rms(group)
        for_tensors(self.ret_rms, merge=merge)

    # ---- by tensors

    def reset_tensor(self) -> Obs:
        """Start all episodes; normalised observations {group: (N, k)}."""
        obs = _row_by_row(self._isaac_env().reset_tensor())
        self.returns = np.zeros(self.num_envs)
        self._learn_obs(obs)
        self.old_obs = obs
        return self._normal(obs)

    def step_tensor(self, actions: torch.Tensor) -> Step:
        """One control step with actions (N, ...) on ``device``; its observations are new tensors, and so is its reward
        where rewards are normalised.

        All others may change at the next step, as those of the environment do.
        """
        step = self._isaac_env().step_tensor(actions)
        self.old_reward = step.reward
        if self._recorded is None:
            self._recorded = Recorded(self._take_in, Recorder(self.device, enabled=self.device.type == "cuda"))
        if self._recorded.plain or self._merge is not None:
            self.old_obs, obs, final_obs, reward = self._take_in(step)
            return step._replace(obs=obs, reward=reward, final_obs=final_obs)
        kept = [self._returns, *(part for rms in self._statistics() if isinstance(rms, TensorMeanStd)
                                 for part in rms.mirrored())]
        # Where they are is what the recorded step depends on; edits of arrays come in before it.
        self.old_obs, obs, final_obs, reward = self._recorded(step, [part.tensor(self.device) for part in kept],
                                                              self._settings())
        for part in kept if self.training else kept[:1]:
            part.written()
        obs = {group: value.clone() for group, value in obs.items()}
        return step._replace(obs=obs, reward=reward.clone(), final_obs=final_obs)

    def _settings(self) -> List[Any]:
        return [self.training, self.norm_obs, self.norm_reward, self.clip_obs, self.clip_reward, self.gamma,
                self.epsilon, *self._statistics(), *self._mirrors.values()]

    def _take_in(self, step: Step, *settings: Any) -> Tuple[Obs, Obs, Obs, torch.Tensor]:
        """Learn of a step. Its observations as they are, and normalised: observations, final ones, and the reward."""
        raw_obs = _row_by_row(step.obs)
        self._learn_obs(raw_obs)
        scaling = self._scaling(raw_obs)
        obs, final_obs = self._scaled(raw_obs, scaling), self._scaled(step.final_obs, scaling, new=False)
        returns, reward = self._returns.tensor(self.device), step.reward
        if self.training:
            returns = returns * self.gamma + reward
            take_in(self.ret_rms, returns)
        if self.norm_reward:
            _, scale = center_and_scale(self.ret_rms, self.epsilon, self.device)
            reward = (reward * scale).clamp_(-self.clip_reward, self.clip_reward)
        self._returns.write(returns.masked_fill(step.terminated | step.truncated, 0.0))  # it may be NaN
        return raw_obs, obs, final_obs, reward

    def _isaac_env(self) -> IsaacVecEnv:
        if not isinstance(self.venv, IsaacVecEnv):
            raise UserError(f"stepping by tensors needs an IsaacVecEnv below VecNormalize and was given a "
                            f"{type(self.venv).__name__}: use step().")
        return self.venv

    def _rms(self, group: str) -> Optional[RunningMeanStd]:
        """The statistics of an observation group, or None where it has none."""
        if not self.norm_obs:
            return None
        rms: Any = self.obs_rms
        found: Optional[RunningMeanStd] = rms.get(group) if isinstance(rms, dict) else rms
        if found is not None:
            for_tensors(found, self._mirrors.get(group), self._merge)
        return found

    def _learn_obs(self, obs: Obs) -> None:
        if self.training:
            for group, value in obs.items():
                rms = self._rms(group)
                if rms is not None:
                    take_in(rms, value)

    def _normal(self, obs: Obs) -> Obs:
        return self._scaled(obs, self._scaling(obs))

    def _scaling(self, groups: Iterable[str]) -> Dict[str, Tuple[torch.Tensor, torch.Tensor]]:
        """Mean and 1 / √(var + ε) of those of the groups that are normalised."""
        found = {}
        for group in groups:
            rms = self._rms(group)
            if rms is not None and (not isinstance(self.obs_rms, dict) or group in (self.norm_obs_keys or ())):
                found[group] = center_and_scale(rms, self.epsilon, self.device)
        return found

    def _scaled(self, obs: Obs, scaling: Mapping[str, Tuple[torch.Tensor, torch.Tensor]], new: bool = True) -> Obs:
        normal = {}
        for group, value in obs.items():
            if group in scaling:
                mean, scale = scaling[group]
                normal[group] = (value - mean).mul_(scale).clamp_(-self.clip_obs, self.clip_obs)
            else:
                normal[group] = value.clone() if new else value
        return normal

    # ---- files

    def save(self, save_path: str) -> None:
        """Write a stock ``VecNormalize`` with these statistics; a class derived from this one is written as it is."""
        with open(save_path, "wb") as file:
            pickle.dump(self.stock() if type(self) is VecNormalize else self, file)

    def stock(self) -> sb3.VecNormalize:
        """These statistics and settings as SB3's own class, without a VecEnv and what it gave last."""
        made = sb3.VecNormalize.__new__(sb3.VecNormalize)
        made.__setstate__({key: value for key, value in copy.deepcopy(self.__getstate__()).items() if key != "old_obs"})
        made.class_attributes, made.returns, made.old_reward = {}, np.zeros(0), np.zeros(0)
        return made

    @staticmethod
    def load(load_path: str, venv: VecEnv) -> "VecNormalize":
        """The statistics of a file that this class or SB3's wrote, around `venv`."""
        with open(load_path, "rb") as file:
            saved = pickle.load(file)
        made: VecNormalize = saved
        if not isinstance(saved, VecNormalize):
            made = VecNormalize.__new__(VecNormalize)
            made.__setstate__({key: value for key, value in saved.__dict__.items() if key != "venv"})
        made.set_venv(venv)
        return made

    def __getstate__(self) -> Dict[str, Any]:
        """The state of a stock VecNormalize, without its VecEnv and what depends on it."""
        ours = ("venv", "class_attributes", "_returns", "_old_obs", "_old_reward", "_mirrors", "_merge", "_recorded")
        state = {key: value for key, value in self.__dict__.items() if key not in ours}
        state.update({name: getattr(self, name) for name in _LAST if f"_{name}" in self.__dict__})
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        super().__setstate__({key: value for key, value in state.items() if key not in _LAST})
        self._begin()
        for name in _LAST:
            if name in state:
                setattr(self, name, state[name])


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
