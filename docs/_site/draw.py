"""Draw the pictures of docs/concepts.md anew: ``MUJOCO_GL=osmesa python docs/_site/draw.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import mujoco
import numpy as np

from sb3_isaac.robots import get_robot

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

DOCS = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1200, 760
INK, SOFT, ACCENT, PAPER = "#1f2933", "#eceff1", "#e8590c", "#ffffff"
AXES = {"x": ((1, 0, 0), "#d6336c"), "y": ((0, 1, 0), "#2f9e44"), "z": ((0, 0, 1), "#1971c2")}


def scene():
    """The shipped robot in its default pose, on a plain ground: model and data."""
    robot = get_robot("quadruped")
    spec = mujoco.MjSpec.from_file(robot.mjcf)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5, 5, 0.1], rgba=[0.96, 0.96, 0.96, 1])
    spec.worldbody.add_light(pos=[1, -1, 3], dir=[-0.3, 0.3, -1], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    spec.add_texture(type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, width=8,
                     height=48, rgb1=[1, 1, 1], rgb2=[1, 1, 1])
    spec.visual.headlight.ambient[:] = 0.5
    spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
    spec.visual.rgba.haze[:] = (1, 1, 1, 1)
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[2] = robot.base_height_m
    for name, angle in zip(robot.joints, robot.default_joint_pos):
        data.qpos[model.jnt_qposadr[model.joint(name).id]] = angle
    mujoco.mj_forward(model, data)
    return robot, model, data


def rendered(model, data):
    """A picture, and where points of the world are in it."""
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance, camera.azimuth, camera.elevation = (0.0, 0.0, 0.21), 1.2, 130, -22
    options = mujoco.MjvOption()
    options.geomgroup[3] = 0
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.update_scene(data, camera, options)
        picture = renderer.render()
        eyes = renderer.scene.camera
        pos = (eyes[0].pos + eyes[1].pos) / 2
        forward, up = np.array(eyes[0].forward), np.array(eyes[0].up)
        near, top = eyes[0].frustum_near, eyes[0].frustum_top

    def place(point):
        ray = np.asarray(point) - pos
        scale = near / (ray @ forward) * HEIGHT / (2 * top)
        return WIDTH / 2 + ray @ np.cross(forward, up) * scale, HEIGHT / 2 - ray @ up * scale

    return picture, place


def joints():
    """The robot with a number at each joint, and the body's frame."""
    robot, model, data = scene()
    picture, place = rendered(model, data)
    figure = plt.figure(figsize=(12, 7.6), dpi=80)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.axis("off")
    for number, name in enumerate(robot.joints):
        x, y = place(data.joint(name).xanchor)
        outward = np.sign(x - WIDTH / 2) * (24 if "hip" in name else 34)
        axes.annotate(str(number), (x, y), (x + outward, y - (30 if "hip" in name else 0)), ha="center", va="center",
                      fontsize=13, weight="bold", color="white", arrowprops={"arrowstyle": "-", "color": ACCENT},
                      bbox={"boxstyle": "circle,pad=0.25", "fc": ACCENT, "ec": "none"})
    origin = data.body(robot.trunk).xpos + np.array([0, 0, 0.07])
    for name, (direction, colour) in AXES.items():
        start, end = place(origin), place(origin + 0.2 * np.array(direction))
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 3, "mutation_scale": 20})
        word = {"x": "x forward", "y": "y left", "z": "z up"}[name]
        axes.annotate(word, end, (end[0] + 8, end[1] - 14), fontsize=13, weight="bold", color=colour)
    text = "\n".join(f"{k:>2}  {name.replace('_joint', '')}" for k, name in enumerate(robot.joints))
    axes.text(20, 24, "joint order\n\n" + text, fontsize=12, family="monospace", va="top", color=INK,
              bbox={"boxstyle": "round,pad=0.6", "fc": PAPER, "ec": SOFT})
    figure.savefig(DOCS / "joints.png")
    plt.close(figure)


def box(axes, x, y, width, height, title, text="", colour=SOFT):
    """A box with a title and lines below it."""
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12", fc=colour, ec=INK,
                                  lw=1.2))
    axes.text(x + width / 2, y + height - 0.25, title, ha="center", va="center", fontsize=12, weight="bold", color=INK)
    axes.text(x + width / 2, y + (height - 0.45) / 2, text, ha="center", va="center", fontsize=9.5, color=INK,
              linespacing=1.5)


