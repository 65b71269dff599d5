"""The live page: its server's protocol, the robots' triangles, what is pressed, and what a training sends."""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
import time

import numpy as np
import pytest
import torch

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.stage import Stage, Steering
from sb3_isaac.tasks import make_task
from sb3_isaac.view.controls import Controls
from sb3_isaac.view.live.content import Curves
from sb3_isaac.view.live.playing import show
from sb3_isaac.view.live.server import PAGE, LiveServer, address
from sb3_isaac.view.live.training import TrainingPage
from sb3_isaac.view.playing import Playing


@pytest.fixture
def page():
    made = LiveServer(port=0)
    yield made
    if not made.closed.is_set():
        made.close()


def port_of(page: LiveServer) -> int:
    return int(page.url.split("?")[0].rstrip("/").rsplit(":", 1)[1])


def ask(page, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


class Browser:
    """What a page is sent, as (name, data)."""

    def __init__(self, page, query=""):
        self.connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
        self.connection.request("GET", f"/events{query}")
        self.answer = self.connection.getresponse()

    def next(self, wanted=None):
        while True:
            lines = []
            while not lines or lines[-1]:
                lines.append(self.answer.readline().decode().rstrip("\n"))
            if lines[0].startswith("event: ") and wanted in (None, lines[0][7:]):
                return lines[0][7:], json.loads(lines[1][6:])


# ---- server


def test_the_page_and_its_files_come_from_this_package_alone(page):
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/style.css", "text/css"),
                       ("/scene.js", "text/javascript"), ("/curve.js", "text/javascript"), ("/icon.svg", "image/svg")):
        answer, content = ask(page, path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
        assert b"https://" not in content and b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")


@pytest.mark.parametrize("script", sorted(PAGE.glob("*.js")), ids=lambda path: path.name)
def test_a_script_declares_a_name_once(script):
    """Else a browser runs none of the page."""
    names = re.findall(r"^(?:export )?(?:const|let|function|class) (\w+)", script.read_text(encoding="utf-8"), re.M)
    assert names and len(names) == len(set(names)), sorted(names)


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/page/page.js", "/nothing", "//etc/passwd"])
def test_no_other_file_is_served(page, path):
    assert ask(page, path)[0].status == 404


def test_what_is_kept_reaches_those_who_come_later(page):
    page.keep("scene", lambda: {"title": "here"})
    assert not page.watched
    page.send("clip", {"lost": True})
    browser = Browser(page)
    assert browser.next() == ("scene", {"title": "here"}) and page.watched
    page.send("clip", {"frames": 1})
    assert browser.next() == ("clip", {"frames": 1})
    page.close()
    assert browser.next() == ("end", {}), "a page is told that it was all"


def test_a_browser_that_takes_nothing_does_not_hold_up_the_program(page):
    with page.looking() as events:
        for i in range(1000):
            page.send("clip", i)
        assert events.qsize() == events.maxsize
    assert not page.watched


def test_what_is_pressed(page):
    json_type = {"Content_Type": "application/json"}
    assert ask(page, "/act", "POST", '{"push": true}', **json_type)[0].status == 204
    assert page.actions() == [{"push": True}] and page.actions() == []
    refused = [("/act", "[1]", json_type, 400), ("/act", "{", json_type, 400), ("/other", "{}", json_type, 404),
               ("/act", "{}", {"Content_Type": "text/plain"}, 404), ("/act", "x" * 10_001, json_type, 413),
               ("/act", "{}", {**json_type, "Origin": "http://elsewhere"}, 403)]
    for path, body, headers, status in refused:
        assert ask(page, path, "POST", body, **headers)[0].status == status
    assert page.actions() == []


def test_a_page_for_this_machine_answers_to_its_names_alone(page):
    assert ask(page, "/", Host=f"localhost:{port_of(page)}")[0].status == 200
    assert ask(page, "/", Host="rebound.example")[0].status == 403, "a foreign name that was pointed here"


def test_elsewhere_a_token_is_asked_for():
    page = LiveServer("0.0.0.0", 0)
    try:
        assert len(page.token) > 20 and page.url.endswith(f"?token={page.token}")
        for path in ("/", "/events", "/?token=wrong", "/events?token=%C3%A9"):
            assert ask(page, path)[0].status == 403
        assert ask(page, "/act", "POST", "{}", Content_Type="application/json")[0].status == 403
        assert ask(page, f"/?token={page.token}")[0].status == 200
        page.keep("scene", dict)
        assert Browser(page, f"?token={page.token}").next() == ("scene", {})
    finally:
        page.close()


@pytest.mark.parametrize(("text", "place"), [("8000", ("127.0.0.1", 8000)), ("0.0.0.0:80", ("0.0.0.0", 80)),
                                             ("[::1]:9", ("::1", 9)), ("box", ("box", 8765))])
def test_addresses(text, place):
    assert address(text) == place


def test_what_cannot_be_an_address_or_is_taken(page):
    for text in ("box:", "box:x", ":", "1:70000"):
        with pytest.raises(UserError, match="give HOST:PORT, such as 127"):
            address(text)
    with pytest.raises(UserError, match=r"no page can be served at 127.0.0.1:.*choose another place with --view-at"):
        LiveServer(port=port_of(page))


# ---- shapes


@pytest.fixture(scope="module")
def task():
    pytest.importorskip("mujoco", reason="needs MuJoCo")
    env = make_task("IsaacQuadrupedFlat-v0", 3, seed=0, stagger=False, threads=1)
    env.reset()
    yield env
    env.close()


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]].astype(float) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def one_geom(xml):
    mujoco = pytest.importorskip("mujoco", reason="needs MuJoCo")
    from sb3_isaac.engine.shapes import _joined

    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><asset><mesh name='tetra' vertex='0 0 0  1 0 0  0 1 0  0 0 1'/></asset><worldbody><body>{xml}</body>"
        "</worldbody></mujoco>")
    return _joined(model, [0])


