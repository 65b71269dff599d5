"""``train --track``: what Weights & Biases gets, without a network and where there is none."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from sb3_isaac.cli.main import main

# Imported by the tests themselves: it takes seconds, in each process that collects tests.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
TRAIN = ["train", "--env", "IsaacDoublePendulum-v0", "--num-envs", "8", "-n", "384", "--eval-episodes", "2", "-params",
         "n_steps:24", "n_epochs:1", "--env-kwargs", "episode_length_s:0.4"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """wandb reads its settings anew, and finds nobody's key."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


def records(folder: Path) -> List[Any]:
    """The records of a run that wandb has kept: a log as LevelDB's, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    data, at, part, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at:at + 7])
        part += data[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(part))
            part = b""
    return found


def rows(folder: Path) -> Dict[int, Dict[str, float]]:
    """Step -> what was logged, without what wandb adds of its own."""
    found = {}
    for record in records(folder):
        if record.HasField("history"):
            values = {item.key or "/".join(item.nested_key): json.loads(item.value_json)
                      for item in record.history.item}
            found[values["_step"]] = {key: value for key, value in values.items() if not key.startswith("_")}
    return found


def tensorboard_rows(run: Path) -> Dict[int, Dict[str, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Dict[int, Dict[str, float]] = {}
    events = EventAccumulator(str(run / "tb"))
    events.Reload()
    for key in events.Tags()["scalars"]:
        for event in events.Scalars(key):
            found.setdefault(event.step, {})[key] = event.value
    return found


def test_a_run_without_a_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    logs = ["-f", str(tmp_path / "logs"), "--track"]
    assert main([*TRAIN, *logs, "--wandb-project-name", "walk", "-tags", "a", "b", "--wandb-group", "g"]) == 0
    run = tmp_path / "logs" / "ppo" / "IsaacDoublePendulum-v0_1"
    (kept,) = (run / "wandb").glob("offline-run-*")
    assert f"wandb sync {kept}" in capsys.readouterr().out
    ours, theirs = rows(kept), tensorboard_rows(run)
    assert sorted(ours) == [192, 384] and set(ours) == set(theirs)
    for step, values in ours.items():
        assert values == pytest.approx({k: v for k, v in theirs[step].items() if not k.startswith("_hparams_")})
    assert "train/approx_kl" in ours[384] and "eval/reward_mean" in ours[384]
    (begun,) = [record.run for record in records(kept) if record.HasField("run")]
    assert (begun.project, begun.run_group, begun.display_name) == ("walk", "g", "ppo/IsaacDoublePendulum-v0_1")
    assert list(begun.tags) == ["a", "b"]
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["algo"] == "ppo" and config["n_epochs"] == 1 and config["clip_range_vf"] is None
    assert config["gae_lambda"] > 0 and config["env_kwargs"]["episode_length_s"] == 0.4
    assert set(config["env_kwargs"]["reward"]) == {name[7:] for name in ours[384] if name.startswith("reward/")}

    assert main(["train", "-i", str(run), "-n", "576", "--track"]) == 0
    again = max((run / "wandb").glob("offline-run-*"))
    assert sorted(rows(again)) == [576] and len(list((run / "wandb").glob("offline-run-*"))) == 2
    (resumed,) = [record.run for record in records(again) if record.HasField("run")]
    assert (resumed.run_id, resumed.project) == (begun.run_id, "walk")


def test_without_a_key_the_run_is_kept_here(tmp_path, capsys):
    from sb3_isaac.rl.callbacks.wandb_log import WandbLog

    assert WandbLog(tmp_path, {})._mode == "offline"
    assert "training goes on" in capsys.readouterr().out


def test_what_fails_later_is_told_once(capsys):
    from sb3_isaac.rl.callbacks.wandb_log import WandbOutput

    class Run:
        step, dir = 200, "/tmp/run/files"

        def log(self, values: Any, step: int) -> None:
            raise OSError("no route to host")

        def finish(self, exit_code: int) -> None:
            raise TimeoutError("timed out")

    output = WandbOutput(Run())
    output.write({"a": 1.0}, {}, 100)  # a resumed run has that row
    assert capsys.readouterr().out == ""
    for step in (200, 300):
        output.write({"a": 1.0}, {}, step)
    output.close()
    assert capsys.readouterr().out == "wandb: nothing more is tracked (no route to host); training goes on.\n"
    WandbOutput(Run()).close()
    assert "(timed out): 'wandb sync /tmp/run' does it later" in capsys.readouterr().out


def test_mistakes_are_a_sentence_and_leave_no_run(tmp_path, monkeypatch, capsys):
    logs = tmp_path / "logs"
    assert main([*TRAIN, "-f", str(logs), "--track", "--wandb-project-name", "a/b"]) == 2
    assert "wandb refuses" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*TRAIN, "-f", str(logs), "--track"]) == 2
    assert "pip install 'sb3_isaac[track]'" in capsys.readouterr().err
    assert not list(logs.glob("*/*"))


@pytest.mark.parametrize("content", [
    "[", "[]", "{}", '{"id": "a/../b", "project": "p", "entity": null}', '{"id": "a", "project": 3, "entity": null}',
    '{"id": "a", "project": "p", "entity": null, "settings": {}}'])
def test_a_file_that_says_something_else_is_refused(tmp_path, content, monkeypatch):
    from sb3_isaac import UserError
    from sb3_isaac.rl.callbacks.wandb_log import WandbLog

    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "wandb.json").write_text(content)
    with pytest.raises(UserError, match=r"wandb\.json"):
        WandbLog(tmp_path, {})


def test_without_the_flag_nothing_of_it_is_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would fail
    assert main([*TRAIN, "-n", "192", "-f", str(tmp_path)]) == 0
    assert not list(tmp_path.rglob("wandb*"))
