"""The camera by hand and beside MuJoCo's renderer; the task of the coloured ball; a policy that sees, as a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="needs MuJoCo")

import mujoco
from standing_walker import standing_walker

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.camera import CameraRenderer
from sb3_isaac.policy.formats import save_policy
from sb3_isaac.policy.module import ImagePolicy
from sb3_isaac.rl.policy.export import policy_content
from sb3_isaac.sim.ray_camera import AMBIENT, DIFFUSE, FAR_M, GROUND, SKY, SUN_W, RayCamera
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.quadruped_vision import BALL_M, COLOURS, TOUCH_M, QuadrupedVision
from sb3_isaac.testing import check_tensor_env

ID = "IsaacQuadrupedVision-v0"
CPU, LEVEL = torch.device("cpu"), torch.tensor([[1.0, 0.0, 0.0, 0.0]])


# ---- the camera


def test_a_picture_by_hand() -> None:
    """An eye 1 m above the ground, which looks level; a ball of 0.5 m whose centre is 3 m ahead at its height.

    The picture of 90° has 3 pixels: the middle ray meets the ball after 2.5 m, head on; the one below goes down by 2/3
    for each metre ahead, passes the ball and meets the ground 1.5 m ahead; the one above sees the sky.
    """
    camera = RayCamera(3, 90.0, (0.0, 0.0, 0.0), 0.0, CPU)
    view = camera.look(torch.tensor([[0.0, 0.0, 1.0]]), LEVEL, torch.tensor([[[3.0, 0.0, 1.0]]]), torch.tensor([0.5]),
                       torch.tensor([[1.0, 0.0, 0.2]]))
    assert view.shown[0].tolist() == [[0, 0, 0], [0, 2, 0], [1, 1, 1]]
    assert view.depth[0, :, 1].tolist() == pytest.approx([FAR_M, 2.5, 1.5])
    bright = AMBIENT + DIFFUSE * -SUN_W[0]  # the normal points back along x
    assert view.colour.dtype is torch.uint8
    assert view.colour[0, :, 1, 1].tolist() == [round(255 * part * bright) for part in (1.0, 0.0, 0.2)]
    assert view.colour[0, :, 0, 0].tolist() == [round(255 * part) for part in SKY]
    assert view.colour[0, :, 2, 1].tolist() == [round(255 * part * (AMBIENT + DIFFUSE * SUN_W[2])) for part in GROUND]


def test_the_nearer_ball_hides_the_other_and_a_turned_head_sees_what_is_at_its_side() -> None:
    """Turned by 90° to the left, the robot sees what lies along y."""
    camera, turned = RayCamera(1, 20.0, (0.0, 0.0, 0.0), 0.0, CPU), torch.tensor([[0.5**0.5, 0.0, 0.0, 0.5**0.5]])
    balls = torch.tensor([[[0.0, 4.0, 1.0], [0.0, 2.0, 1.0], [4.0, 0.0, 1.0]]])
    look = [camera.look(torch.tensor([[0.0, 0.0, 1.0]]), quat, balls, torch.tensor([0.5, 0.5, 1.0]), torch.eye(3))
            for quat in (turned, LEVEL)]
    assert [int(view.shown) for view in look] == [3, 4]
    assert [float(view.depth) for view in look] == pytest.approx([1.5, 3.0])


def gl_scene(balls: List[Tuple[Tuple[float, ...], float, Tuple[float, ...]]]) -> mujoco.MjModel:
    """A plane and balls in the light of the ray caster's sun alone."""
    spec = mujoco.MjSpec()
    spec.visual.headlight.active = 0
    spec.worldbody.add_light(dir=[-part for part in SUN_W], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, 0, 9],
                             ambient=[AMBIENT] * 3, diffuse=[DIFFUSE] * 3, specular=[0] * 3, castshadow=False)
    spec.visual.quality.offsamples, spec.visual.quality.numslices, spec.visual.quality.numstacks = 0, 128, 64
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], rgba=[*GROUND, 1.0])
    for centre, radius, colour in balls:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[radius, 0, 0], pos=centre, rgba=[*colour, 1.0])
    return spec.compile()


