"""Configuration: nothing is evaluated, and every mistake is one sentence that names its place."""

from __future__ import annotations

import re

import pytest
from config_helpers import BASE, ENV, load, load_shipped, load_text, sentence

from sb3_isaac.config import parse_key_values
from sb3_isaac.contract.errors import UserError

# ---- nothing is evaluated


@pytest.mark.parametrize("key", ["policy_kwargs", "normalize", "env_kwargs", "learning_rate", "callback"])
@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch x')",
        "dict(a=open('x', 'w'))",
        "dict(**dict(a=1))",
        "dict([('a', 1)])",
        "[c for c in ()]",
        "{'a': 1, **{}}",
        "dict(a=nn.ELU())",
        "dict(a=nn.__class__)",
        "(lambda: 1)()",
    ],
)
def test_code_is_refused(tmp_path, monkeypatch, key, code):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        load(tmp_path, f'{key}: "{code}"')
    assert key in sentence(error) and "my.yml" in str(error.value)
    assert {file.name for file in tmp_path.iterdir()} == {"my.yml"}
    if key != "callback":
        with pytest.raises(UserError):
            parse_key_values([f"{key}:{code}"], "-params")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch x']", "!!python/name:os.system", "!mine 1"])
def test_yaml_tags_are_refused(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not valid YAML"):
        load(tmp_path, f"learning_rate: {tag}")
    assert not (tmp_path / "x").exists()


# ---- key:value strings


@pytest.mark.parametrize("item", ["n_epochs", "n_epochs=3", ":3", "n_epochs:", ""])
def test_key_values_without_colon(item):
    with pytest.raises(UserError, match="key:value") as error:
        parse_key_values([item], "-params")
    assert "-params" in sentence(error)


@pytest.mark.parametrize(
    "text", ["nn.Elu", "torch.nn.Softmax", "dict(a=nn.Foo)", "[1", "'x", "f(1)", "(" * 300, "1, b"]
)
def test_values_outside_the_grammar(text):
    with pytest.raises(UserError) as error:
        parse_key_values([f"a:{text}"], "--env-kwargs")
    assert "--env-kwargs a" in sentence(error)


# ---- mistakes


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("n_epoch: 3", ["'n_epoch'", "my.yml", "did you mean 'n_epochs'"]),
        ("env_kwargs: {robott: go2}", ["env_kwargs", "'robott'", "my.yml", "'robot'"]),
        ("env_kwargs: 3", ["env_kwargs", "mapping"]),
        ("normalize: 3", ["normalize", "3"]),
        ("normalize: {clip_ob: 3}", ["'clip_ob'", "clip_obs"]),
        ("normalize: {clip_obs: true}", ["normalize.clip_obs", "True"]),
        ("normalize: {norm_obs: 1}", ["normalize.norm_obs", "true or false"]),
        ("normalize: true\nnormalize_input: true", ["normalize_input", "exclude"]),
        ("n_epochs: 0", ["n_epochs", "0", "at least 1"]),
        ("n_epochs: true", ["n_epochs", "True"]),
        ("n_steps: 2.5", ["n_steps", "2.5"]),
        ("batch_size: many", ["batch_size", "'many'"]),
        ("gamma: 1.5", ["gamma", "0 to 1"]),
        ("gamma: true", ["gamma", "True"]),
        ("gamma: .nan", ["gamma", "nan"]),
        ("ent_coef: lots", ["ent_coef", "'lots'"]),
        ("learning_rate: false", ["learning_rate", "False"]),
        ("learning_rate: -1e-3", ["learning_rate", "-0.001"]),
        ("learning_rate: exp_3", ["learning_rate", "'exp_3'", "lin_3e-4"]),
        ("desired_kl: 0", ["desired_kl", "positive"]),
        ("seed: 1.5", ["seed", "1.5"]),
        ("seed: true", ["seed", "True"]),
        ("device: 0", ["device", "0"]),
        ("policy_kwargs: [1]", ["policy_kwargs", "mapping"]),
        ("policy_kwargs: {activation_fn: ELU}", ["activation 'ELU'", "nn.ELU"]),
        ("policy_kwargs: {1: 2}", ["policy_kwargs", "quotes"]),
        ("policy_kwargs: {a: 2020-01-01}", ["policy_kwargs", "date"]),
        ("callback: [3]", ["callback", "3"]),
        ("callback: {a.B: 3}", ["callback", "a.B"]),
        ("n_minibatches: 4", ["n_minibatches", "n_steps"]),
        ("n_steps: 10\nn_minibatches: 160", ["n_minibatches", "160", "80"]),
        ("n_steps: 10\nn_minibatches: 0", ["n_minibatches", "at least 1"]),
        ("gamma: 0.9\ngamma: 0.8", ["'gamma'", "twice", "line 6"]),
        ("env_kwargs: {reward: {a: 1, 'a': 2}}", ["'a'", "twice"]),
        ("gamma: !!float abc", ["abc"]),
        ("gamma: [", ["not valid YAML"]),
        ("policy_kwargs: &a {x: *a}", ["my.yml", "aliases"]),
    ],
)
def test_mistakes_in_the_file(tmp_path, lines, words):
    with pytest.raises(UserError) as error:
        load(tmp_path, lines)
    for word in words:
        assert word in sentence(error)


