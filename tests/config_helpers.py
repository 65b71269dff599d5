"""Ways to load a configuration, shared by the tests of it."""

from __future__ import annotations

import re

from sb3_isaac.config import load_config

ENV = "IsaacQuadrupedFlat-v0"
ALGO_KEYS = {
    *("n_steps", "n_epochs", "batch_size", "learning_rate", "gamma", "gae_lambda", "clip_range", "clip_range_vf"),
    *("ent_coef", "symmetry", "vf_coef", "max_grad_norm", "target_kl", "policy_kwargs", "normalize_advantage"),
}
ENV_KEYS = ("sim", "robot", "reward", "command", "terrain", "privileged")
BASE = "n_timesteps: !!float 1e4\nn_envs: 8\npolicy: MlpPolicy\n"


def load(folder, lines="", base=BASE, **arguments):
    """Load `base` plus `lines` as the entry of ENV in `folder/my.yml`."""
    body = "".join(f"  {line}\n" for line in (base + lines).splitlines())
    return load_text(folder, f"{ENV}:\n{body}", **arguments)


def load_text(folder, text, env=ENV, **arguments):
    """Load `text` as `folder/my.yml`."""
    file = folder / "my.yml"
    file.write_text(text)
    return load_shipped(env, path=file, **arguments)


def load_shipped(env=ENV, algo="ppo", **arguments):
    """Load a shipped file unless `path` says otherwise."""
    return load_config(env, algo, algo_keys=ALGO_KEYS, env_keys=ENV_KEYS, **arguments)


def sentence(error):
    """The message of what `pytest.raises` caught, checked to be one sentence on one line."""
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    assert not re.search(r"[a-z)]\. [A-Z]", text)
    return text
