"""rsl_rl's PPO on the tensors of IsaacVecEnv, for ``sb3-isaac bench``; written for rsl-rl-lib 5.0 to 5.5.

rsl_rl need not be installed: it is imported when a contender is made.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from typing import Any, Dict, Iterator, Sequence, Tuple

import torch
from torch.distributions import Distribution

from sb3_isaac.bench.timing import Stopwatch
from sb3_isaac.config import TrainConfig
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.training import build

ACTIVATION_NAMES = {"LeakyReLU": "lrelu", "SiLU": "swish"}
"""torch's class -> rsl_rl's name, where that is not the same word in lower case."""


class RslRlEnv:
    """An IsaacVecEnv with the attributes and methods of ``rsl_rl.env.VecEnv``."""

    def __init__(self, env: IsaacVecEnv) -> None:
        self._tensordict: Any = importlib.import_module("tensordict").TensorDict
        self._env, self.num_envs, self.device, self.cfg = env, env.num_envs, env.device, {}  # type: ignore[var-annotated]
        self.num_actions = math.prod(env.action_space.shape or ())
        self.max_episode_length = 0  # the task ends episodes itself, and staggers the first ones
        self.episode_length_buf = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        self._obs = self._copied(env.reset_tensor())

    def _copied(self, obs: Dict[str, torch.Tensor]) -> Any:
        """A TensorDict of copies: rsl_rl still uses an observation after the next step, which overwrites ``obs``."""
        return self._tensordict({"policy": obs["policy"].clone()}, batch_size=[self.num_envs])

    def get_observations(self) -> Any:
        """The present observations, a TensorDict {"policy": (N, k)}."""
        return self._obs

    def step(self, actions: torch.Tensor) -> Tuple[Any, torch.Tensor, torch.Tensor, Dict[str, torch.Tensor]]:
        """Observations, rewards (N,), dones (N,) and the time-outs among them, after actions (N, A)."""
        step = self._env.step_tensor(actions)
        self._obs = self._copied(step.obs)
        dones = (step.terminated | step.truncated).long()
        return self._obs, step.reward, dones, {"time_outs": step.truncated}


class RslRlContender:
    """rsl_rl's ``OnPolicyRunner`` with the networks and the numbers of our PPO.

    An iteration is the body of ``OnPolicyRunner.learn`` without its logging and its check for NaN, to the advantage of
    rsl_rl; the returns are timed with the rollout, as SB3 does. Its own normaliser is on; it has none for rewards.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.env = build.make_env(config)
        if set(self.env.env.observation_space.spaces) != {"policy"}:
            raise UserError(f"rsl_rl is measured on the observation group policy alone and {config.env} has more: "
                            "leave rsl_rl out of --algos.")
        settings = runner_settings(config, build.make_model(config, self.env))
        device = settings.pop("device")
        runner_class: Any = importlib.import_module("rsl_rl.runners").OnPolicyRunner
        with _without_validation(), contextlib.redirect_stdout(io.StringIO()):  # it prints its networks
            self._env_of_rsl_rl = RslRlEnv(self.env)
            self.runner: Any = runner_class(self._env_of_rsl_rl, settings, log_dir=None, device=device)
        self.runner.alg.train_mode()

    def iterate(self) -> Dict[str, float]:
        """See :class:`~sb3_isaac.bench.contenders.Contender`."""
        algorithm, device = self.runner.alg, self.runner.device
        with _without_validation():
            watch = Stopwatch(self.env)
            with torch.inference_mode():
                obs = self._env_of_rsl_rl.get_observations().to(device)
                for _ in range(self.runner.cfg["num_steps_per_env"]):
                    actions = algorithm.act(obs)
                    obs, rewards, dones, extras = self._env_of_rsl_rl.step(actions.to(self.env.device))
                    obs, rewards, dones = obs.to(device), rewards.to(device), dones.to(device)
                    algorithm.process_env_step(obs, rewards, dones, extras)
                algorithm.compute_returns(obs)
            watch.rollout_ends()
            algorithm.update()
            return watch.read()


def runner_settings(config: TrainConfig, model: Any) -> Dict[str, Any]:
    """``OnPolicyRunner``'s configuration, with the numbers of `model`, an SB3 PPO, and the learner's ``device``."""
    policy, arch = model.policy, model.policy.net_arch
    hidden = arch if isinstance(arch, dict) else {"pi": arch, "vf": arch}
    return {
        "device": str(model.device), "num_steps_per_env": model.n_steps, "save_interval": 10**9,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**_network(config, policy, hidden["pi"]), "distribution_cfg": {
            "class_name": "GaussianDistribution", "init_std": math.exp(policy.log_std_init), "std_type": "log"}},
        "critic": _network(config, policy, hidden["vf"]),
        "algorithm": {
            "class_name": "PPO", "num_learning_epochs": model.n_epochs,
            "num_mini_batches": -(-model.n_steps * model.n_envs // model.batch_size),
            "clip_param": model.clip_range(1.0), "gamma": model.gamma, "lam": model.gae_lambda,
            "value_loss_coef": model.vf_coef, "entropy_coef": model.ent_coef,
            "learning_rate": model.lr_schedule(1.0), "max_grad_norm": model.max_grad_norm, "schedule": "fixed",
            "use_clipped_value_loss": model.clip_range_vf is not None,
            "normalize_advantage_per_mini_batch": model.normalize_advantage, "rnd_cfg": None, "symmetry_cfg": None,
        },
    }


def _network(config: TrainConfig, policy: Any, hidden: Sequence[int]) -> Dict[str, Any]:
    """One network's configuration: layers, activation, and the normaliser of its observations."""
    name = policy.activation_fn.__name__
    normalize = config.normalize is not None and bool(config.normalize.get("norm_obs", True))
    return {"class_name": "MLPModel", "hidden_dims": list(hidden), "obs_normalization": normalize,
            "activation": ACTIVATION_NAMES.get(name, name.lower())}


@contextlib.contextmanager
def _without_validation() -> Iterator[None]:
    """torch's distributions do not check their arguments in this block, as rsl_rl sets it for the whole process.

    The setting is restored afterwards: otherwise stock SB3 would be measured faster than its users see it.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
