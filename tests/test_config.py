"""Configuration: both dialects, precedence, round trips and the strings of the command line."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from config_helpers import ENV, load, load_shipped, load_text, sentence

import sb3_isaac.config
from sb3_isaac.config import (
    dump_config,
    is_schedule,
    parse_key_values,
    parse_schedule,
)
from sb3_isaac.contract.errors import UserError

# ---- shipped files


def test_shipped_ppo():
    config = load_shipped()
    assert (config.n_timesteps, config.n_envs, config.policy) == (10_000_000, 256, "AsymmetricPolicy")
    assert config.desired_kl is not None and config.algo_kwargs["n_steps"] == 24 and config.algo_kwargs["n_epochs"] == 5
    assert config.algo_kwargs["policy_kwargs"]["net_arch"] == {"pi": [256, 128, 64], "vf": [256, 128, 64]}
    assert type(config.n_timesteps) is int
    assert config.normalize == {"norm_obs": True, "norm_reward": True, "clip_obs": 10.0}
    assert config.algo_kwargs["policy_kwargs"]["activation_fn"] == "nn.ELU"
    assert config.minibatches == 4 and config.algo_kwargs["batch_size"] == 1536  # 256 * 24 / 4
    assert (config.seed, config.device) == (None, "auto")
    command = {"first": {"forward_m_s": [0.4, 1.2]}, "stand_share": 0.2}
    assert config.env_kwargs == {"privileged": True, "command": command}
    assert [path for path, _ in config.callback] == ["sb3_isaac.FadingExploration"]
    assert Path(config.source).name == "ppo.yml"
    stock = load_shipped(algo="sb3-ppo")
    assert (stock.policy, stock.env_kwargs, Path(stock.source).name) == ("MlpPolicy", {}, "sb3-ppo.yml")


def test_course_differs_from_stock_in_the_learning_rate_and_the_robots():
    ppo, course = load_shipped(algo="sb3-ppo"), load_shipped(path="ppo-course")
    assert course.desired_kl is None and course.algo_kwargs["learning_rate"] == 3e-4
    assert {**course.algo_kwargs, "learning_rate": 1e-3, "batch_size": 1536} == ppo.algo_kwargs
    assert (course.n_envs, course.algo_kwargs["batch_size"]) == (4096, 8192)
    assert (course.n_timesteps, course.normalize) == (ppo.n_timesteps, ppo.normalize)


def test_pendulum_entry():
    config = load_shipped("IsaacDoublePendulum-v0")
    assert (config.n_envs, config.minibatches, config.normalize, config.desired_kl) == (256, 4, {}, None)
    assert config.algo_kwargs["policy_kwargs"] == {"net_arch": [64, 64]}


# ---- dialects


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", None),
        ("normalize: false", None),
        ("normalize: true", {}),
        ("normalize: {norm_obs: true, clip_obs: 5.0}", {"norm_obs": True, "clip_obs": 5.0}),
        ("normalize: dict(norm_obs=True, norm_reward=False)", {"norm_obs": True, "norm_reward": False}),
        ("normalize: \"{'norm_obs': True}\"", {"norm_obs": True}),
        ("normalize_input: true\nnormalize_value: true\nclip_obs: 10.0", (True, True, 10.0)),
        ("normalize_input: true\nclip_obs: 5", (True, False, 5)),
        ("normalize_input: false\nclip_obs: 5", None),
    ],
)
def test_normalize(tmp_path, line, expected):
    if isinstance(expected, tuple):
        expected = dict(zip(("norm_obs", "norm_reward", "clip_obs"), expected))
    assert load(tmp_path, line).normalize == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dict(log_std_init=-2, ortho_init=False)", {"log_std_init": -2, "ortho_init": False}),
        ("dict(net_arch=dict(pi=[8, 8], vf=(4,)))", {"net_arch": {"pi": [8, 8], "vf": [4]}}),
        ("{activation_fn: 'nn.ELU', net_arch: [64]}", {"activation_fn": "nn.ELU", "net_arch": [64]}),
        ("{activation_fn: torch.nn.Tanh}", {"activation_fn": "nn.Tanh"}),
        ("dict(activation_fn=th.nn.SiLU)", {"activation_fn": "nn.SiLU"}),
        ("{squash_output: 'False', log_std_init: -3e-1}", {"squash_output": False, "log_std_init": -0.3}),
    ],
)
def test_policy_kwargs(tmp_path, text, expected):
    assert load(tmp_path, f"policy_kwargs: {text}").algo_kwargs["policy_kwargs"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("3e-4", 3e-4), ("1e5", 1e5), ("'3e-4'", 3e-4), ("!!float 3e-4", 3e-4), ("0.5", 0.5), ("1", 1)],
        *[("lin_3e-4", "lin_3e-4"), ('"lin_0.2"', "lin_0.2")],
    ],
)
def test_numbers_and_schedules(tmp_path, text, expected):
    got = load(tmp_path, f"learning_rate: {text}").algo_kwargs["learning_rate"]
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", ()),
        ("a.b.C", (("a.b.C", {}),)),
        ("[a.C, {b.D: {freq: 10}}, {c.E: null}]", (("a.C", {}), ("b.D", {"freq": 10}), ("c.E", {}))),
    ],
)
def test_callback(tmp_path, text, expected):
    assert load(tmp_path, f"callback: {text}").callback == expected


def test_wrappers_are_carried(tmp_path):
    config = load(tmp_path, "frame_stack: 4\nenv_wrapper: [a.B, {c.D: {k: 1}}]\nvec_env_wrapper: e.F")
    assert (config.frame_stack, config.vec_env_wrapper) == (4, "e.F")
    assert config.env_wrapper == ["a.B", {"c.D": {"k": 1}}]


def test_a_whole_file_of_isaac_lab(tmp_path):
    text = """
    seed: 42
    n_timesteps: !!float 5e5
    policy: 'MlpPolicy'
    device: "cuda:0"
    n_steps: 16
    n_minibatches: 8
    learning_rate: !!float 3e-4
    normalize_input: True
    normalize_value: True
    clip_obs: 10.0
    policy_kwargs:
      activation_fn: 'nn.ELU'
      net_arch: [32, 32]
      squash_output: False
    """
    config = load_text(tmp_path, text, num_envs=64)
    assert (config.seed, config.device, config.n_timesteps, config.n_envs) == (42, "cuda:0", 500_000, 64)
    assert config.algo_kwargs["batch_size"] == 128 and "n_minibatches" not in config.algo_kwargs
    assert config.minibatches == 8
    assert config.normalize == {"norm_obs": True, "norm_reward": True, "clip_obs": 10.0}


def test_default_entry_merge_keys_and_anchors(tmp_path):
    text = f"base: &base\n  n_envs: 8\n  policy: MlpPolicy\n{ENV}:\n  <<: *base\n  n_envs: 2\n  n_timesteps: 5\n"
    assert load_text(tmp_path, text).n_envs == 2
    assert load_text(tmp_path, text.replace(ENV, "default"), env="Other-v0").env == "Other-v0"
    assert load_text(tmp_path, f"default: {{}}\n{text}").n_timesteps == 5


# ---- precedence


def test_num_envs_precedence(tmp_path):
    inside = "env_kwargs: {num_envs: 16, sim: mujoco}"
    assert load(tmp_path).n_envs == 8
    assert load(tmp_path, inside).n_envs == 16
    assert load(tmp_path, inside, overrides={"n_envs": 24}).n_envs == 24
    config = load(tmp_path, inside, overrides={"n_envs": 24}, env_kwargs={"num_envs": 32})
    assert config.n_envs == 32 and config.env_kwargs == {"sim": "mujoco"}
    assert load(tmp_path, inside, env_kwargs={"num_envs": 32}, num_envs=64).n_envs == 64


def test_arguments_beat_overrides_beat_the_file(tmp_path):
    lines = "seed: 1\ndevice: cpu"
    overrides = {"seed": 2, "n_timesteps": 2e4, "device": "cuda"}
    changed = load(tmp_path, lines, overrides=overrides)
    assert (changed.seed, changed.n_timesteps, changed.device) == (2, 20_000, "cuda")
    final = load(tmp_path, lines, overrides=overrides, seed=0, n_timesteps=30, device="cuda:1")
    assert (final.seed, final.n_timesteps, final.device) == (0, 30, "cuda:1")


def test_minibatches_beat_batch_size_and_follow_num_envs(tmp_path):
    lines = "n_steps: 10\nbatch_size: 7\nn_minibatches: 4"
    assert load(tmp_path, lines).algo_kwargs["batch_size"] == 20
    assert load(tmp_path, lines, num_envs=80).algo_kwargs["batch_size"] == 200
    assert load(tmp_path, lines, overrides={"batch_size": 16}).algo_kwargs["batch_size"] == 16
    assert load(tmp_path, lines, overrides={"batch_size": 16, "n_minibatches": 2}).algo_kwargs["batch_size"] == 40
    assert load(tmp_path, "n_steps: 10\nbatch_size: 30").minibatches == 3  # ceil(80 / 30)
    uneven = load(tmp_path, "n_steps: 10\nn_minibatches: 3")
    assert uneven.algo_kwargs["batch_size"] == 27 and uneven.minibatches == 3, "27 + 27 + 26 are 80"


def test_what_is_written_keeps_its_minibatches_at_another_num_envs(tmp_path):
    text = dump_config(load(tmp_path, "n_steps: 10\nn_minibatches: 4"))
    again = load_text(tmp_path, text, num_envs=800)
    assert again.minibatches == 4 and again.algo_kwargs["batch_size"] == 2000
    fixed = dump_config(load(tmp_path, "n_steps: 10\nbatch_size: 20"))
    assert load_text(tmp_path, fixed, num_envs=800).minibatches == 400, "a batch size that was given stays"


def test_dotted_overrides():
    items = ["policy_kwargs.log_std_init:-1.0", "env_kwargs.reward.energy:-0.001", "normalize.clip_obs:5", "seed:-1"]
    config = load_shipped(overrides=parse_key_values(items, "-params"))
    assert config.algo_kwargs["policy_kwargs"]["log_std_init"] == -1.0
    assert config.algo_kwargs["policy_kwargs"]["net_arch"]["pi"] == [256, 128, 64]
    assert config.env_kwargs["reward"] == {"energy": -0.001}
    assert config.normalize["clip_obs"] == 5 and config.normalize["norm_obs"] is True
    assert config.seed is None
    pendulum = load_shipped("IsaacDoublePendulum-v0", overrides={"normalize.clip_obs": 5.0})
    assert pendulum.normalize == {"clip_obs": 5.0}


def test_env_kwargs_merge_by_key(tmp_path):
    lines = "env_kwargs: dict(sim='mujoco', reward=dict(energy=-1, alive=2), terrain='flat')"
    given = {"reward": {"energy": -3}, "reward.height": 4, "terrain": {"kind": "rough"}, "command": (0, 1)}
    config = load(tmp_path, lines, env_kwargs=given)
    assert config.env_kwargs == {
        "sim": "mujoco",
        "reward": {"energy": -3, "alive": 2, "height": 4},
        "terrain": {"kind": "rough"},
        "command": [0, 1],
    }
    assert given["reward"] == {"energy": -3}


def test_loading_twice_shares_nothing():
    first = load_shipped()
    first.algo_kwargs["policy_kwargs"]["net_arch"]["pi"].append(1)
    assert load_shipped().algo_kwargs["policy_kwargs"]["net_arch"]["pi"] == [256, 128, 64]
    with pytest.raises(AttributeError):
        first.n_envs = 1


# ---- round trip


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "normalize: true\nseed: 3\ndevice: cpu\ndesired_kl: 0.02",
        "normalize_input: true\nn_steps: 10\nn_minibatches: 4\nclip_range_vf: null\nmax_grad_norm: .inf",
        "policy_kwargs: dict(activation_fn=nn.GELU, net_arch=dict(pi=(8, 8), vf=[8]))\nlearning_rate: 1e-5",
        "env_kwargs: {robot: '3e4', sim: '2', command: {x: [-1, 1]}, reward: {a: &w [1], b: *w}, terrain: 'dict(a=1)'}",
        "callback: [a.C, {b.D: {freq: 10}}]\nframe_stack: 2\nvec_env_wrapper: {c.D: {k: 'true'}}",
        "gamma: \"'0.5'\"\nlearning_rate: lin_3e-4",
    ],
)
def test_round_trip(tmp_path, lines):
    config = load(tmp_path, lines)
    text = dump_config(config)
    assert text.startswith(f"{ENV}:\n")
    assert "&id" not in text
    assert load_text(tmp_path, text) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(("env", "path"), [(ENV, None), (ENV, "ppo-course"), ("IsaacDoublePendulum-v0", None)])
def test_shipped_round_trip(tmp_path, env, path):
    config = load_shipped(env, path=path)
    assert load_text(tmp_path, dump_config(config), env=env) == config


# ---- key:value strings and schedules


@pytest.mark.parametrize(
    ("item", "key", "value"),
    [
        ("n_epochs:3", "n_epochs", 3),
        ("lr:-1e-4", "lr", -1e-4),
        ("a:None", "a", None),
        ("a:True", "a", True),
        ("a:'1'", "a", "1"),
        ("robot:anymal", "robot", "anymal"),
        ("robot:models/my-robot.xml", "robot", "models/my-robot.xml"),
        ("device:cuda:0", "device", "cuda:0"),
        ("learning_rate:lin_3e-4", "learning_rate", "lin_3e-4"),
        ("act:th.nn.ReLU", "act", "nn.ReLU"),
        ("a:dict(b=[1, -2.5])", "a", {"b": [1, -2.5]}),
        ("a:{'b': (1,)}", "a", {"b": [1]}),
        ("reward.energy:-0.001", "reward.energy", -0.001),
    ],
)
def test_key_values(item, key, value):
    got = parse_key_values([item], "-params")
    assert got == {key: value} and type(got[key]) is type(value)


def test_schedules():
    assert parse_schedule("lin_3e-4") == ("lin", 3e-4)
    assert [is_schedule(text) for text in ("lin_3e-4", "lin_x", "3e-4", 3e-4, "linear")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    for text in ("lin_x", "lin_", "lin_-1", "lin_inf", "lin_nan", "exp_3e-4", "linear"):
        with pytest.raises(UserError, match="lin_3e-4") as error:
            parse_schedule(text)
        assert repr(text) in sentence(error)


# ---- the layer itself


def test_sources_parse_on_python_38():
    for file in Path(sb3_isaac.config.__file__).parent.glob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("module", ["torch", "stable_baselines3", "mujoco"])
def test_imports_are_light(module):
    code = f"import sys, sb3_isaac.config; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