@pytest.mark.parametrize(("xml", "exact", "off"), [
    ("<geom type='box' size='.1 .2 .3' pos='1 2 3' euler='10 20 30'/>", 8 * 0.1 * 0.2 * 0.3, 1e-5),
    ("<geom type='sphere' size='.5'/>", np.pi / 6, 0.12),
    ("<geom type='ellipsoid' size='.5 .2 .1'/>", 4 / 3 * np.pi * 0.01, 0.12),
    ("<geom type='capsule' size='.1 .4'/>", np.pi * 0.01 * 0.8 + 4 / 3 * np.pi * 0.001, 0.1),
    ("<geom type='cylinder' size='.1 .4' euler='90 0 0'/>", np.pi * 0.01 * 0.8, 0.05),
    ("<geom type='mesh' mesh='tetra'/>", 1 / 6, 1e-5),
])
def test_surfaces_are_closed_and_their_normals_point_outwards(xml, exact, off):
    mesh = one_geom(xml)
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(exact, rel=off), "positive: faces turn the right way"
    corners = mesh.vertices[mesh.faces].astype(float)
    of_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    solid = np.linalg.norm(of_face, axis=1) > 1e-9
    assert (np.einsum("fi,fji->fj", of_face, mesh.normals[mesh.faces].astype(float))[solid] >= -1e-9).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-3)


def test_poses_are_those_of_the_simulation(task):
    stage = task.stage()
    snapshot = stage.snapshot(2)
    task.step(torch.rand(3, 12))
    before, now = stage.poses(snapshot), stage.poses(stage.snapshot(2))
    meshes = stage.meshes()
    assert now.shape == (2, len(meshes), 7) and stage.level and meshes[0] is None, "a plane is no mesh"
    trunk = now[1, 1]
    np.testing.assert_allclose(trunk[:3], task.sim.state.root_pos_w[1], atol=1e-6)
    np.testing.assert_allclose(trunk[3:], task.sim.state.root_quat_w[1], atol=1e-6)
    assert np.abs(now - before).max() > 1e-4, "a snapshot is of its moment"


def test_ground_is_drawn_where_it_is():
    pytest.importorskip("mujoco", reason="needs MuJoCo")
    env = make_task("IsaacQuadrupedRough-v0", 2, seed=0, threads=1)
    try:
        stage = env.stage()
        ground, field = stage.meshes()[0], env.ground.grid.ground
        assert not stage.level and len(ground.vertices) < 60_000
        assert ground.vertices[:, 2].max() <= field.position[2] + field.heights.max() + 1e-3
        assert ground.normals[:, 2].min() > 0, "its normals point up"
        corners = ground.vertices[ground.faces[0]].astype(float)
        assert np.cross(corners[1] - corners[0], corners[2] - corners[0])[2] > 0, "and so do its faces"
    finally:
        env.close()


# ---- controls


class Told(Stage):
    """A stage that keeps what it was told."""

    def __init__(self):
        self.commands, self.pushes = [], []

    def steering(self, robot=0):
        return (Steering("forward_m_s", 1.0, 1.0, 1.0), Steering("yaw_rad_s", -0.5, 0.5, 0.0))

    def command(self, values):
        self.commands.append(list(values))

    def push(self, velocity_m_s):
        self.pushes.append(velocity_m_s)


def test_keys():
    stage = Told()
    controls = Controls(stage, 3, {"forward_m_s": (0.0, 1.2)})
    for key in ("Up", "Up", "Up", "Left", "Down", "x", "Right", "Right"):
        controls.press(key)
    assert [round(v, 3) for v in stage.commands[1]] == [1.2, 0.0], "not beyond what it was trained for"
    assert [round(v, 3) for v in stage.commands[-1]] == [1.08, -0.1]
    assert controls.help()[:2] == ["Up / Down  forward 1.08 m/s", "Left / Right  yaw -0.10 rad/s"]
    controls.press("End")
    assert stage.commands[-1] == [0.0, 0.0]
    controls.press("Enter")
    controls.press("Enter")
    assert [round(float(np.hypot(*push)), 6) for push in stage.pushes] == [1.0, 1.0] and len(set(stage.pushes)) == 2
    controls.press("PageUp")
    assert controls.robot == 2 and not controls.paused
    controls.press("PageDown")
    controls.press("Space")
    assert controls.robot == 0 and controls.paused and "Space  go on" in controls.help()


