"""The floors of an iteration: what its physics and its networks cost alone."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from torch import nn

from sb3_isaac.bench.timing import now
from sb3_isaac.rl.algo.chain import run_layers
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.algo.minibatch import block_rows
from sb3_isaac.rl.algo.products import Ways

if TYPE_CHECKING:
    from sb3_isaac.engine.cpu import CpuEngine

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]
NO_ENGINE = "bare physics is left out: this task has no MuJoCo engine below it that could be stepped alone."


class PhysicsFloor:
    """The physics of a rollout alone: a bare ``mujoco.batch.Batch`` of the same model and number of threads.

    It repeats what was recorded: the same first states and the same controls, with no resets between. What is recorded
    is the calls of :meth:`CpuEngine.step <sb3_isaac.engine.cpu.CpuEngine.step>`, so that any task on that engine has
    this floor, and one without it has none.
    """

    def __init__(self) -> None:
        self._engine: Optional[CpuEngine] = None
        self._worlds: Any = None
        self._state: Any = None
        self._steps: List[Tuple[np.ndarray, int]] = []

    @property
    def found(self) -> bool:
        """Whether an engine was at work while this was recording."""
        return self._engine is not None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Remember what the engine is given until the block ends; it costs a copy of the controls a step."""
        try:
            from sb3_isaac.engine.cpu import CpuEngine
        except ImportError:  # no MuJoCo here, so nothing runs on it
            yield
            return
        self._steps, step = [], CpuEngine.step

        def recorded(engine: CpuEngine, ctrl: torch.Tensor, nstep: int) -> None:
            if not self._steps:
                self._begin(engine)
            self._steps.append((ctrl.numpy().copy(), nstep))
            step(engine, ctrl, nstep)

        CpuEngine.step = recorded  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            CpuEngine.step = step  # type: ignore[method-assign]

    def _begin(self, engine: CpuEngine) -> None:
        from mujoco import batch

        if engine is not self._engine:
            self._engine, self._worlds = engine, batch.Batch(engine.model, engine.num_worlds, engine.threads)
        self._state = engine.state_dict()["state"].numpy()

    def measure(self) -> Optional[float]:
        """Seconds of the recorded rollout's physics; None where no engine was found."""
        if self._engine is None:
            return None
        import mujoco
        from mujoco import batch

        from sb3_isaac.engine.cpu import quiet

        self._worlds.state[...] = self._state
        ctrl, stage = self._worlds.bind("ctrl"), mujoco.mjtStage.mjSTAGE_NONE.value
        with quiet():
            start = now()
            for control, nstep in self._steps:
                ctrl[:] = control
                # A world that diverges is stepped and reset like any other; the error only names it.
                with contextlib.suppress(batch.SimulationError):
                    self._worlds.step(nstep=nstep, stage=stage)
            return now() - start

    def facts(self) -> Dict[str, Any]:
        """Friction cone, integrator, time step (s), substeps and threads of the physics, None where not known."""
        facts: Dict[str, Any] = dict.fromkeys(("cone", "integrator", "timestep_s", "substeps", "physics_threads"))
        if self._engine is not None:
            import mujoco

            option = self._engine.model.opt
            facts["cone"] = mujoco.mjtCone(option.cone).name.replace("mjCONE_", "").lower()
            facts["integrator"] = mujoco.mjtIntegrator(option.integrator).name.replace("mjINT_", "").lower()
            facts["timestep_s"], facts["physics_threads"] = float(option.timestep), self._engine.threads
            facts["substeps"] = self._steps[0][1]
        return facts


class NetworkFloor:
    """The policy's and the value's layers alone, on random rows, with no sampling, loss, buffer or optimizer.

    Layer by layer, as torch's modules compute them: the least that a program pays that leaves layers to torch and takes
    the fastest way for each product. Ours may pay less, for it computes all layers of a network in memory that stays in
    the caches, and activations by other functions.

    :param model: an SB3 PPO whose networks, sizes and device are taken.
    """

    def __init__(self, model: Any) -> None:
        policy = copy.deepcopy(model.policy)
        self._actor = nn.Sequential(*policy.mlp_extractor.policy_net, policy.action_net)
        self._critic = nn.Sequential(*policy.mlp_extractor.value_net, policy.value_net)
        self._n_steps, self._n_epochs, self._batch_size = model.n_steps, model.n_epochs, model.batch_size
        self._actor_rows, self._critic_rows = (
            torch.randn(model.n_steps * model.n_envs, _width(net), device=model.device)
            for net in (self._actor, self._critic))
        self._n_envs = model.n_envs
        self._libraries = MatrixLibraries()
        self._libraries.measure(policy, min(model.batch_size, block_rows()))

    def rollout_s(self) -> float:
        """Seconds of the forward passes of a rollout: both networks a step, and the last value.

        The lesser of two: torch's own layers, and layers by the fastest way for each product.
        """
        return min(self._rollout_s(net) for net in (self._by_torch, self._by_fastest))

    def update_s(self) -> float:
        """Seconds of the forward and backward passes of an update; the lesser of the same two."""
        return min(self._update_s(net) for net in (self._by_torch, self._by_fastest))

    def in_words(self) -> List[str]:
        """:meth:`product_times`, a line a product."""
        return [f"a {shape} layer's {name}, ms: " + ", ".join(f"{way} {ms:.2f}" for way, ms in product["ms"].items())
                for shape, products in self.product_times().items() for name, product in products.items()]

    def product_times(self) -> Dict[str, Dict[str, Dict[str, Any]]]:
        """The times of each product of a minibatch in each way, in ms, and the way chosen, by layer shape."""
        return {"x".join(map(str, shape)): {
            name: {"ms": {way: 1e3 * seconds for way, seconds in of.items()}, "chosen": chosen}
            for name, of, chosen in zip(Ways._fields, times, self._libraries.of(shape))}
            for shape, times in self._libraries.times.items()}

    def _by_torch(self, net: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = net(rows)
        return out

    def _by_fastest(self, net: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        for layer in net:  # type: ignore[attr-defined]  # each by itself, in memory of its own
            rows = run_layers((layer,), rows, self._libraries)
        return rows

    def _rollout_s(self, forward: Forward) -> float:
        actor_obs, critic_obs = self._actor_rows[:self._n_envs], self._critic_rows[:self._n_envs]
        start = now()
        with torch.no_grad():
            for _ in range(self._n_steps):
                forward(self._actor, actor_obs)
                forward(self._critic, critic_obs)
            forward(self._critic, critic_obs)
        return now() - start

    def _update_s(self, forward: Forward) -> float:
        start = now()
        for _ in range(self._n_epochs):
            for actor_rows, critic_rows in zip(self._actor_rows.split(self._batch_size),
                                               self._critic_rows.split(self._batch_size)):
                self._actor.zero_grad()
                self._critic.zero_grad()
                (forward(self._actor, actor_rows).sum() + forward(self._critic, critic_rows).sum()).backward()
        return now() - start


def _width(net: nn.Module) -> int:
    """Inputs of a stack of layers."""
    return next(int(layer.in_features) for layer in net.modules() if isinstance(layer, nn.Linear))
