"""SB3's PPO with rollout, normaliser and update as tensors on one device."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Iterable, List, Optional, Tuple, Union

import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional as F

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.recorded import Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.tensor_env import Obs
from sb3_isaac.contract.torch_threads import alone_for_little
from sb3_isaac.envs.vec_env import IsaacVecEnv, unwrap
from sb3_isaac.envs.vec_normalize import VecNormalize
from sb3_isaac.rl import distributed
from sb3_isaac.rl.algo.finite import check_rollout, check_update
from sb3_isaac.rl.algo.gaussian import act, evaluate, is_plain
from sb3_isaac.rl.algo.gradient import clip_norm, gradient_vector, set_gradients
from sb3_isaac.rl.algo.host_view import HostView, ReadAsNumpy, copied, own_arrays
from sb3_isaac.rl.algo.linear import MatrixLibraries
from sb3_isaac.rl.algo.minibatch import block_rows, in_blocks, with_normal_advantages
from sb3_isaac.rl.algo.optimizer import fused_by_default
from sb3_isaac.rl.algo.recorded_update import RecordedUpdate
from sb3_isaac.rl.algo.rollout_buffer import Minibatch, Observations, TensorRolloutBuffer
from sb3_isaac.rl.algo.step_locals import StepLocals, WithStepLocals, infos_of
from sb3_isaac.rl.algo.symmetry import Symmetry
from sb3_isaac.rl.algo.update_log import KL, LOGGED, log_update
from sb3_isaac.rl.callbacks.iteration import robots_of, share_episodes
from sb3_isaac.rl.callbacks.learning_rate import adapted_rate, target_kl
from sb3_isaac.rl.policy.asymmetric import AsymmetricPolicy, saved_with_its_policy

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sb3_isaac.rl.algo.options import PPOArguments

TensorVecEnv = Union[IsaacVecEnv, VecNormalize]


def tensor_env_of(env: VecEnv) -> Optional[TensorVecEnv]:
    """`env` if it can be stepped by tensors: an IsaacVecEnv, alone or in our VecNormalize; None for all others."""
    inner = env.venv if type(env) is VecNormalize else env
    plain = isinstance(inner, IsaacVecEnv) and type(inner).step_wait is IsaacVecEnv.step_wait
    return env if plain else None  # type: ignore[return-value]


class PPO(stable_baselines3.PPO):
    """Stable-Baselines3's PPO: same arguments, zip file, callbacks and log keys.

    On an IsaacVecEnv, alone or in :class:`sb3_isaac.VecNormalize`, everything between the simulator and the optimizer
    stays a tensor, and an episode that ran out of time goes on in the value of its true last observation. On any other
    VecEnv rollouts are SB3's own.

    Callbacks find in ``self.locals`` what SB3's rollout offers, as numpy arrays and lists, which are made when they are
    looked at. Arrays of ``rewards``, ``dones``, ``new_obs`` and ``actions`` may be changed in place, as in SB3.

    In a group of ``torch.distributed`` each process has as many robots and ``batch_size`` transitions of its own, and
    all of them learn together what one process would learn from all robots; ``num_timesteps`` counts those of all.

    :param desired_kl: steer the learning rate so that an update moves the policy by about this KL divergence, as
        :class:`~sb3_isaac.rl.callbacks.learning_rate.AdaptiveLearningRate` does; None leaves ``learning_rate`` alone.
        Without a ``target_kl`` it sets one as well.
    :param symmetry: "equivariant" keeps the policy mirror-symmetric, by what the environment says of how its
        observations and actions look in a mirror (``TensorEnv.mirror``): each transition then teaches both sides, see
        :class:`~sb3_isaac.rl.algo.symmetry.Symmetry`. "auto" does so where it can be done, and else warns that it
        cannot, and why. None leaves the policy alone.
    :param compile_loss: run the loss through ``torch.compile``.
    :param cuda_graphs: on a GPU, record a forward pass and a gradient step once and repeat them, where the policy is a
        plain Gaussian one and the optimizer torch's Adam.
    """

    policy_aliases: ClassVar[Dict[str, Any]] = {**stable_baselines3.PPO.policy_aliases,
                                                "AsymmetricPolicy": AsymmetricPolicy}
    _last_obs: Any = ReadAsNumpy()
    _last_episode_starts: Any = ReadAsNumpy()

    def __init__(self, policy: Any, env: Any, *args: Any, desired_kl: Optional[float] = None,
                 symmetry: Optional[str] = None, compile_loss: bool = False, cuda_graphs: bool = True,
                 **kwargs: Unpack[PPOArguments]) -> None:
        if desired_kl is not None and not desired_kl > 0:
            raise UserError(f"desired_kl is {desired_kl}: give a number above 0, such as 0.01, or None.")
        if symmetry not in (None, "equivariant", "auto"):
            raise unknown("symmetry", symmetry, ("equivariant", "auto", "None"))
        self.desired_kl, self.symmetry, self.compile_loss, self.cuda_graphs = (desired_kl, symmetry, compile_loss,
                                                                               cuda_graphs)
        super().__init__(policy, env, *args, **kwargs)
        if desired_kl is not None and self.target_kl is None:
            self.target_kl = target_kl(desired_kl)

    def _setup_model(self) -> None:
        if self.rollout_buffer_class in (None, RolloutBuffer, DictRolloutBuffer):
            self.rollout_buffer_class = TensorRolloutBuffer
        super()._setup_model()
        if self.desired_kl is not None and not isinstance(self.learning_rate, (int, float)):
            raise UserError("desired_kl needs a number as learning_rate to start from: drop the schedule.")
        self._loss_function: Any = torch.compile(self._loss) if self.compile_loss else self._loss
        if isinstance(self.action_space, spaces.Box):
            self._bounds = tuple(torch.as_tensor(bound, device=self.device)
                                 for bound in (self.action_space.low, self.action_space.high))
        self.matrix_libraries = MatrixLibraries()
        self._recorder = Recorder(self.device, enabled=self.cuda_graphs and self.device.type == "cuda")
        self._acted, self._update = Recorded(self._act, self._recorder, copied=1), RecordedUpdate(self, self._recorder)
        self._warned = False
        self._symmetry: Optional[Symmetry] = None
        if self.symmetry is not None and self.env is not None:
            self._make_symmetric()

    def _maybe_recommend_cpu(self, mlp_class_name: str = "ActorCriticPolicy") -> None:
        """SB3 advises against a GPU for small networks, for its own rollouts go through numpy on the CPU."""
        if self.env is None or tensor_env_of(self.env) is None:
            super()._maybe_recommend_cpu(mlp_class_name)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.symmetry is not None:  # again, for a saved model got its weights and its environment later
            self._make_symmetric()
        if distributed.world_size() > 1:
            self._share_moments()
        return super()._setup_learn(*args, **kwargs)

    def _share_moments(self) -> None:
        env = tensor_env_of(self.env) if self.env is not None else None
        if env is None:
            raise UserError("training by several processes needs an IsaacVecEnv, alone or in sb3_isaac.VecNormalize: "
                            "use one of these, or train by one process.")
        if isinstance(env, VecNormalize):
            env.merge_moments(distributed.merged_moments)

    def _make_symmetric(self) -> None:
        env = tensor_env_of(self.env) if self.env is not None else None
        try:
            if env is None:
                raise UserError("symmetry needs an IsaacVecEnv, alone or in sb3_isaac.VecNormalize: leave symmetry "
                                "out.")
            mirrors = unwrap(env).env.mirror()
            self._symmetry = Symmetry(self.policy, mirrors)
            self.matrix_libraries.of_pairs = frozenset(self._symmetry.between_pairs)
        except UserError as error:
            if self.symmetry != "auto":
                raise
            warnings.warn(f"the policy is not kept symmetric: {error}", stacklevel=1)
            return
        if isinstance(env, VecNormalize):
            env.mirror_obs(mirrors.observation)

    def _excluded_save_params(self) -> List[str]:
        """A zip names nothing of ours, so that stock SB3 loads it where sb3_isaac is not installed."""
        return [*super()._excluded_save_params(), "rollout_buffer_class", "_loss_function", "_bounds", "_warned",
                "matrix_libraries", "_symmetry", "_last_original_obs", "_recorder", "_acted",
                "_update"]

    def save(self, path: Any, exclude: Optional[Iterable[str]] = None, include: Optional[Iterable[str]] = None) -> None:
        """See SB3. A policy class of ours is written so that it loads without sb3_isaac as well."""
        self._last_to_host()
        with saved_with_its_policy(self):
            super().save(path, exclude, include)

    # ---- rollout

    def _init_callback(self, callback: Any, progress_bar: bool = False) -> BaseCallback:
        return WithStepLocals(super()._init_callback(callback, progress_bar), self)

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any,
                         n_rollout_steps: int) -> bool:
        """See SB3; by tensors where `env` has them.

        Where a callback stops a rollout midway, the observation that the environment stands at is kept, so that
        ``learn(reset_num_timesteps=False)`` and a saved state go on from there; SB3 keeps the one before.
        """
        tensor_env = tensor_env_of(env)
        if tensor_env is not None and isinstance(rollout_buffer, TensorRolloutBuffer):
            with unwrap(tensor_env).measuring_what_is_logged(), alone_for_little(
                    env.num_envs, self.policy, self.device, tensor_env.device):
                return self._collect_tensors(tensor_env, callback, rollout_buffer, n_rollout_steps)
        self._warn_of_numpy(env)
        self._last_to_host()
        if super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps):
            return True
        self._last_obs, self._last_episode_starts = callback.locals["new_obs"], callback.locals["dones"]
        return False

    def _last_to_host(self) -> None:
        """The observation that the environment stands at as numpy, which SB3 goes on from, also after ``load``."""
        self._last_obs, self._last_episode_starts = (own_arrays(self._last_obs), own_arrays(self._last_episode_starts))

    def _warn_of_numpy(self, env: VecEnv) -> None:
        if self._warned or not isinstance(env.unwrapped, IsaacVecEnv):
            return
        self._warned = True
        if tensor_env_of(env) is not None:
            warnings.warn(f"a rollout_buffer_class of one's own, {type(self.rollout_buffer).__name__}, is filled by "
                          "numpy arrays: rollouts do not use the tensor door of IsaacVecEnv, which is slower. Leave "
                          "rollout_buffer_class out to avoid that.", stacklevel=3)
        else:
            between: Any = env
            while type(between) is VecNormalize and not isinstance(between.venv, IsaacVecEnv):
                between = between.venv
            warnings.warn(f"{type(between).__name__} between PPO and IsaacVecEnv cannot be stepped by tensors: "
                          "rollouts go through numpy, which is slower. sb3_isaac.VecNormalize alone, or no wrapper, "
                          "avoids that.", stacklevel=3)

    def _collect_tensors(self, env: TensorVecEnv, callback: BaseCallback, buffer: TensorRolloutBuffer,
                         n_rollout_steps: int) -> bool:
        self.policy.set_training_mode(False)
        buffer.expect_time_outs(self.policy.predict_values, getattr(unwrap(env).env, "max_steps", None))
        buffer.reset()
        statistics = unwrap(env).statistics
        statistics.clear()
        distributed.copy_from_first(self.policy)  # they differ by their start, then by rounding at most
        callback.on_rollout_start()
        if self.use_sde:  # after the callbacks, one of which may save the state of the random numbers that it draws
            self.policy.reset_noise(env.num_envs)
        obs, starts = (self._to_learner(vars(self)[name]) for name in ("_last_obs", "_last_episode_starts"))
        robots = robots_of(self)
        for n_steps in range(n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            with torch.no_grad():
                actions, values, log_probs, clipped_actions = self._sampled(obs)
                step = env.step_tensor(clipped_actions.to(env.device))
            self.num_timesteps += robots
            # All of the step that is needed later is copied now: a callback may step the environment, too.
            buffer.keep_final(self._to_learner(step.truncated), self._observations(step.final_obs))
            reward, dones = self._to_learner(step.reward.clone()), self._to_learner(step.terminated | step.truncated)
            new_obs = self._observations(step.obs)
            if isinstance(env, IsaacVecEnv):
                new_obs = copied(new_obs)
            arrays = {name: HostView(tensor) for name, tensor in (
                ("actions", actions), ("rewards", reward), ("dones", dones), ("new_obs", new_obs))}
            seen: Any = StepLocals({
                "self": self, "env": env, "callback": callback, "rollout_buffer": buffer, "n_steps": n_steps,
                "n_rollout_steps": n_rollout_steps, "obs_tensor": obs, "values": values.unsqueeze(1),
                "log_probs": log_probs, "clipped_actions": HostView(clipped_actions), "infos": infos_of(env, step),
                **arrays})
            callback.update_locals(seen)
            going_on = not distributed.largest(not callback.on_step())
            for array in arrays.values():
                array.write_back()
            if going_on:
                buffer.add(obs, actions, reward, starts, values, log_probs)
            obs, starts = new_obs, dones
            self._last_obs, self._last_episode_starts = obs, starts
            if not going_on:
                return False
        buffer.bootstrap()
        with torch.no_grad():
            last_values = self.policy.predict_values(obs)
        buffer.compute_returns_and_advantage(last_values=last_values, dones=starts)
        statistics.merge(distributed.total, distributed.world_size())
        share_episodes(self, statistics.read())
        as_sb3_leaves_them = actions.reshape(-1, 1) if isinstance(self.action_space, spaces.Discrete) else actions
        last: Any = StepLocals(actions=HostView(as_sb3_leaves_them), values=last_values, n_steps=n_rollout_steps)
        callback.update_locals(last)
        callback.on_rollout_end()
        return True

    def _observations(self, obs: Obs) -> Observations:
        """Observations of a TensorEnv on the learner's device: a tensor where SB3 sees a Box."""
        moved: Dict[str, torch.Tensor] = {key: self._to_learner(value) for key, value in obs.items()}
        return moved if isinstance(self.observation_space, spaces.Dict) else moved["policy"]

    def _to_learner(self, value: Any) -> Any:
        """`value` on the learner's device; from a CPU simulator to a GPU through pinned memory, without waiting."""
        if isinstance(value, dict):
            return {key: self._to_learner(part) for key, part in value.items()}
        tensor = torch.as_tensor(value)
        if tensor.device == self.device:
            return tensor
        if tensor.device.type == "cpu" and self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _sampled(self, obs: Observations) -> Tuple[torch.Tensor, ...]:
        """Actions as sampled, values, log-probabilities, and actions as applied."""
        if not self._recorder.enabled or not is_plain(self.policy):
            return self._act(obs)
        return tuple(value.clone() for value in self._acted(obs, self.policy))

    def _act(self, obs: Observations, *_: Any) -> Tuple[torch.Tensor, ...]:
        actions, values, log_probs = act(self.policy, obs, self.matrix_libraries)
        return actions, values, log_probs, self._applied(actions)

    def _applied(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions within the action space: clipped, or unscaled from [−1, 1] where the policy squashes."""
        if not isinstance(self.action_space, spaces.Box):
            return actions
        low, high = self._bounds
        if self.policy.squash_output:
            return low + 0.5 * (actions + 1.0) * (high - low)
        return actions.clamp(low, high)

    # ---- update

    def train(self) -> None:
        """See SB3; losses are read once, after the last minibatch.

        :raises NotFinite: where the rollout, the losses or the networks hold NaN or infinite numbers.
        """
        if not isinstance(self.rollout_buffer, TensorRolloutBuffer):
            super().train()
            return
        check_rollout(self)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        clip_range_vf = (None if self.clip_range_vf is None
                         else self.clip_range_vf(self._current_progress_remaining))  # type: ignore[operator]
        if not self.matrix_libraries.measured:
            self.matrix_libraries.measure(self.policy, min(self.batch_size, block_rows()))
        with fused_by_default(self.policy.optimizer), self._update.used():
            losses, last_epoch = self._epochs(clip_range, clip_range_vf)
        if self._symmetry is not None:
            self._symmetry.symmetrise_weights()
        table = distributed.mean(torch.stack(losses))
        approx_kl = log_update(self, table, last_epoch, clip_range, clip_range_vf)
        check_update(self, table[:, LOGGED.index("loss")])
        if self.desired_kl is not None:
            self.learning_rate = adapted_rate(float(self.learning_rate), approx_kl,  # type: ignore[arg-type]
                                              self.desired_kl)
            self._setup_lr_schedule()

    def _epochs(self, clip_range: float, clip_range_vf: Optional[float]) -> Tuple[List[torch.Tensor], int]:
        """All minibatches of the update: what to log of each, and where the last epoch's begin."""
        losses: List[torch.Tensor] = []
        for epoch in range(self.n_epochs):
            before, stepped = len(losses), True
            for batch in self.rollout_buffer.get(self.batch_size):
                parts, stepped = self._minibatch(batch, clip_range, clip_range_vf)  # type: ignore[arg-type]
                losses.append(parts)
                if not stepped:
                    break
            self._n_updates += 1
            if not stepped:
                if self.verbose >= 1:
                    print(f"Early stopping at step {epoch} due to reaching max kl: {float(losses[-1][KL]):.2f}")
                break
        return losses, before

    def _minibatch(self, batch: Minibatch, clip_range: float,
                   clip_range_vf: Optional[float]) -> Tuple[torch.Tensor, bool]:
        """One gradient step; what to log of it (len(LOGGED),), and False where ``target_kl`` forbade the step."""
        if self._update.in_use:
            return self._update.minibatch(batch, clip_range, clip_range_vf)
        batch = with_normal_advantages(batch) if self.normalize_advantage else batch
        self.policy.optimizer.zero_grad()
        parts: Any = 0.0
        for block in [batch] if self.compile_loss else in_blocks(batch, self.policy):
            share = len(block.advantages) / len(batch.advantages)
            loss, of_block = self._loss_function(block, clip_range, clip_range_vf)
            (loss * share).backward()
            parts = parts + of_block * share
        if self.target_kl is not None and float(distributed.mean(parts[KL])) > 1.5 * self.target_kl:
            return parts, False
        self._descend()
        return parts, True

    def _descend(self) -> None:
        """One step along the gradients that the policy has."""
        parameters = list(self.policy.parameters())
        gradient = distributed.mean(gradient_vector(parameters))
        if self._symmetry is not None:
            gradient = self._symmetry.of_gradients(gradient)
        set_gradients(parameters, clip_norm(gradient, self.max_grad_norm))
        self.policy.optimizer.step()

    def _loss(self, batch: Minibatch, clip_range: float,
              clip_range_vf: Optional[float]) -> Tuple[torch.Tensor, torch.Tensor]:
        """PPO's loss (Schulman et al. 2017, arXiv 1707.06347, eq. 9) as SB3 computes it, and what to log of it."""
        actions = batch.actions
        if isinstance(self.action_space, spaces.Discrete):
            actions = actions.long().flatten()
        values, log_prob, entropy = evaluate(self.policy, batch.observations, actions, self.matrix_libraries)
        advantages = batch.advantages
        log_ratio = log_prob - batch.old_log_prob
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        if clip_range_vf is not None:
            values = batch.old_values + (values - batch.old_values).clamp(-clip_range_vf, clip_range_vf)
        value_loss = F.mse_loss(batch.returns, values)
        entropy_loss = log_prob.mean() if entropy is None else -entropy.mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        with torch.no_grad():
            clip_fraction = ((ratio - 1.0).abs() > clip_range).float().mean()
            approx_kl = (ratio - 1.0 - log_ratio).mean()
            return loss, torch.stack((policy_loss, value_loss, entropy_loss, clip_fraction, approx_kl, loss))
