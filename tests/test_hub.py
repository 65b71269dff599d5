"""The Hugging Face Hub: what of a run goes there, by huggingface_hub to a server that stands in for it, and back."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import torch
import yaml

from sb3_isaac import UserError, load_from_hub, load_policy, push_to_hub
from sb3_isaac.cli.main import main
from sb3_isaac.rl.training.hub import package_for_hub

hub = pytest.importorskip("huggingface_hub")
ENV = "IsaacDoublePendulum-v0"
COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(BaseHTTPRequestHandler):
    """A repository: what huggingface_hub asks of it, in memory."""

    files: Dict[str, bytes] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        place = self.path.split("?")[0]
        if place == "/api/repos/create":
            asked = json.loads(body)
            self._answer({"url": f"http://{self.headers['Host']}/{asked['organization']}/{asked['name']}"})
        elif "/preupload/" in place:
            self._answer({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                    for file in json.loads(body)["files"]]})
        elif "/commit/" in place:
            for line in body.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    self.files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            self._answer({"commitOid": COMMIT, "commitUrl": f"http://{self.headers['Host']}/anna/walker/commit/{COMMIT}"})
        else:
            self._answer({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        content = self.files.get(self.path.split("?")[0].rpartition("/")[2])
        if "/resolve/" not in self.path or content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for name, value in (("ETag", f'"{hashlib.sha1(content).hexdigest()}"'), ("X-Repo-Commit", COMMIT),
                            ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _answer(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Dict[str, bytes]]:
    """What lies in the repository ``anna/walker`` of a server on this machine."""
    Hub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_token_of_anna")
    yield Hub.files
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, of a moment."""
    logs = tmp_path_factory.mktemp("logs")
    assert main(["train", "--env", ENV, "--num-envs", "4", "-n", "32", "-f", str(logs), "-params", "n_steps:8",
                 "n_epochs:1", "--env-kwargs", "episode_length_s:0.4", "--eval-episodes", "2"]) == 0
    return logs / "ppo" / f"{ENV}_1"


def test_the_folder_has_a_card_and_the_files(run, tmp_path):
    folder = package_for_hub(run, tmp_path / "out", "anna/walker", episodes=4)
    assert {path.name for path in folder.iterdir()} == {"README.md", "policy.pth", "model.zip", "config.yml",
                                                        "results.json", "vecnormalize.pkl"}
    card = (folder / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    results = json.loads((folder / "results.json").read_text())
    assert metadata["library_name"] == "stable-baselines3"
    assert {ENV, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3"} <= set(metadata["tags"])
    (result,) = metadata["model-index"][0]["results"]
    assert metadata["model-index"][0]["name"] == "PPO" and result["dataset"]["name"] == ENV
    (metric,) = result["metrics"]
    assert metric["type"] == "mean_reward"
    assert metric["value"] == f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
    assert results["n_eval_episodes"] == 4 and results["is_deterministic"] is True
    assert "hub:anna/walker" in card and "| `model.zip` |" in card and "replay.mp4" not in card.split("## Files")[1]
    assert b"/logs/" not in b"".join(path.read_bytes() for path in folder.iterdir())  # this machine's names
    obs = torch.randn(3, 6)[:, :load_policy(run).obs_mean.shape[0]]
    assert torch.equal(load_policy(folder)(obs), load_policy(run)(obs))


def test_what_was_pushed_is_found_again(run, files, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.txt").write_text("mine")
    where = push_to_hub("anna/walker", run, "first", folder=tmp_path / "out", episodes=4)
    assert where.endswith("/anna/walker") and "secret.txt" not in files
    assert set(files) == {"README.md", "policy.pth", "model.zip", "config.yml", "results.json", "vecnormalize.pkl"}
    path = load_from_hub("anna/walker")
    assert Path(path).read_bytes() == (run / "policy.pth").read_bytes()
    assert main(["eval", "hub:anna/walker", "--episodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4


def test_pickles_are_fetched_by_those_alone_who_trust_them(files, monkeypatch):
    files["model.zip"] = b"a zip"
    monkeypatch.delenv("TRUST_REMOTE_CODE", raising=False)
    for name in ("model.zip", "vecnormalize.PKL"):
        with pytest.raises(UserError, match="can run any program"):
            load_from_hub("anna/walker", name)
    monkeypatch.setenv("TRUST_REMOTE_CODE", "True")
    assert Path(load_from_hub("anna/walker", "model.zip")).read_bytes() == b"a zip"


def test_a_video_goes_along_and_where_none_can_be_made_a_sentence_says_so(run, files, tmp_path, monkeypatch, capsys):
    from sb3_isaac.view import video

    short = ["push", str(run), "--repo", "anna/walker", "--episodes", "2", "--seconds", "1"]
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    assert main(short) == 0
    assert "there is no video: writing" in capsys.readouterr().out and "replay.mp4" not in files
    shutil.copyfile(run / "policy.pth", tmp_path / "replay.mp4")
    assert main([*short, "--no-video", "--folder", str(tmp_path)]) == 0
    assert "replay.mp4" in files and b"| `replay.mp4` |" in files["README.md"]


@pytest.mark.parametrize(("command", "said"), [
    (["push", "RUN"], "give --repo USER/NAME, --folder DIR or both"),
    (["push", "RUN", "--repo", "no such name", "--no-video", "--episodes", "2"], "cannot be written on the Hub"),
    (["push", "nowhere", "--folder", "out"], "there is no run folder"),
    (["eval", "hub:anna/nothing"], "cannot be fetched from the Hub"),
    (["eval", "hub:"], "cannot be fetched from the Hub"),
])
def test_mistakes_are_a_sentence(command, said, run, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in command]) == 2
    assert said in capsys.readouterr().err


def test_without_the_library_a_sentence_says_how_to_get_it(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["push", str(run), "--folder", str(tmp_path), "--no-video"]) == 2
    assert "pip install 'sb3_isaac[hub]'" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