def test_it_is_the_picture_that_mujoco_draws() -> None:
    """At 84 × 84, with the camera tilted and rolled: the same object in 99% of the pixels; there the distance within
    1%, and colours within 6 of 255 in 98%: MuJoCo's balls are polygons."""
    balls = [((2.0, 0.5, 0.25), 0.25, COLOURS["red"]), ((1.2, -0.5, 0.25), 0.25, COLOURS["green"]),
             ((3.0, -0.2, 0.4), 0.4, COLOURS["blue"])]
    model = gl_scene(balls)
    try:
        renderer = CameraRenderer(model, 84, 84)
    except UserError as error:
        pytest.skip(str(error))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    quat = torch.tensor([[0.98, 0.1, 0.06, 0.12]])
    quat /= quat.norm()
    pitch, at = math.radians(8.0), (0.1, -0.1, 0.35)
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, quat[0].double().numpy())
    rotation = axes.reshape(3, 3)
    theirs = renderer.draw(data, at, rotation @ [math.cos(pitch), 0.0, -math.sin(pitch)],
                           rotation @ [math.sin(pitch), 0.0, math.cos(pitch)], 100.0, 0.02, 50.0)
    renderer.close()
    camera = RayCamera(84, 100.0, (0.0, 0.0, 0.0), 8.0, CPU)
    ours = camera.look(torch.tensor([at]), quat, torch.tensor([[ball[0] for ball in balls]]),
                       torch.tensor([ball[1] for ball in balls]), torch.tensor([ball[2] for ball in balls]))
    same = ours.shown[0].numpy() == theirs["geom"] + 1
    assert same.mean() > 0.99 and set(np.unique(ours.shown)) == {0, 1, 2, 3, 4}
    seen = same & (ours.shown[0].numpy() > 0) & (ours.depth[0].numpy() < FAR_M)
    assert np.abs(ours.depth[0].numpy() / theirs["depth"] - 1.0)[seen].max() < 0.01
    apart = np.abs(ours.colour[0].permute(1, 2, 0).numpy().astype(int) - theirs["color"].astype(int)).max(axis=2)
    assert (apart[seen] <= 6).mean() > 0.98


# ---- the task


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return standing_walker(tmp_path_factory.mktemp("walker") / "policy.pth")


@pytest.fixture
def task(walker: str) -> Iterator[QuadrupedVision]:
    made = make_task(ID, 3, walker=walker, threads=1, seed=0, stagger=False, asked="green")
    made.reset(seed=0)
    assert isinstance(made, QuadrupedVision)
    yield made
    made.close()


def test_it_keeps_the_contract(walker: str) -> None:
    check_tensor_env(QuadrupedVision(3, walker=walker, threads=1, depth=True, decision_s=0.04, frame_s=0.08,
                                     episode_length_s=0.4))


def test_balls_lie_where_they_are_said_to(walker: str) -> None:
    task = QuadrupedVision(64, walker=walker, threads=1, seed=2, asked="any")
    task.reset(seed=2)
    f = task.features()
    assert 1.5 <= float(f.distances.min()) and float(f.distances.max()) <= 2.5
    bearing = torch.rad2deg(torch.atan2(task.balls_w[..., 1], task.balls_w[..., 0])).sort(dim=1).values
    assert float((bearing - torch.tensor([-40.0, 0.0, 40.0])).abs().max()) <= 5.2  # the robot starts at the origin
    assert set(task.asked.argmax(dim=1).tolist()) == {0, 1, 2} and task.asked.sum(dim=1).unique().tolist() == [1.0]
    left = task.balls_w[..., 1].argmax(dim=1)
    assert set(left.tolist()) == {0, 1, 2}  # any colour may be the one on the left
    task.close()


def test_each_ball_is_seen_in_its_colour_where_it_is(task: QuadrupedVision) -> None:
    """1.5 m ahead and to the left, with the green one ahead: red is in the left half of the picture, blue right."""
    task.balls_w[:] = torch.tensor([[1.6, 0.9], [2.0, 0.0], [1.6, -0.9]])
    image = task.picture()[0].int()
    columns = torch.arange(84.0)
    for channel, side in ((0, -1), (1, 0), (2, 1)):
        others = image[[i for i in range(3) if i != channel]].amax(dim=0)
        mask = (image[channel] > 2 * others).float()
        middle = float((mask.sum(dim=0) * columns).sum() / mask.sum())
        assert mask.sum() > 20 and (abs(middle - 41.5) < 4 if side == 0 else (middle - 41.5) * side > 15)


def test_the_right_ball_and_another_end_the_episode(task: QuadrupedVision) -> None:
    at = task.features().robot.trunk_pos_w[:, None]
    task.balls_w[:] = at + torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0]])
    task.balls_w[0, 1], task.balls_w[1, 0] = at[0, 0] + 0.5 * TOUCH_M, at[1, 0] + 0.5 * TOUCH_M
    step = task.step(torch.tensor([[-1.0, 0.0]]).expand(3, 2))
    assert step.terminated.tolist() == [True, True, False]
    assert step.log["is_success"].tolist() == [True, False, False]
    assert step.log["mistaken"].tolist() == [False, True, False]
    assert step.log["reward/found"].tolist() == [2.0, 0.0, 0.0]
    assert step.log["reward/mistaken"].tolist() == [0.0, -1.0, 0.0]
    assert BALL_M < TOUCH_M


def test_pictures_are_taken_every_frame_and_held_between(walker: str) -> None:
    """Every second decision; while the ball is moved at each, the picture changes at each second one."""
    task = QuadrupedVision(2, walker=walker, threads=1, seed=0, stagger=False, decision_s=0.04, frame_s=0.08)
    before, changed = task.reset(seed=0)["image"].clone(), []
    for _ in range(4):
        task.balls_w[:, :, 1] += 0.3
        now = task.step(torch.zeros(2, 2)).obs["image"].clone()
        changed.append(not torch.equal(before, now))
        before = now
    assert changed == [False, True, False, True]
    task.close()


