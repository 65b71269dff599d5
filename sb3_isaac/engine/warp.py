"""The Warp engine: MuJoCo Warp, whose kernels step all worlds at once on a GPU, or one after the other on a CPU."""

from __future__ import annotations

import warnings
from typing import Any, Dict, Iterator, Mapping, Optional, Set, Tuple

import mujoco
import numpy as np
import torch
from mujoco import batch

from sb3_isaac.contract.device_timer import DeviceTimer
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.recorder import Recorder, no_collection
from sb3_isaac.engine import WARNINGS
from sb3_isaac.engine.ground_planes import Heights
from sb3_isaac.engine.warp_setup import (
    bytes_for_each,
    check_worlds_fit,
    choose_sizes,
    libraries,
    moving_planes,
    put_model,
    said_where_slow,
    warp_device,
)

LARGEST = 1e10
"""A state or control beyond this is none: mjMAXVAL, at which MuJoCo itself gives a world up."""
STATE = ("qpos", "qvel", "act", "ctrl", "time", "qacc_warmstart", "qfrc_applied", "xfrc_applied")
"""Fields of ``MjData`` that the next step depends on. All others are derived from them."""
DERIVED_CONSTANTS = (
    "body_subtreemass", "body_invweight0", "dof_invweight0", "actuator_acc0", "tendon_length0", "tendon_invweight0",
    "eq_data", "geom_aabb", "geom_rbound", "cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0",
    "light_dir0")
"""Model fields that ``set_const`` writes."""


