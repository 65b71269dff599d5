"""The CPU engine: ``mujoco.batch.Batch``, which steps all worlds on a thread pool with the GIL released."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from typing import Any, Dict, Iterator, Mapping, Optional

import mujoco
import numpy as np
import torch
from mujoco import batch

from sb3_isaac.contract.cores import available_cores
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.engine import WARNINGS

_W = mujoco.mjtWarning
_FATAL = [int(w) for w in (_W.mjWARN_BADQPOS, _W.mjWARN_BADQVEL, _W.mjWARN_BADQACC, _W.mjWARN_BADCTRL)]
"""Warnings after which a world's state is no simulation any more: MuJoCo has reset it, or ignored its controls."""
_COUNTED = dict(zip(WARNINGS, (int(w) for w in (_W.mjWARN_CONTACTFULL, _W.mjWARN_CNSTRFULL, _W.mjWARN_INERTIA))))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MuJoCo's warnings off the terminal and out of ``MUJOCO_LOG.TXT``; the counters report them instead."""
    before = mujoco.MjLogConfig.get()
    silent = mujoco.MjLogConfig.get()
    silent.logto_console = False
    silent.logto_file = False
    mujoco.MjLogConfig.set(silent)
    try:
        yield
    finally:
        mujoco.MjLogConfig.set(before)


def _transpose(source: torch.Tensor, target: torch.Tensor) -> None:
    """Copy float64 (N, ...) to float32 stored component by component; torch transposes wide ones faster once they are
    float32."""
    wide = source[0].numel() > 32
    target.copy_(source.to(target.dtype) if wide else source)


