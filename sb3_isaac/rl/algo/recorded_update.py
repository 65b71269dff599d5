"""PPO's gradient steps on a GPU, recorded once as a CUDA graph and then repeated."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Optional, Tuple

import torch

from sb3_isaac.contract.recorded import Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.rl import distributed
from sb3_isaac.rl.algo.gaussian import is_plain
from sb3_isaac.rl.algo.minibatch import with_normal_advantages
from sb3_isaac.rl.algo.optimizer import takes_fused_kernel
from sb3_isaac.rl.algo.rollout_buffer import Minibatch
from sb3_isaac.rl.algo.update_log import KL


class RecordedUpdate:
    """Loss, gradients and optimizer step of a minibatch as one recorded function.

    Learning rates are numbers on the GPU while it lasts. So is whether ``target_kl`` forbids the step: the optimizer's
    kernel then changes nothing, as it does for PyTorch's gradient scaler. So one wait for the GPU is left, after the
    minibatch, and none without a ``target_kl``.

    :param model: a PPO of ours.
    :param recorder: records the steps.
    """

    def __init__(self, model: Any, recorder: Recorder) -> None:
        self._model, self._recorder = model, recorder
        self._stepped = Recorded(self._step, recorder, copied=1)
        self._rates: List[torch.Tensor] = []
        self._forbidden = torch.zeros((), device=recorder.device)
        self.in_use = False

    def possible(self) -> bool:
        """Whether this model's steps can be recorded: by one process, of a plain policy, by torch's own Adam."""
        model, optimizer = self._model, self._model.policy.optimizer
        return (self._recorder.enabled and distributed.world_size() == 1 and is_plain(model.policy)
                and not model.compile_loss
                and all(group["fused"] and takes_fused_kernel(optimizer, group) for group in optimizer.param_groups))

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Within it :meth:`minibatch` may be called, where it is possible; else nothing is changed."""
        optimizer = self._model.policy.optimizer
        groups = optimizer.param_groups
        if not self.possible():
            yield
            return
        numbers = [group["lr"] for group in groups]
        if len(self._rates) != len(groups):
            self._rates = [torch.zeros((), device=self._forbidden.device) for _ in groups]
        for group, rate, number in zip(groups, self._rates, numbers):
            group["lr"] = rate.fill_(float(number))
        if self._model.target_kl is not None:
            optimizer.found_inf = self._forbidden
        self.in_use = True
        try:
            yield
        finally:
            self.in_use = False
            vars(optimizer).pop("found_inf", None)
            for group, number in zip(groups, numbers):
                group["lr"] = number

    def minibatch(self, batch: Minibatch, clip_range: float,
                  clip_range_vf: Optional[float]) -> Tuple[torch.Tensor, bool]:
        """As :meth:`PPO._minibatch`."""
        model = self._model
        optimizer = model.policy.optimizer
        state = [value for of in optimizer.state.values() for value in of.values()]
        parts = self._stepped(batch, clip_range, clip_range_vf, model.target_kl, model.ent_coef, model.vf_coef,
                              model.max_grad_norm, model.normalize_advantage, model.policy, optimizer,
                              [group["params"] for group in optimizer.param_groups], state, self._rates).clone()
        return parts, model.target_kl is None or float(parts[KL]) <= 1.5 * model.target_kl

    def _step(self, batch: Minibatch, clip_range: float, clip_range_vf: Optional[float], target_kl: Optional[float],
              *_: Any) -> torch.Tensor:
        model = self._model
        batch = with_normal_advantages(batch) if model.normalize_advantage else batch
        model.policy.optimizer.zero_grad()
        loss, parts = model._loss(batch, clip_range, clip_range_vf)
        loss.backward()
        if target_kl is not None:
            self._forbidden.copy_(parts[KL] > 1.5 * target_kl)
        groups = model.policy.optimizer.param_groups
        before = [group["capturable"] for group in groups]
        for group in groups:
            group["capturable"] |= self._recorder.recording  # torch asks for it then, and warns of it else
        model._descend()
        for group, capturable in zip(groups, before):
            group["capturable"] = capturable
        return parts