class WarpEngine:
    """N worlds of one model on a GPU or a CPU by MuJoCo Warp, in float32 (see :class:`~sb3_isaac.engine.Engine`).

    Fields are views of Warp's own arrays: nothing is copied, and nothing waits for the device. Physics is launched as
    graphs, which are captured again when a model field becomes each world's own. A world that diverged is put to the
    model's start, as MuJoCo does itself on the CPU, so that no state is ever NaN. Results repeat on a CPU, and on a GPU
    in their first digits only: sums of forces are in no fixed order there.

    :param model: the compiled model, with a solver that MuJoCo Warp has (Newton or CG).
    :param num_worlds: N.
    :param threads: for engines on the CPU's threads; this one has none.
    :param device: ``auto`` is the first GPU where there is one, else the CPU.
    :param nconmax: contacts of a world, on average, for which there is room; None: what a trial shows.
    :param njmax: constraint rows of any world for which there is room; None: what a trial shows.
    :param ground: what the model's planes stand for (:mod:`~sb3_isaac.engine.ground_planes`); None leaves them where
        they are.
    :param cuda_graphs: on a GPU, let what stands on this engine be recorded (see ``recorder``).
    :raises UserError: where MuJoCo Warp, the device or the memory is missing, or the model has what Warp lacks.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, threads: Optional[int] = None, *, device: str = "auto",
                 nconmax: Optional[int] = None, njmax: Optional[int] = None, ground: Optional[Heights] = None,
                 cuda_graphs: bool = True) -> None:
        self._wp, self._mjw = libraries()
        self.model, self.num_worlds, self.threads = model, num_worlds, 1
        self.device = warp_device(device, self._wp)
        self.timestep_s = float(model.opt.timestep)
        self.diverged = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self.recorder = Recorder(self.device, enabled=cuda_graphs and self.device.type == "cuda")
        self._timer = DeviceTimer(self.device)
        self.sizes = choose_sizes(model, nconmax, njmax)
        """Room for contacts and constraint rows of a world."""
        self._graphs: Dict[Tuple[str, int], Any] = {}
        self._fields: Dict[str, torch.Tensor] = {}
        self._own: Dict[str, torch.Tensor] = {}
        """Model fields of which each world has its own."""
        self._stale = False
        """A model field was changed from which constants are derived."""
        self._told: Set[str] = set()
        with self._wp.ScopedDevice(str(self.device)), said_where_slow(self._wp):
            self._model = put_model(model, self._wp, self._mjw)
            if self.device.type == "cuda":
                check_worlds_fit(num_worlds, bytes_for_each(model, self._mjw, self.sizes),
                                 self._wp.get_device().free_memory, self.device)
            self._data = self._mjw.make_data(model, nworld=num_worlds, **self.sizes._asdict())
            self._planes = None if ground is None else moving_planes(model, ground, self.device)
            self._state = {name: self._view(name) for name in STATE}
            self._overflow = self._wp.to_torch(self._data.overflow)
            self._start = torch.from_numpy(model.qpos0.astype(np.float32)).to(self.device)
            self._work("step")  # compiles and loads all kernels, which no capture could
            self._wp.synchronize_device()
        self._clear(torch.ones_like(self.diverged))
        self._run("forward")

    # ---- fields

    def _view(self, name: str) -> torch.Tensor:
        """Warp's array of a field of ``MjData``, in MuJoCo's shape (N, ...)."""
        shape = np.shape(getattr(mujoco.MjData(self.model), name))
        array = getattr(self._data, name)
        if array.size == 0:
            return torch.zeros(self.num_worlds, *shape, device=self.device)
        return self._wp.to_torch(array).view(self.num_worlds, *shape)

    def field(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.field`."""
        if name not in self._fields:
            view = self.live(name)
            if name not in STATE:
                self._run("forward", keep=self._fields)  # those handed out before keep the forces of the last substep
            self._fields[name] = view
            self.recorder.forget()  # a recorded reset does not know it
        return self._fields[name]

    def live(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.live`: float32 here, and the same memory as ``field``."""
        if name in STATE:
            return self._state[name]
        known = {n for n in batch.DATA_FIELDS if hasattr(getattr(self._data, n, None), "shape")
                 and getattr(self._data, n).shape[:1] == (self.num_worlds,)}
        if name not in known:
            raise unknown("MuJoCo data field", name, known)
        return self._view(name)

    # ---- physics

    @property
    def physics_s(self) -> float:
        """See :class:`Engine`; on a GPU by its own events, and reading waits for it."""
        return self._timer.seconds

    def _work(self, what: str) -> None:
        """Launch the kernels of a piece of physics."""
        mjw, model, data = self._mjw, self._model, self._data
        if self._planes is not None and what in ("step", "substep", "forward"):
            mjw.kinematics(model, data)
            self._planes.move(data)
        if what == "step":
            mjw.step(model, data)
        elif what == "substep":  # a step before the last: nobody reads its sensors, which cost a quarter of it
            flags = model.opt.disableflags
            model.opt.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
            mjw.step(model, data)
            model.opt.disableflags = flags
        elif what == "forward":
            mjw.forward(model, data)
        elif what == "set_const":
            mjw.set_const(model, data)
        else:  # "update"
            mjw.fwd_kinematics(model, data)
            mjw.com_vel(model, data)
            data.sensordata.zero_()
            mjw.sensor_pos(model, data)
            mjw.sensor_vel(model, data)

    def _run(self, what: str, times: int = 1, keep: Optional[Mapping[str, torch.Tensor]] = None,
             mask: Optional[torch.Tensor] = None) -> None:
        """Launch a piece of physics so many times, as one graph on torch's stream.

        :param keep: fields that keep their values, but in the worlds of `mask`.
        """
        self._derive()
        kept = {name: value.clone() for name, value in (keep or {}).items() if name not in STATE}
        self.recorder.outside(lambda: self._launch(what, times))  # a graph of its own: torch cannot record Warp's loops
        for name, value in kept.items():
            own = self._fields[name]
            own.copy_(value if mask is None else torch.where(_like(mask, own), own, value))

    def _launch(self, what: str, times: int) -> None:
        self._derive()
        if (what, times) not in self._graphs:
            self._graphs[what, times] = self._captured(what, times)
        with self._timer:
            stream = self._wp.stream_from_torch(self.device) if self.device.type == "cuda" else None
            self._wp.capture_launch(self._graphs[what, times], stream=stream)

    def _captured(self, what: str, times: int) -> Any:
        """A piece of physics as a graph: recorded, not done."""
        with self._wp.ScopedDevice(str(self.device)), said_where_slow(self._wp), no_collection(), \
                self._wp.ScopedCapture(device=str(self.device)) as capture:
            for k in range(times):
                self._work("substep" if what == "step" and k + 1 < times else what)
        return capture.graph

    def step(self, ctrl: torch.Tensor, nstep: int) -> None:
        """See :meth:`Engine.step`."""
        every = ctrl if ctrl.dim() == 3 else ctrl[None]
        for k, controls in enumerate(every):
            self._state["ctrl"].copy_(controls)
            self._run("step" if k + 1 == len(every) else "substep", nstep if ctrl.dim() == 2 else 1)
        total = sum(self._state[name].sum(dim=1) for name in ("qpos", "qvel", "ctrl"))
        torch.logical_not(total.abs() <= LARGEST, out=self.diverged)  # type: ignore[union-attr]
        self._clear(self.diverged)

    def _clear(self, mask: torch.Tensor) -> None:
        """Put the worlds of `mask` to the model's start, without controls, forces or a past."""
        for name, value in {**self._fields, **self._state}.items():
            if name == "qpos":
                torch.where(mask[:, None], self._start, value, out=value)
            else:
                value.masked_fill_(_like(mask, value), 0)

    def update(self) -> None:
        """See :meth:`Engine.update`."""
        self._run("update")

    def reset(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor,
              ctrl: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.reset`. It costs about a physics step of all worlds.

        Not by Warp's ``reset_data``, which drops contacts of worlds that are not reset (mujoco_warp#1665).
        """
        self._clear(mask)
        self.write(mask, qpos, qvel)
        if ctrl is not None:
            torch.where(mask[:, None], ctrl, self._state["ctrl"], out=self._state["ctrl"])
        self._run("forward", keep=self._fields, mask=mask)
        self.diverged.masked_fill_(mask, False)

    def write(self, mask: torch.Tensor, qpos: Optional[torch.Tensor] = None,
              qvel: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.write`."""
        for own, values in ((self._state["qpos"], qpos), (self._state["qvel"], qvel)):
            if values is not None:
                torch.where(mask[:, None], values, own, out=own)

    # ---- overflow

    def warnings(self) -> Dict[str, int]:
        """See :meth:`Engine.warnings`: worlds with that warning, here. Waits for the device."""
        kinds = self._mjw.OverflowType
        room, rows = kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD, kinds.NEFC | kinds.NJMAX_NNZ | kinds.NVMAX
        contacts = room | kinds.HFIELD | kinds.CONTACT_MATCH | kinds.EPA_HORIZON  # the others have sizes of Warp's own
        counts = torch.stack([((self._overflow & int(kind)) != 0).sum() for kind in (contacts, rows, room)])
        dropped_contacts, dropped_rows, no_room = counts.tolist()
        self._overflow.zero_()
        self._advise("contacts", "nconmax", no_room)
        self._advise("constraints", "njmax", dropped_rows)
        return {**dict.fromkeys(WARNINGS, 0), "contact_buffer_full": dropped_contacts,
                "constraint_buffer_full": dropped_rows}

    def _advise(self, what: str, argument: str, worlds: int) -> None:
        """Say once which size would be enough, where there was no room in some worlds."""
        if worlds and argument not in self._told:
            self._told.add(argument)
            size = getattr(self.sizes, argument)
            warnings.warn(f"MuJoCo Warp had no room for all {what} in {worlds} of {self.num_worlds} worlds, and robots "
                          f"fall through those that it dropped: {argument} is {size}, give --env-kwargs "
                          f"{argument}:{2 * size}.", stacklevel=3)

    # ---- model fields

    def _shared(self, name: str) -> np.ndarray:
        """The compiled model's field `name`."""
        return np.asarray(getattr(self.model.opt, name[4:]) if name.startswith("opt.") else getattr(self.model, name))

    def _holder(self, name: str) -> Tuple[Any, str]:
        """What has the Warp array of a model field, and under which name.

        :raises UserError: where worlds cannot differ in it.
        """
        holder, attribute = (self._model.opt, name[4:]) if name.startswith("opt.") else (self._model, name)
        if name not in batch.MODEL_FIELDS or not getattr(getattr(holder, attribute, None), "_is_batched", False):
            raise unknown("MuJoCo model field", name, self._known_model_fields())
        return holder, attribute

    def _known_model_fields(self) -> Iterator[str]:
        for name in batch.MODEL_FIELDS:
            holder, attribute = (self._model.opt, name[4:]) if name.startswith("opt.") else (self._model, name)
            if getattr(getattr(holder, attribute, None), "_is_batched", False):
                yield name

    def model_field(self, name: str) -> torch.Tensor:
        """See :meth:`Engine.model_field`."""
        self._derive()
        if name in self._own:
            return self._own[name].clone()
        self._holder(name)
        shared = torch.from_numpy(self._shared(name).astype(np.float32)).to(self.device)
        return shared.repeat(self.num_worlds, *[1] * shared.dim())

    def _expand(self, name: str) -> torch.Tensor:
        """A model field as each world's own, (N, ...). Graphs hold the address of the shared one, so they are dropped.
        """
        if name not in self._own:
            holder, attribute = self._holder(name)
            shared, shape = getattr(holder, attribute), self._shared(name).shape
            with self._wp.ScopedDevice(str(self.device)):
                own = self._wp.zeros((self.num_worlds, *shared.shape[1:]), dtype=shared.dtype)
            own._is_batched = True
            setattr(holder, attribute, own)
            self._own[name] = self._wp.to_torch(own).view(self.num_worlds, *shape)
            self._own[name].copy_(self._wp.to_torch(shared).view(1, *shape))
            self._wp.synchronize_device(str(self.device))  # graphs that still run read what is freed now
            self._graphs.clear()
        return self._own[name]

    def set_model_field(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Engine.set_model_field`. Derived constants follow when they are needed, once for all changes."""
        own = self._expand(name)
        if values.shape != own.shape:
            raise UserError(f"model field {name!r} was given shape {tuple(values.shape)}: it takes {tuple(own.shape)}.")
        own.copy_(values if mask is None else torch.where(_like(mask, own), values, own))
        if name in mujoco.MjModel._setconst_inputs:
            self._stale = True

    def _derive(self) -> None:
        """Let the constants that are derived from model fields follow, in all worlds."""
        if self._stale:
            self._stale = False
            for name in DERIVED_CONSTANTS:
                if getattr(self._model, name).size:
                    self._expand(name)
            self._run("set_const", keep=self._fields)

    # ---- the rest

    def mj_data(self, world: int) -> mujoco.MjData:
        """See :meth:`Engine.mj_data`. Waits for the device."""
        data = mujoco.MjData(self.model)
        for name in ("qpos", "qvel", "act", "ctrl", "qfrc_applied", "xfrc_applied"):
            getattr(data, name)[...] = self._state[name][world].cpu().numpy()
        data.time = float(self._state["time"][world])
        mujoco.mj_kinematics(self.model, data)
        return data

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`Engine.state_dict`."""
        self._derive()
        return {
            "warp": {name: value.clone() for name, value in self._state.items()},
            "diverged": self.diverged.clone(),
            "fields": {name: value.clone() for name, value in self._fields.items() if name not in STATE},
            "model": {name: value.clone() for name, value in self._own.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Engine.load_state_dict`."""
        saved = state.get("warp", {})
        shapes = [{name: tuple(of[name].shape) for name in of} for of in (saved, self._state)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"the saved simulation has state {shapes[0] or 'of another simulator'} and this one {shapes[1]}: "
                "continue with the same simulator, robot and number of environments.")
        self.recorder.forget()
        self._stale = False  # the saved constants are those of the saved fields
        for name in state["model"].keys() | self._own.keys():
            own = self._expand(name)
            own.copy_(state["model"].get(name, torch.from_numpy(self._shared(name).astype(np.float32))))
        for name, value in self._state.items():
            value.copy_(saved[name])
        self._run("forward")
        self.diverged.copy_(state["diverged"])
        for name in self._fields.keys() & state["fields"].keys():
            self._fields[name].copy_(state["fields"][name])

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self._wp.synchronize_device(str(self.device))  # else it would still work on what is freed
        for held in (self._graphs, self._fields, self._state, self._own):
            held.clear()
        self.__dict__.pop("_data", None)
        self.__dict__.pop("_model", None)


def _like(mask: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return mask.reshape(-1, *[1] * (value.dim() - 1))
