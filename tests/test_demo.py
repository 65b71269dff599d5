"""The policies that come with the package do what they were trained for, and ``sb3-isaac demo`` shows them."""

from __future__ import annotations

import pytest

pytest.importorskip("mujoco", reason="needs MuJoCo")

from sb3_isaac import load_policy
from sb3_isaac.cli.demo import DEFAULT
from sb3_isaac.cli.main import main
from sb3_isaac.clients import env_options
from sb3_isaac.contract.errors import UserError
from sb3_isaac.policy.formats import TRAINED
from sb3_isaac.rl.policy.evaluate import evaluate, make_eval_env

POLICIES = sorted(path.stem for path in TRAINED.glob("*.pth"))
SECONDS = 2.4


@pytest.mark.parametrize("env_id", POLICIES)
def test_a_shipped_policy_does_what_its_task_asks(env_id):
    policy = load_policy(env_id)
    most = 4_000_000 if env_id == "IsaacQuadrupedVision-v0" else 500_000  # what sees has a network for pictures
    assert policy.info["env"] == env_id and (TRAINED / f"{env_id}.pth").stat().st_size < most
    assert "threads" not in policy.info["env_kwargs"]
    env = make_eval_env(policy, 32, seed=0, **({"threads": 1} if "threads" in env_options(env_id) else {}))
    try:
        report = evaluate(env, policy, seed=0, max_steps=round(SECONDS / env.control_dt))
    finally:
        env.close()
    assert env.stop_rule is not None and report["bad_worlds"] == 0
    low = env.stop_rule.ranges.get("reward_mean", (0.0,))[0]
    assert report["reward_mean"] > 0.5 * low and report["falls_fraction"] < 0.1, report


def test_a_demo_begins_with_walking():
    made = make_eval_env(load_policy(DEFAULT), 2, seed=0, hold_s=1.0, threads=1)
    try:
        made.reset(seed=0)
        assert made.command.tolist() == [[1.0, 0.0, 0.0]] * 2, "side by side"
    finally:
        made.close()


def test_which_demos_there_are(capsys):
    assert DEFAULT in POLICIES
    assert main(["demo", "IsaacQuadrupedFlat"]) == 2
    assert "demo" in capsys.readouterr().err


def test_a_demo_makes_a_picture(tmp_path, capsys):
    from sb3_isaac.tasks import make_task

    env = make_task(DEFAULT, 1, render_mode="rgb_array", threads=1)
    try:
        env.render(width=32, height=32)
    except UserError as error:
        pytest.skip(str(error))
    finally:
        env.close()
    picture = tmp_path / "walk.png"
    assert main(["demo", "--picture", str(picture), "--seconds", "0.1", "--size", "64x48", "--robots", "2"]) == 0
    assert picture.stat().st_size > 500 and capsys.readouterr().out.strip() == str(picture)