class CpuEngine:
    """N worlds of one model on the CPU's cores (see :class:`~sb3_isaac.engine.Engine`).

    Results are bit-identical at any number of threads.

    :param model: the compiled model; it should have ``jacobian="dense"`` (MuJoCo 4.0.0's Newton solver has a wrong
        Hessian with sparse constraint Jacobians: google-deepmind/mujoco#3767).
    :param num_worlds: N.
    :param threads: physics threads, by default one for each available core.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, threads: Optional[int] = None) -> None:
        if threads is not None and threads < 1:
            raise UserError(f"threads is {threads}: give a number of physics threads of at least 1, or None for all.")
        self.model = model
        self.num_worlds = num_worlds
        self.device = torch.device("cpu")
        self.timestep_s = float(model.opt.timestep)
        self.threads = min(threads or available_cores(), num_worlds)
        self.diverged = torch.zeros(num_worlds, dtype=torch.bool)
        self.physics_s = 0.0
        self.recorder: Optional[Recorder] = None
        self._warnings = dict.fromkeys(WARNINGS, 0)
        self._batch = batch.Batch(model, num_worlds, self.threads)
        self._ctrl = self._batch.bind("ctrl")
        self._qpos, self._qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._fields: Dict[str, torch.Tensor] = {}
        self._live: Dict[str, torch.Tensor] = {}
        self._stale = np.zeros(num_worlds, dtype=bool)
        """Worlds in which a model field was changed that MuJoCo derives constants from."""

    def field(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.field`. Each field that was asked for costs one copy a step.

        They are stored component by component, so that one component of all worlds is contiguous: arithmetic on
        components is then several times as fast.
        """
        if name not in self._fields:
            source = self.live(name)
            self._forward()
            # Of the new field alone: those handed out before keep the forces of the last substep.
            self._fields[name] = torch.empty(*source.shape[1:], self.num_worlds).movedim(-1, 0)
            _transpose(source, self._fields[name])
        return self._fields[name]

    def live(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.live`: float64 here, and only state fields may be written."""
        if name not in batch.DATA_FIELDS:
            raise unknown("MuJoCo data field", name, batch.DATA_FIELDS)
        if name not in self._live:
            source = self._batch.bind(name)
            if not source.flags.writeable:  # derived, and zero until the next call
                self._forward()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch has no read-only tensors
                self._live[name] = torch.from_numpy(source)
        return self._live[name]

    def update(self) -> None:
        """See :meth:`Engine.update`."""
        start = time.perf_counter()
        self._forward(mujoco.mjtStage.mjSTAGE_VEL)
        self.physics_s += time.perf_counter() - start

    def _forward(self, stage: mujoco.mjtStage = mujoco.mjtStage.mjSTAGE_ACC) -> None:
        """All fields of this stage at the present state.

        MuJoCo resets diverged worlds here too: state and counters are put back, so that the next step reports them.
        """
        self._derive()
        state, counters = self._batch.state.copy(), self._batch.warning.copy()
        with quiet(), contextlib.suppress(batch.SimulationError):
            self._batch.forward(stage=stage.value)
        self._batch.state[...], self._batch.warning[...] = state, counters

    def step(self, ctrl: torch.Tensor, nstep: int) -> None:
        """See :meth:`Engine.step`.

        No stage is computed at the new state: that costs a quarter of the physics (``mjSTAGE_VEL``, at 10 ms × 2).
        Where each physics step has controls of its own, a world with a warning waits for the next call.
        """
        several = ctrl.dim() == 3
        if not several:
            np.copyto(self._ctrl, ctrl.numpy(), casting="same_kind")
        failed = None
        start = time.perf_counter()
        self._derive()
        with quiet():
            try:
                if several:  # in one call, for each costs a twentieth of a control step
                    rows = ctrl.transpose(0, 1).flatten(1).contiguous()  # torch transposes faster than numpy
                    self._batch.rollout(nstep, rows.unflatten(1, (nstep, -1)).numpy(), record=())
                else:
                    self._batch.step(nstep=nstep, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
            except batch.SimulationError as error:
                failed = error.ids
        self.physics_s += time.perf_counter() - start
        self._refresh()
        self._find_diverged(failed)

    def _find_diverged(self, failed: Optional[np.ndarray]) -> None:
        """MuJoCo resets a diverged world itself, so a finite state proves nothing: its warning counters tell.

        The counters are cleared here because MuJoCo's own reset clears them too, and sets them to 1 each time.
        """
        qpos, qvel = (self._fields[name] if name in self._fields else self.live(name) for name in ("qpos", "qvel"))
        if math.isfinite(float(qpos.sum() + qvel.sum())):
            self.diverged.zero_()
        else:
            torch.logical_not(torch.isfinite(qpos.sum(dim=1) + qvel.sum(dim=1)), out=self.diverged)
        if failed is not None:
            self.diverged[torch.from_numpy(failed).long()] = True
        warning = self._batch.warning
        if warning.any():  # rare, and a third of the work to find out
            self.diverged |= torch.from_numpy(warning[:, _FATAL, 1].any(axis=1))
            for name, kind in _COUNTED.items():
                self._warnings[name] += int(warning[:, kind, 1].sum())
            warning[...] = 0

    def warnings(self) -> Dict[str, int]:
        """See :meth:`Engine.warnings`."""
        counts, self._warnings = self._warnings, dict.fromkeys(WARNINGS, 0)
        return counts

    def reset(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor,
              ctrl: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.reset`. All fields, forces included, are current for the worlds that were reset."""
        rows = mask.numpy()
        if not rows.any():
            return
        failed = None
        start = time.perf_counter()
        self._derive()
        with quiet():
            self._batch.reset(rows, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
            self._qpos[rows] = qpos.numpy()[rows]
            self._qvel[rows] = qvel.numpy()[rows]
            if ctrl is not None:
                self._ctrl[rows] = ctrl.numpy()[rows]
            try:
                self._batch.forward(rows)
            except batch.SimulationError as error:
                failed = error.ids
        self.physics_s += time.perf_counter() - start
        self.diverged &= ~mask
        if failed is not None:
            self.diverged[torch.from_numpy(failed).long()] = True
        self._refresh(mask)

    def write(self, mask: torch.Tensor, qpos: Optional[torch.Tensor] = None,
              qvel: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.write`."""
        ids = mask.nonzero().flatten()
        for name, own, values in (("qpos", self._qpos, qpos), ("qvel", self._qvel, qvel)):
            if values is not None:
                written = values[ids]
                own[ids.numpy()] = written.numpy()
                if name in self._fields:
                    self._fields[name][ids] = written.float()

    def _refresh(self, mask: Optional[torch.Tensor] = None) -> None:
        """Copy MuJoCo's fields to those handed out, of all worlds or of those of `mask`."""
        ids = None if mask is None else mask.nonzero().flatten()
        for name, target in self._fields.items():
            if ids is None:
                _transpose(self._live[name], target)
            else:
                target[ids] = self._live[name][ids].to(target.dtype)

    def model_field(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.model_field`."""
        if name not in batch.MODEL_FIELDS:
            raise unknown("MuJoCo model field", name, batch.MODEL_FIELDS)
        self._derive()
        own = self._batch.expanded(name)
        if own is None:
            shared = self._shared(name)
            own = np.broadcast_to(shared, (self.num_worlds, *shared.shape))
        return torch.from_numpy(own.astype(np.float32))

    def _shared(self, name: str) -> np.ndarray:
        """The compiled model's field `name`, which holds in worlds that have none of their own."""
        return np.asarray(getattr(self.model.opt, name[4:]) if name.startswith("opt.") else getattr(self.model, name))

    def _expanded(self) -> Dict[str, np.ndarray]:
        """The model fields of which each world has its own."""
        return {n: v for n in sorted(batch.MODEL_FIELDS) if (v := self._batch.expanded(n)) is not None}

    def live_model_field(self, name: str) -> torch.Tensor:
        """Each world's own values (N, ...) of a model field, float64, not copied: what is written into them holds from
        the next step on, and constants that MuJoCo derives from the field do not follow."""
        return torch.from_numpy(self._batch.expand(name))

    def set_model_field(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.set_model_field`. Derived constants follow when they are needed, once for all changes."""
        if name not in batch.MODEL_FIELDS:
            raise unknown("MuJoCo model field", name, batch.MODEL_FIELDS)
        own = self._batch.expand(name)
        if tuple(values.shape) != own.shape:
            raise UserError(f"model field {name!r} was given shape {tuple(values.shape)}: it takes {own.shape}.")
        rows = slice(None) if mask is None else mask.numpy()
        own[rows] = values.numpy()[rows]
        if name in mujoco.MjModel._setconst_inputs or name.startswith("opt."):
            self._stale[rows] = True

    def _derive(self) -> None:
        """Let the constants that MuJoCo derives from model fields follow in the worlds where such fields changed."""
        if self._stale.any():
            self._batch.set_const(self._stale)
            self._stale[:] = False

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`Engine.state_dict`."""
        self._derive()
        return {
            "state": torch.from_numpy(self._batch.state.copy()),
            "warning": torch.from_numpy(self._batch.warning.copy()),
            "diverged": self.diverged.clone(),
            "fields": {name: value.clone() for name, value in self._fields.items() if name not in ("qpos", "qvel")},
            "model": {name: torch.from_numpy(values.copy()) for name, values in self._expanded().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Engine.load_state_dict`."""
        saved = tuple(state["state"].shape) if "state" in state else "of another simulator"
        if saved != self._batch.state.shape:
            raise UserError(f"the saved simulation has state {saved} and this one {self._batch.state.shape}: continue "
                            "with the same simulator, robot and number of environments.")
        self._stale[:] = False  # the saved constants are those of the saved fields
        for name in self._expanded().keys() - state["model"].keys():
            self._batch.expand(name)[...] = self._shared(name)
        for name, values in state["model"].items():
            self._batch.expand(name)[...] = values.numpy()
        self._batch.state[...] = state["state"].numpy()
        self._forward()
        self._batch.warning[...] = state["warning"].numpy()
        self.diverged.copy_(state["diverged"])
        self._refresh()
        for name in self._fields.keys() & state["fields"].keys():
            self._fields[name].copy_(state["fields"][name])  # those of the last physics step, which is over

    def mj_data(self, world: int) -> mujoco.MjData:
        """A copy of one world for rendering or for any ``mj_`` function, its kinematics computed."""
        self._derive()
        data = self._batch.get_data(world)
        mujoco.mj_kinematics(self._batch.get_model(world), data)
        return data

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self._fields.clear()
        self._live.clear()
        self.__dict__.pop("_batch", None)