def test_what_a_page_sends_is_checked():
    stage = Told()
    controls = Controls(stage, 1)
    for action in ({}, {"command": "x"}, {"command": [1.0]}, {"command": [float("nan"), 0]}, {"push": 1},
                   {"paused": "yes"}, {"command": [[], {}]}):
        controls.act(action)
    assert not stage.commands and not stage.pushes and not controls.paused
    controls.act({"command": [9, 9], "push": True, "paused": True})
    assert stage.commands == [[1.0, 0.5]] and len(stage.pushes) == 1 and controls.paused


def test_robots_are_steered_and_pushed(task):
    stage = task.stage()
    assert [axis.name for axis in stage.steering()] == ["forward_m_s", "yaw_rad_s"]
    stage.command([0.5, -0.25])
    task.restart(torch.tensor([True, False, True]))
    assert task.command.tolist() == [[0.5, -0.25]] * 3, "those of new episodes too"
    before = task.sim.state.root_lin_vel_w.clone()
    stage.push((0.0, 1.0))
    np.testing.assert_allclose(task.sim.state.root_lin_vel_w - before, [[0, 1, 0]] * 3, atol=1e-6)


def test_sliders_follow_what_robots_are_told_by_others(task):
    controls = Controls(task.stage(), 3, {"forward_m_s": (0.0, 1.2)})
    task.command[0], task.command[2] = torch.tensor([0.25, 0.5]), torch.tensor([1.5, 0.0])
    assert controls.follow() and controls.state()["command"] == [0.25, 0.5] and not controls.follow()
    controls.press("PageUp")
    assert controls.follow() and controls.state()["command"] == [1.5, 0.0] and controls.axes[0].high == 1.5


# ---- what is sent


def test_curves_stay_short_and_keep_both_ends():
    curves = Curves({"a": "of a", "b": "of b"}, "steps")
    for i in range(2000):
        curves.add(i, {"a": float(i), "b": float("nan")})
    [curve] = curves.content()["curves"]
    assert curve["title"] == "of a" and len(curve["points"]) <= 401
    assert curve["points"][0] == [0, 0.0] and curve["points"][-1] == [1999, 1999.0]


def test_playing_on_the_page(page, task):
    playing = Playing(task, lambda obs: torch.zeros(3, 12), seed=0)
    calls = []
    thread = threading.Thread(target=show, daemon=True, args=(playing, page, "task", "what", {}, calls.append, 1.0))
    thread.start()
    time.sleep(0.2)
    assert not calls, "nothing moves while nobody looks"
    page.act({"command": [0.2, 0.1], "push": True})
    browser = Browser(page)
    scene = browser.next("scene")[1]
    assert scene["title"] == "task" and scene["robots"] == 3 and len(scene["bodies"]) > 10
    clip = browser.next("clip")[1]
    poses = np.frombuffer(base64.b64decode(clip["poses"]), "<f4").reshape(clip["frames"], 3, -1, 7)
    assert clip["frames"] == 5 and clip["seconds"] == pytest.approx(0.1)
    np.testing.assert_allclose(np.linalg.norm(poses[..., 3:], axis=-1), 1.0, atol=1e-5)
    status = browser.next("status")[1]
    assert "time" in dict(status["numbers"]) and "forward_velocity" in dict(status["terms"])
    thread.join(timeout=20)
    assert not thread.is_alive() and task.command[0].tolist() == pytest.approx([0.2, 0.1])


def test_training_on_the_page(page):
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=8, seed=0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0)
    browser = Browser(page)
    model.learn(8 * 16 * 3, callback=TrainingPage(page, 8 * 16 * 3, title="training"))
    assert browser.next("scene")[1]["bodies"] == [], "a task without shapes shows curves alone"
    status = browser.next("status")[1]
    assert status["progress"] == pytest.approx(1 / 3) and status["text"].startswith("128 of 384 steps")
    assert browser.next("end") == ("end", {})


def test_a_training_is_the_same_with_somebody_looking(page):
    pytest.importorskip("mujoco", reason="needs MuJoCo")

    def weights(watched):
        env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=8, seed=0, threads=1)
        model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0)
        if watched:
            browser = Browser(page)
            model.learn(128, callback=TrainingPage(page, 128, robots=2))
            clip = browser.next("clip")[1]
            assert clip["frames"] == 8, "each step of an iteration"
        else:
            model.learn(128)
        env.close()
        return torch.cat([p.detach().flatten() for p in model.policy.parameters()])

    assert torch.equal(weights(False), weights(True))