def arrow(axes, start, end, text, offset=(0.0, 0.15), curve=0.0):
    """An arrow with what goes along it."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=18, color=ACCENT, lw=2,
                                   connectionstyle=f"arc3,rad={curve}"))
    x, y = (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1]
    axes.text(x, y, text, ha="center", va="center", fontsize=10, color=INK)


def canvas(width, height):
    """Axes in units of a box."""
    figure = plt.figure(figsize=(width, height), dpi=90)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def action_trip():
    """Policy, task, simulator, and what goes between them."""
    figure, axes = canvas(12, 3.6)
    box(axes, 0.3, 1.0, 2.3, 1.5, "policy", "normalise\nnetwork 256-128-64")
    box(axes, 4.0, 1.0, 3.4, 1.5, "task, 50 Hz", "target = default pose\n+ scale · action, within range")
    box(axes, 9.0, 1.0, 2.7, 1.5, "physics, 100 Hz", "τ = kp (target − q) − kd q̇\n2 steps")
    arrow(axes, (2.65, 2.0), (3.95, 2.0), "action\n(N, 12), −1…1", (0, 0.45))
    arrow(axes, (7.45, 2.0), (8.95, 2.0), "joint targets\n(N, 12), rad", (0, 0.45))
    arrow(axes, (8.95, 1.4), (7.45, 1.4), "state: pose,\nvelocity, contacts", (0, -0.42))
    arrow(axes, (3.95, 1.4), (2.65, 1.4), "observation\n(N, 44)", (0, -0.42))
    axes.text(5.7, 0.2, "who fell, who is out of time  →  rewards  →  last observation  →  begin anew  →  observe, "
              "noise last", ha="center", fontsize=10.5, color=INK)
    axes.add_patch(FancyArrowPatch((5.7, 0.95), (5.7, 0.42), arrowstyle="-", color=INK, lw=1, linestyle=":"))
    axes.text(6, 3.3, "one action's trip, of N robots at once", ha="center", fontsize=14, weight="bold", color=INK)
    figure.savefig(DOCS / "action_trip.png")
    plt.close(figure)


def layers():
    """Rooms, from above to below."""
    rows = [[("cli, rl_zoo", "commands; the plug for rl_zoo3")],
            [("view", "pictures, videos, plots"), ("tuning, bench", "studies; what an iteration costs")],
            [("rl", "PPO, policies, training runs, callbacks")],
            [("envs", "a TensorEnv as SB3's VecEnv and as Gymnasium's Env")],
            [("clients", "environments of others"), ("tasks", "ours: observations, rewards, commands, resets")],
            [("sim", "N robots: drives, state, parameters"), ("gymcompat", "Isaac Gym's API, emulated")],
            [("robots", "joints, gains, models"), ("terrain", "the ground"), ("engine", "N worlds of a MuJoCo model")],
            [("policy", "a trained policy and its file; needs torch alone")],
            [("contract, config", "TensorEnv, errors, files; YAML")]]
    figure, axes = canvas(10, 0.85 * len(rows) + 0.5)
    for k, row in enumerate(rows):
        y, width = 0.85 * (len(rows) - 1 - k) + 0.3, 9.4 / len(row)
        for j, (title, text) in enumerate(row):
            axes.add_patch(FancyBboxPatch((0.3 + j * width, y), width - 0.15, 0.65, fc=SOFT, ec=INK, lw=1,
                                          boxstyle="round,pad=0,rounding_size=0.1"))
            x = 0.3 + j * width + (width - 0.15) / 2
            axes.text(x, y + 0.43, title, ha="center", va="center", fontsize=11.5, weight="bold", color=INK)
            axes.text(x, y + 0.18, text, ha="center", va="center", fontsize=9, color=INK)
    axes.add_patch(FancyArrowPatch((0.14, 0.85 * len(rows)), (0.14, 0.3), arrowstyle="-|>", mutation_scale=16,
                                   color=ACCENT, lw=2))
    figure.savefig(DOCS / "layers.png")
    plt.close(figure)


if __name__ == "__main__":
    joints()
    action_trip()
    layers()
