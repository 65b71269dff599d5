"""The floors of an iteration: what its physics and its networks cost alone."""

from __future__ import annotations

import contextlib
import copy
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from torch import nn

from sb3_isaac.bench.timing import now
from sb3_isaac.envs.vec_env import IsaacVecEnv

NO_ENGINE = "bare physics is left out: this task has no MuJoCo engine below it that could be stepped alone."


def _engine(env: IsaacVecEnv) -> Any:
    """The engine on ``mujoco.batch`` below a task, or None. Learning code may not import it, so it is asked for."""
    engine = getattr(getattr(env.env, "sim", None), "engine", None)
    needed = ("model", "threads", "step", "state_dict")
    return engine if all(hasattr(engine, name) for name in needed) else None


def physics_facts(env: IsaacVecEnv) -> Dict[str, Any]:
    """Friction cone, integrator, time step (s), substeps and threads of the physics, None where not known."""
    facts: Dict[str, Any] = dict.fromkeys(("cone", "integrator", "timestep_s", "substeps", "physics_threads"))
    engine = _engine(env)
    if engine is not None:
        import mujoco

        option = engine.model.opt
        facts["cone"] = mujoco.mjtCone(option.cone).name.replace("mjCONE_", "").lower()
        facts["integrator"] = mujoco.mjtIntegrator(option.integrator).name.replace("mjINT_", "").lower()
        facts["timestep_s"], facts["physics_threads"] = float(option.timestep), engine.threads
        facts["substeps"] = getattr(env.env.sim, "substeps", None)  # type: ignore[attr-defined]
    return facts


class PhysicsFloor:
    """A bare ``mujoco.batch.Batch`` of the task's model and number of threads.

    It repeats the last recorded rollout: the same first states and the same controls, with no resets between.
    """

    def __init__(self, env: IsaacVecEnv) -> None:
        import mujoco
        from mujoco import batch

        self._engine, self._mujoco, self._batch = _engine(env), mujoco, batch
        self._worlds = batch.Batch(self._engine.model, env.num_envs, self._engine.threads)
        self._state: Any = None
        self._steps: List[Tuple[np.ndarray, int]] = []

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Remember what the engine is given until the block ends; it costs a copy of the controls a step."""
        engine, step = self._engine, self._engine.step
        self._state, self._steps = engine.state_dict()["state"].numpy(), []

        def recorded(ctrl: torch.Tensor, nstep: int) -> None:
            self._steps.append((ctrl.numpy().copy(), nstep))
            step(ctrl, nstep)

        engine.step = recorded
        try:
            yield
        finally:
            del engine.step  # the class's own is below

    def measure(self) -> float:
        """Seconds of the recorded rollout's physics."""
        self._worlds.state[...] = self._state
        ctrl, stage = self._worlds.bind("ctrl"), self._mujoco.mjtStage.mjSTAGE_NONE.value
        with self._quiet():
            start = now()
            for control, nstep in self._steps:
                ctrl[:] = control
                # A world that diverges is stepped and reset like any other; the error only names it.
                with contextlib.suppress(self._batch.SimulationError):
                    self._worlds.step(nstep=nstep, stage=stage)
            return now() - start

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep MuJoCo's warnings off the terminal and out of ``MUJOCO_LOG.TXT``, as the engine does."""
        before, silent = self._mujoco.MjLogConfig.get(), self._mujoco.MjLogConfig.get()
        silent.logto_console = silent.logto_file = False
        self._mujoco.MjLogConfig.set(silent)
        try:
            yield
        finally:
            self._mujoco.MjLogConfig.set(before)


def physics_floor(env: IsaacVecEnv) -> Optional[PhysicsFloor]:
    """The floor of `env`, None where its physics cannot be stepped alone."""
    return None if _engine(env) is None else PhysicsFloor(env)


class NetworkFloor:
    """The policy's and the value's layers alone, on random rows, with no sampling, loss, buffer or optimizer.

    :param model: an SB3 PPO whose networks, sizes and device are taken.
    """

    def __init__(self, model: Any) -> None:
        policy = copy.deepcopy(model.policy)
        self._actor = nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
        self._critic = nn.Sequential(policy.mlp_extractor.value_net, policy.value_net)
        self._n_steps, self._n_epochs, self._batch_size = model.n_steps, model.n_epochs, model.batch_size
        self._actor_rows, self._critic_rows = (
            torch.randn(model.n_steps * model.n_envs, _width(net), device=model.device)
            for net in (self._actor, self._critic))
        self._n_envs = model.n_envs

    def rollout_s(self) -> float:
        """Seconds of the forward passes of a rollout: both networks a step, and the last value."""
        actor_obs, critic_obs = self._actor_rows[:self._n_envs], self._critic_rows[:self._n_envs]
        start = now()
        with torch.no_grad():
            for _ in range(self._n_steps):
                self._actor(actor_obs)
                self._critic(critic_obs)
            self._critic(critic_obs)
        return now() - start

    def update_s(self) -> float:
        """Seconds of the forward and backward passes of an update."""
        start = now()
        for _ in range(self._n_epochs):
            batches = zip(self._actor_rows.split(self._batch_size), self._critic_rows.split(self._batch_size))
            for actor_rows, critic_rows in batches:
                self._actor.zero_grad()
                self._critic.zero_grad()
                (self._actor(actor_rows).sum() + self._critic(critic_rows).sum()).backward()
        return now() - start


def _width(net: nn.Module) -> int:
    """Inputs of a stack of layers."""
    return next(int(layer.in_features) for layer in net.modules() if isinstance(layer, nn.Linear))
