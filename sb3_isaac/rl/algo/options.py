"""The arguments of PPO as types: for editors and type checkers, nothing reads this at run time."""

from __future__ import annotations

from typing import Any, Dict, Optional, Type, TypedDict, Union

import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import Schedule


class PPOArguments(TypedDict, total=False):
    """Keyword arguments of ``stable_baselines3.PPO`` beside policy and environment; SB3 says what each means."""

    learning_rate: Union[float, Schedule]
    n_steps: int
    batch_size: int
    n_epochs: int
    gamma: float
    gae_lambda: float
    clip_range: Union[float, Schedule]
    clip_range_vf: Union[float, Schedule, None]
    normalize_advantage: bool
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    use_sde: bool
    sde_sample_freq: int
    rollout_buffer_class: Optional[Type[RolloutBuffer]]
    rollout_buffer_kwargs: Optional[Dict[str, Any]]
    target_kl: Optional[float]
    stats_window_size: int
    tensorboard_log: Optional[str]
    policy_kwargs: Optional[Dict[str, Any]]
    verbose: int
    seed: Optional[int]
    device: Union[torch.device, str]
    _init_setup_model: bool