def test_a_blind_robot_sees_black_and_depth_is_a_channel(walker: str) -> None:
    blind = QuadrupedVision(2, walker=walker, threads=1, blind=True)
    assert not blind.reset()["image"].any() and not blind.step(torch.zeros(2, 2)).obs["image"].any()
    deep = QuadrupedVision(2, walker=walker, threads=1, depth=True, seed=0)
    image = deep.reset(seed=0)["image"]
    assert image.shape == (2, 4, 84, 84) and image.dtype is torch.uint8
    assert image[0, 3, 0].unique().tolist() == [255]  # the sky
    assert 0 < int(image[0, 3].min()) < 40  # the ground in front of the head: less than 1.6 m
    blind.close()
    deep.close()


def test_its_balls_are_in_pictures_of_the_scene(walker: str) -> None:
    task = QuadrupedVision(2, walker=walker, threads=1, seed=0, render_mode="rgb_array")
    task.reset(seed=0)
    try:
        image = task.render(160, 120).astype(int)
    except UserError as error:
        pytest.skip(str(error))
    for channel in range(3):
        others = image[..., [i for i in range(3) if i != channel]].max(axis=2)
        assert (image[..., channel] > 2 * others).sum() >= 4
    task.close()


@pytest.mark.parametrize(("options", "said"), [({"asked": "purple"}, "purple"), ({"frame_s": 0}, "frame_s"),
                                               ({"depth": "yes"}, "depth"), ({"blind": 2}, "blind")])
def test_bad_options_are_one_sentence(walker: str, options: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_task(ID, 2, walker=walker, threads=1, **options)


# ---- its policy


def test_a_policy_that_sees_is_a_file_and_acts_as_the_model_does(walker: str, tmp_path: Path) -> None:
    env = VecNormalize(IsaacVecEnv(ID, num_envs=4, seed=0, walker=walker, threads=1))
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, n_epochs=1, policy_kwargs={"net_arch": [32]})
    model.learn(16)
    save_policy(tmp_path / "policy.pth", policy_content(model, env, {"env": ID}))
    policy = load_policy(tmp_path)
    assert isinstance(policy, ImagePolicy) and policy.groups == ["image", "policy"]
    obs = {name: value.clone() for name, value in env.unwrapped.env.observe().items()}
    arrays = {name: value.numpy() for name, value in obs.items()}
    expected, _ = model.predict({**arrays, "policy": env.normalize_obs(arrays)["policy"]}, deterministic=True)
    assert np.allclose(policy(obs).numpy(), expected, atol=1e-5)
    with pytest.raises(UserError, match="sees image, policy and was given policy"):
        policy({"policy": obs["policy"]})
    env.close()

    content = torch.load(tmp_path / "policy.pth", weights_only=True)
    for change in ({"padding": [5000, 5000]}, {"kernel_size": [9, 9]}, {"stride": [0, 0]}, {"groups": 7}):
        layers = [list(layer) for layer in content["images"]["image"]["layers"]]
        layers[0] = [layers[0][0], {**layers[0][1], **change}]
        image = {**content["images"]["image"], "layers": layers}
        save_policy(tmp_path / "bad.pth", {**content, "images": {"image": image}})
        with pytest.raises(UserError, match="is not a policy file"):
            load_policy(tmp_path / "bad.pth")
    huge = {"images": {"image": {**content["images"]["image"], "shape": [3, 9999, 9999]}}}
    for change in ({"groups": ["image"]}, huge):
        save_policy(tmp_path / "bad.pth", {**content, **change})
        with pytest.raises(UserError, match="is not a policy file"):
            load_policy(tmp_path / "bad.pth")


def test_train_resume_and_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of two iterations, and one of one that is continued: the same weights to the bit."""
    small = ["--env", ID, "--num-envs", "4", "--seed", "3", "--eval-episodes", "2", "-params", "n_steps:4",
             "n_epochs:1", "--env-kwargs", "threads:1", "episode_length_s:1.0"]
    for folder, steps in (("whole", "32"), ("parts", "16")):
        assert main(["train", *small, "-n", steps, "-f", str(tmp_path / folder)]) == 0
    whole, parts = (tmp_path / folder / "ppo" / f"{ID}_1" for folder in ("whole", "parts"))
    assert main(["train", "-i", str(parts), "-n", "32"]) == 0
    one, two = (torch.load(run / "policy.pth", weights_only=True) for run in (whole, parts))
    encoders = [content["images"]["image"]["state_dict"] for content in (one, two)]
    assert all(torch.equal(value, encoders[1][name]) for name, value in encoders[0].items())
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    capsys.readouterr()
    assert main(["eval", str(parts), "--episodes", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"success_fraction", "mistaken_fraction"} <= set(report) and report["steps"] == 32
    assert main(["export", str(parts), "--deploy", str(tmp_path / "deploy.yml")]) == 2
    assert "sees pictures" in capsys.readouterr().err
