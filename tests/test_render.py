"""Offscreen pictures, videos and ``sb3-isaac play`` without a display."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError

pytest.importorskip("mujoco", reason="needs MuJoCo")

import mujoco

from sb3_isaac.cli import play
from sb3_isaac.engine.flat_shadows import FlatShadows
from sb3_isaac.engine.gl import frame_size
from sb3_isaac.engine.renderer import _averaged, lanes
from sb3_isaac.engine.seen_ground import _window
from sb3_isaac.tasks import make_task
from sb3_isaac.view.playing import Playing
from sb3_isaac.view.video import write_video

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def env():
    env = make_task("IsaacQuadrupedFlat-v0", 3, seed=0, stagger=False, threads=1)
    env.reset()
    yield env
    env.close()


@pytest.fixture(scope="module")
def sim(env):
    try:
        env.sim.make_renderer(WIDTH, HEIGHT).close()
    except UserError as error:
        pytest.skip(str(error))
    return env.sim


@pytest.fixture
def draw(sim):
    made = []

    def make(**options):
        made.append(sim.make_renderer(WIDTH, HEIGHT, **options))
        return made[-1]

    yield make
    for renderer in made:
        renderer.close()


def test_frame(draw):
    frame = draw().frame()
    assert frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8
    assert frame.std() > 10
    sky, floor = frame[:20].mean(axis=(0, 1)), frame[-20:].mean(axis=(0, 1))
    assert sky[2] > floor[2] + 30, "rows go from the sky down to the floor"


def test_the_ground_fades_into_the_sky(draw):
    """No step of brightness from row to row at the horizon that an eye sees as a line."""
    frame = draw().frame().astype(int)
    column = frame[:HEIGHT // 2, :60].mean(axis=(1, 2))  # sky and far ground, no robot
    assert np.abs(np.diff(column)).max() < 15
    assert column.max() < 220, "no white band"


def test_small_frames_are_averaged_of_large_ones():
    large = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    # The first channel of the first square: (0 + 3 + 12 + 15) / 4 = 7.5, rounded down.
    assert _averaged(large, 2).tolist() == [[[7, 8, 9], [13, 14, 15]]]
    assert _averaged(large, 1).tolist() == large.tolist()


def test_a_flat_shadow_lies_where_the_light_goes():
    """Light along (-0.15, 0.3, -1) from a ball at height 1 m meets the plane at x - 0.15 m, y + 0.3 m."""
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='plane' size='1 1 1'/><body pos='2 0 1'><freejoint/><geom size='.1'/>"
        "<geom size='.01' pos='0 1 0'/></body></worldbody></mujoco>")
    data, scene = mujoco.MjData(model), mujoco.MjvScene(model, maxgeom=10)
    mujoco.mj_kinematics(model, data)
    FlatShadows(model).add(data, mujoco.MjvOption(), mujoco.MjvPerturb(), scene)
    assert scene.ngeom == 1, "not of the ground, and not of what is too small to see"
    np.testing.assert_allclose(scene.geoms[0].pos, [1.85, 0.3, 0.005], atol=1e-6)
    top = scene.geoms[0].mat.reshape(3, 3) @ [0, 0, 0.1] + scene.geoms[0].pos
    np.testing.assert_allclose(top, [1.85 - 0.015, 0.33, 0.0052], atol=1e-6)
    assert model.geom_rgba[1, 0] == 0.5, "the model itself keeps its colours"


@pytest.mark.parametrize(("first", "last", "window"), [
    (30, 50, (30, 50)),   # its middle is 10 from that of all, 50, and the pattern repeats itself after 10
    (30, 51, (30, 70)),   # the next middle is 50
    (0, 10, (0, 20)), (91, 100, (80, 100)),
    (45, 95, (45, 95)), (46, 95, (40, 100)),  # 46 to 114 would be too long
    (0, 100, (0, 100))])
def test_the_pattern_of_ground_that_is_cut_stays_where_it_is(first, last, window):
    assert _window(101, first, last, repeat=10) == window


def test_a_processor_draws_the_ground_that_is_seen(sim, monkeypatch):
    """Nearly the same picture of less than half of the cells, also after the camera has gone 10 m."""
    monkeypatch.setattr("sb3_isaac.engine.gl._SOFTWARE", ("",))  # every name has this in it
    env = make_task("IsaacQuadrupedRough-v0", 1, seed=0, threads=1, terrain={"tiles": {"wave": 5}, "levels": 5})
    env.reset()
    cut, whole = (env.sim.make_renderer(WIDTH, HEIGHT) for _ in range(2))
    whole._ground, field = None, env.sim.visual_model
    drawn = []
    for shift_m in (0.0, 10.0):
        state = env.sim.state
        env.sim.reset(torch.ones(1, dtype=torch.bool), state.root_pos_w + torch.tensor([shift_m, 0.0, 0.0]),
                      state.root_quat_w, *torch.zeros(2, 1, 3), state.joint_pos, torch.zeros(1, 12))
        differ = np.abs(cut.frame().astype(int) - whole.frame()).max(axis=2) > 10
        assert differ.mean() < 0.002
        drawn.append((int(cut._model.hfield_nrow[0]), int(cut._model.hfield_ncol[0])))
    cut.close()
    whole.close()
    env.close()
    assert max(map(math.prod, drawn)) < 0.5 * field.nhfielddata and drawn[0] != drawn[1]


def test_the_longest_line_fits_a_small_frame(draw):
    renderer = draw()
    plain, written = renderer.frame(), renderer.frame(["command  -0.00 m/s, -0.00 m/s left, -0.00 rad/s", "time  1 s"])
    changed = np.argwhere((plain != written).any(axis=2))
    assert changed[:, 1].max() < 0.85 * WIDTH and changed[:, 0].max() < HEIGHT // 4


def test_robots_stand_side_by_side(draw):
    """The robots' white shells are the only near-white pixels below the horizon."""
    def robots(frame):
        shells = (frame[HEIGHT // 3:] > 200).all(axis=2).any(axis=0)
        return int((np.diff(np.flatnonzero(shells)) > 40).sum()) + 1  # two robots are some 80 pixels apart

    assert [robots(draw(num_robots=n, spacing_m=1.5).frame()) for n in (1, 2, 3)] == [1, 2, 3]


def test_a_number_on_a_picture_has_no_negative_zero(env):
    playing = Playing(env, lambda obs: np.zeros(1))
    key = env.display.overlay[0].key
    playing.values[key] = np.full(8, -0.001)
    assert "-0.00" not in playing.lines()[0] and "0.00" in playing.lines()[0]
    playing.values[key] = np.full(8, -0.02)
    assert "-0.02" in playing.lines()[0]


def test_lanes_hold_one_robot_each():
    offsets = lanes(5, 1.2)
    assert offsets[0].tolist() == [0, 0]
    np.testing.assert_allclose(np.sort(offsets[:, 1]), [-2.4, -1.2, 0, 1.2, 2.4])


def test_drawing_leaves_the_simulation_alone(env, draw):
    before = env.sim.state_dict()["state"].clone()
    draw(num_robots=3).frame()
    assert env.sim.state_dict()["state"].equal(before)


def test_lines_are_written_at_the_top_left(draw):
    renderer = draw()
    plain, written = renderer.frame(), renderer.frame(["speed 1.00 m/s"])
    changed = np.argwhere((plain != written).any(axis=2))
    assert len(changed) > 200
    assert changed[:, 0].max() < HEIGHT // 4 and changed[:, 1].min() < 10
    assert (written[changed[:, 0], changed[:, 1]] > 240).all(axis=1).any(), "white letters"


def test_a_renderer_closes_twice_and_leaves_others_working(draw):
    first, second = draw(), draw()
    first.close()
    first.close()
    assert second.frame().std() > 10


@pytest.mark.parametrize("options", [{"num_robots": 4}, {"num_robots": 0}, {"follow": 3}])
def test_robots_that_are_not_there(sim, options):
    with pytest.raises(UserError, match=r"num_robots|follow"):
        sim.make_renderer(WIDTH, HEIGHT, **options)


def test_a_render_mode_draws(sim):
    env = make_task("IsaacQuadrupedFlat-v0", 1, seed=0, threads=1, render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (480, 640, 3)
    env.close()


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_video(tmp_path, suffix):
    imageio = pytest.importorskip("imageio.v2", reason="needs the extra 'video'")
    path = tmp_path / "new" / f"out.{suffix}"
    shades = (0, 60, 120, 180, 240)
    write_video((np.full((32, 48, 3), shade, np.uint8) for shade in shades), str(path), fps=25)
    with imageio.get_reader(path) as reader:
        frames = [frame[..., :3] for frame in reader]
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 5
    np.testing.assert_allclose([frame.mean() for frame in frames], shades, atol=6)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_video_that_fails_leaves_no_file(tmp_path):
    pytest.importorskip("imageio.v2", reason="needs the extra 'video'")

    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(frames(), str(tmp_path / "out.gif"), fps=25)
    assert not list(tmp_path.iterdir())


def test_unknown_video_format(tmp_path):
    with pytest.raises(UserError, match=r"'\.avi'.*valid are \.gif, \.mp4"):
        write_video([], str(tmp_path / "out.avi"), fps=25)


def test_missing_imageio_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sb3_isaac\[video\]'"):
        write_video([], str(tmp_path / "out.mp4"), fps=25)


def test_a_context_that_is_freed_while_another_is_made_does_not_disturb_it(sim):
    """As garbage collection does with a renderer that was forgotten."""
    from sb3_isaac.engine.gl import close_context, open_context, open_gl

    forgotten = open_gl(64, 64)
    of_forgotten = open_context(sim.visual_model, 64)
    gl = open_gl(64, 64)
    close_context(forgotten, of_forgotten)
    close_context(gl, open_context(sim.visual_model, 64))


def test_no_opengl_library_is_one_sentence(env, monkeypatch):
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(UserError, match=r"apt-get install libosmesa6.*MUJOCO_GL"):
        env.sim.make_renderer(WIDTH, HEIGHT)
    assert frame_size() == (1280, 720), "of a task that draws without OpenGL"


def test_a_processor_draws_smaller_videos(sim, monkeypatch):
    assert frame_size() in ((1280, 720), (960, 540))
    monkeypatch.setattr("sb3_isaac.engine.gl._SOFTWARE", ("",))  # every name has this in it
    assert frame_size() == (960, 540)


def _stand_still(obs):
    return obs["policy"].new_zeros(len(obs["policy"]), 12)


def test_play_without_a_display_says_what_to_pass(env, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match=r"--video out\.mp4"):
        Playing(env, _stand_still).watch(lambda seconds: None)


ENDED = """
import os, signal, sys
from sb3_isaac.cli.main import main
from sb3_isaac.view.playing import Playing

lines = Playing.lines

def lines_then_end(self):  # while the window is open
    if self._time_s > 0.05:
        os.kill(os.getpid(), signal.SIGTERM)
    return lines(self)

Playing.lines = lines_then_end
sys.exit(main(["demo", "IsaacQuadrupedFlat-v0", "--robots", "1"]))
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs a virtual display (xvfb)")
def test_a_window_is_closed_before_the_program_ends():
    """Else what still draws in it crashes the program, by SIGSEGV."""
    out = subprocess.run(["xvfb-run", "-a", sys.executable, "-c", ENDED], capture_output=True, text=True, check=False,
                         timeout=120)
    assert out.returncode == 128 + signal.SIGTERM and "ended by SIGTERM" in out.stderr, out.stderr


def test_play_sums_reward_time_and_speed(env):
    shown = Playing(env, _stand_still)
    for _ in range(50):
        shown.step()
    lines = dict(line.split("  ") for line in shown.lines())
    assert lines["time"] == "1.0 s"
    assert abs(float(lines["speed"].split()[0])) < 0.3, "it stands"
    assert 0.0 <= float(lines["reward"]) < 50 * 0.4


def test_play_records_video_and_picture(env, sim, tmp_path, capsys):
    imageio = pytest.importorskip("imageio.v2", reason="needs the extra 'video'")
    picture, video = tmp_path / "out.png", tmp_path / "out.gif"
    args = argparse.Namespace(size=(WIDTH, HEIGHT), robots=2, seconds=0.12, video=str(video), picture=str(picture))
    drawn = make_task("IsaacQuadrupedFlat-v0", 2, seed=0, threads=1, stagger=False, render_mode="rgb_array")
    play._record(Playing(drawn, _stand_still), args)
    assert capsys.readouterr().out.split() == [str(video), str(picture)]
    assert imageio.imread(picture).shape[:2] == (HEIGHT, WIDTH)
    with imageio.get_reader(video) as reader:
        assert len(list(reader)) == 3, "25 frames a second"