@pytest.mark.parametrize("key", ["n_envs", "n_timesteps"])
@pytest.mark.parametrize("value", ["0", "-5", "2.5", "true", "many", "null", ".nan", ".inf", None])
def test_counts(tmp_path, key, value):
    kept = "".join(line + "\n" for line in BASE.splitlines() if not line.startswith(key))
    with pytest.raises(UserError) as error:
        load(tmp_path, "" if value is None else f"{key}: {value}", base=kept)
    assert key in sentence(error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overrides": {"n_epoch": 3}}, ["'n_epoch'", "-params", "'n_epochs'"]),
        ({"overrides": {"n_epochs": 0}}, ["n_epochs in -params is 0"]),
        ({"overrides": {"gamma.x": 1}}, ["gamma.x in -params", "0.99"]),
        ({"overrides": {"env_kwargs.rewards.a": 1}}, ["'rewards'", "-params", "'reward'"]),
        ({"env_kwargs": {"Robot": 1}}, ["'Robot'", "--env-kwargs", "'robot'"]),
        ({"env_kwargs": {"robot": object}}, ["env_kwargs", "type"]),
        ({"overrides": {"policy_kwargs.": 1}}, ["'policy_kwargs.'", "-params", "empty"]),
        ({"num_envs": 0}, ["n_envs in the argument num_envs is 0"]),
        ({"n_timesteps": 0}, ["n_timesteps in the argument n_timesteps is 0"]),
        ({"path": "ppo-curse"}, ["'ppo-curse'", "ppo-course"]),
        ({"algo": "pp0"}, ["'pp0'", "'ppo'"]),
        ({"env": "IsaacQuadrupedFlat-v1", "path": "ppo-course"},
         ["'IsaacQuadrupedFlat-v1'", "ppo-course.yml", "IsaacQuadrupedFlat-v0"]),
    ],
)
def test_mistakes_in_the_arguments(arguments, words):
    with pytest.raises(UserError) as error:
        load_shipped(**arguments)
    for word in words:
        assert word in sentence(error)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "just text", f"{ENV}:\n", f"{ENV}: 3\n", "\0", "a: *b"])
def test_files_that_are_no_configuration(tmp_path, text):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "my.yml"))) as error:
        load_text(tmp_path, text)
    sentence(error)


def test_minibatches_need_both_keys(tmp_path):
    with pytest.raises(UserError, match="n_steps and batch_size"):
        load(tmp_path, "n_steps: 10").minibatches  # noqa: B018
