"""IsaacQuadrupedRough-v0: what it observes with and without seeing the ground, its mirror image and its evaluation."""

from __future__ import annotations

import pytest
import torch

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.config import load_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.rl.policy.evaluate import evaluate, given_options, make_eval_env
from sb3_isaac.rl.policy.export import policy_content
from sb3_isaac.rl.training import build
from sb3_isaac.tasks import make_task, task_options
from sb3_isaac.tasks.parts.ground import SCAN_AHEAD_M, SCAN_LEFT_M, Ground
from sb3_isaac.tasks.quadruped_rough import SCAN_MIRROR, SHOWN_LEVEL, QuadrupedRough
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity
from sb3_isaac.terrain.height_map import scan_points

ENV = "IsaacQuadrupedRough-v0"
TERRAIN = {"tiles": {"wave": 1, "rough": 1}, "levels": 2, "tile_m": 4.0}


def make(num_envs: int = 2, **options: object) -> QuadrupedRough:
    env = make_task(ENV, num_envs, **{"seed": 0, "threads": 1, "stagger": False, "terrain": TERRAIN, **options})
    assert isinstance(env, QuadrupedRough)
    return env


def test_a_blind_robot_observes_what_the_velocity_task_does() -> None:
    blind, flat = make(privileged=True), make_task("IsaacQuadrupedVelocity-v0", 2, threads=1)
    assert blind.obs_table == flat.obs_table  # type: ignore[attr-defined]
    assert blind.observation_space["critic"].shape == (3 + 4 + 4 + 1 + 187,)
    assert {"scan", "terrain", "heading", "clock"} <= set(task_options(ENV))


def test_a_robot_that_sees_observes_the_scan_besides() -> None:
    env = make(scan=True)
    obs = env.reset()["policy"]
    assert env.obs_table["height_scan"] == 187 and obs.shape == (2, 46 + 187)
    assert torch.equal(obs[:, 46:], env.features().height_scan) and 0.001 < float(obs[:, 46:].std()) < 0.2
    step = env.step(torch.zeros(2, 12))
    assert torch.equal(step.obs["policy"][:, 46:], env.features().height_scan)


def test_the_scan_of_a_mirrored_ground_is_its_mirror_image() -> None:
    points = scan_points(SCAN_AHEAD_M, SCAN_LEFT_M)
    torch.testing.assert_close(points[list(SCAN_MIRROR.source)], points * torch.tensor([1.0, -1.0]))
    mirrors = make(scan=True, privileged=True).mirror()
    ramp = torch.zeros(46 + 187)
    ramp[46:] = points[:, 1]  # a ground that rises to the left
    assert torch.equal(mirrors.observation["policy"].of(ramp)[46:], -points[:, 1])


def test_an_evaluation_has_every_command_on_every_tile() -> None:
    ground = Ground({**QuadrupedRough.evaluation_options({})["terrain"]})
    ground.settle(840, torch.device("cpu"))
    cases = {(level, column, i % len(QuadrupedRough.EVALUATION)) for i, (level, column) in
             enumerate(zip(ground.first_level().tolist(), ground.column.tolist()))}
    assert len(cases) == 840 == 10 * 12 * 7
    assert all(set(command) >= set(QuadrupedRough.COMMAND) for command in QuadrupedRough.EVALUATION)


def test_the_tables_are_those_of_the_velocity_task_but_for_what_the_ground_changes() -> None:
    ours, theirs = QuadrupedRough.REWARD, QuadrupedVelocity.REWARD
    assert ours.keys() == theirs.keys()
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert changed == {"bounce", "roll_pitch_rate", "tilt", "pose", "swing_height", "stand"}
    assert all(abs(ours[name].weight) <= abs(theirs[name].weight) for name in changed)


@pytest.mark.parametrize("conf", ["ppo", "robust"])
def test_the_shipped_settings_train_on_it(conf: str) -> None:
    config = load_config(ENV, "ppo", path=conf, algo_keys=build.algorithm_options("ppo"), env_keys=task_options(ENV),
                         num_envs=8, seed=0, device="cpu", env_kwargs={"terrain.tiles": TERRAIN["tiles"]})
    env = build.make_env(config)
    model = build.make_model(config, build.wrap_env(config, env))
    model.learn(8 * 24)
    assert env.env.ground.kinds == ("wave", "rough")
    assert bool(env.env.randomization.draws) is (conf == "robust")
    env.close()


def test_a_mistake_is_one_sentence() -> None:
    with pytest.raises(UserError, match="scan is 3: give true or false"):
        make(scan=3)


def test_a_policy_is_evaluated_on_other_terrain_than_it_was_trained_on() -> None:
    """Options that are given take the place of those of training; evaluations are on all levels if none is given."""
    model = PPO("MlpPolicy", IsaacVecEnv("IsaacQuadrupedVelocity-v0", num_envs=2, threads=1), n_steps=4, batch_size=8,
                device="cpu")
    trained = {"threads": 1, "terrain": TERRAIN, "episode_length_s": 0.1}
    policy = PolicyModule(policy_content(model, None, {**model.get_env().unwrapped.env.metadata(),
                                                       "env": "IsaacQuadrupedVelocity-v0", "env_kwargs": trained}))
    assert given_options(ENV, ["terrain.level:1", "scan:true"]) == {"terrain": {"level": 1}, "scan": True}
    for given, levels in (({}, [0, 0, 1, 1]), ({"terrain": {**TERRAIN, "level": 1}}, [1] * 4),
                          ({"terrain": {**TERRAIN, "levels": 3}}, [0, 0, 1, 1])):
        env = make_eval_env(policy, 4, seed=0, **given)
        report = evaluate(env, policy, seed=0)
        assert env.ground.grid.columns == ("wave", "rough")  # type: ignore[attr-defined]
        assert env.level.tolist() == levels and report["success_fraction"] == 1.0, "told to go less than a metre"
        assert {"success_wave", "success_rough", "success_level_1"} <= set(report)
        env.close()


def test_a_demonstration_is_on_a_level_where_climbing_is_seen():
    assert QuadrupedRough.evaluation_options({}, hold_s=4.0)["terrain"]["level"] == SHOWN_LEVEL
    assert QuadrupedRough.evaluation_options({"terrain": {"level": 1}}, hold_s=4.0)["terrain"]["level"] == 1
    assert QuadrupedRough.evaluation_options({"terrain": {"levels": 3}}, hold_s=4.0)["terrain"]["level"] == 2
    assert "level" not in QuadrupedRough.evaluation_options({})["terrain"], "an evaluation is on all levels"
