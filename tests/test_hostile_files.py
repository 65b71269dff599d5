"""A file from a stranger runs nothing: not when it is read, trained with, resumed, evaluated or played."""

from __future__ import annotations

import base64
import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Iterator

import pytest
import torch

from sb3_isaac import UserError, load_policy
from sb3_isaac.cli.main import main
from sb3_isaac.policy.torch_files import read_torch, torch_bytes
from sb3_isaac.rl.policy.evaluate import env_of
from sb3_isaac.rl.training.run_folder import read_meta

SMALL = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "4", "-n", "32", "--eval-freq", "-1", "--eval-episodes", "2"]
SETTINGS = ["n_steps:8", "batch_size:32", "n_epochs:1"]
EVIL = "evilpkg"


class Runs:
    """Pickled, it is a call of os.system that leaves a file."""

    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", *SMALL, "-params", *SETTINGS, "-f", str(folder)]) == 0
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder, on sys.path, with a client's package in it that leaves a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("__init__", "envs/__init__", "utils/__init__", "utils/helpers", "utils/task_registry"):
        path = tmp_path / EVIL / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("open('canary', 'w').close()\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == EVIL]:
        del sys.modules[name]


@pytest.fixture
def run(trained: Path, here: Path) -> Path:
    """A copy of the run folder."""
    return Path(shutil.copytree(trained, here / "run"))


def refused(capsys: pytest.CaptureFixture[str], arguments: "list[str]", *words: str) -> None:
    """The command ends with one sentence that has `words`, and the canary is not there."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(word in said for word in words), said
    assert not Path("canary").exists()


def rewritten(path: Path, **values: Any) -> None:
    """A JSON or torch file with other values at some keys."""
    if path.suffix == ".json":
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    else:
        path.write_bytes(torch_bytes({**torch.load(path, weights_only=True), **values}))


def everywhere(run: Path) -> "list[Path]":
    """A run folder and the checkpoints in it: any of them may be taken to resume from."""
    return [run, run / "latest", *(run / "checkpoints").iterdir()]


# ---- names


@pytest.mark.parametrize("verb", ["eval", "play"])
def test_a_policy_that_names_a_package_imports_nothing(verb: str, run: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(run / "policy.pth", env=f"{EVIL}:x")
    refused(capsys, [verb, "run/policy.pth", *(["--picture", "x.png"] if verb == "play" else [])], f"--env {EVIL}:x")
    assert env_of(load_policy("run/policy.pth"), f"{EVIL}:x") == f"{EVIL}:x"  # where a person names it
    importlib.import_module(EVIL)
    assert Path("canary").exists()


def test_a_run_that_names_a_package_imports_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in everywhere(run):
        rewritten(folder / "meta.json", env=f"{EVIL}:x")
        config = (folder / "config.yml").read_text()
        (folder / "config.yml").write_text(config.replace("IsaacDoublePendulum-v0:", f"{EVIL}:x:"))
    refused(capsys, ["train", "-i", "run", "-n", "64"], f"--env {EVIL}:x")


def test_settings_of_a_run_that_there_are_not(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in everywhere(run):
        meta = json.loads((folder / "meta.json").read_text())
        rewritten(folder / "meta.json", settings={**meta["settings"], "canary": {}})
    refused(capsys, ["train", "-i", "run", "-n", "64"], "has 'canary': it may have save_every")


@pytest.mark.parametrize("callback", [
    "subprocess.Popen: {args: [touch, canary]}", "shutil.rmtree: {path: precious}",
    "os.system: {command: touch canary}",
    f"{EVIL}.Callback: {{}}", f"{EVIL}.envs.Callback: {{}}", "builtins.exec: {}", "sb3_isaac.cli.main.main: {}",
    "sb3_isaac.contract.files.shutil.rmtree: {path: precious}", "sb3_isaac.cli.run.runpy.run_path: {}",
    "stable_baselines3.common.utils.os.system: {}", "stable_baselines3.common.save_util.pickle.loads: {}"])
def test_a_callback_of_a_file_is_checked_before_it_is_made(callback: str, run: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    Path("precious").mkdir()
    for folder in everywhere(run):
        lines = [line for line in (folder / "config.yml").read_text().splitlines() if "callback:" not in line]
        (folder / "config.yml").write_text("\n".join([*lines, f"  callback: [{{{callback}}}]", ""]))
    refused(capsys, ["train", "-i", "run", "-n", "64"], callback.split(":")[0])
    refused(capsys, ["train", *SMALL, "-conf", "run/config.yml"], callback.split(":")[0])
    assert Path("precious").exists()


@pytest.mark.parametrize("line", [
    f"env_kwargs: {{reward: {{a: [1, {EVIL}.f]}}}}", f"env_kwargs: {{observation: {{policy: {{a: {EVIL}.f}}}}}}",
    f"env_kwargs: {{termination: {{a: {EVIL}.f}}}}", f"env_wrapper: {EVIL}.Wrapper", f"vec_env_wrapper: {EVIL}.Wrapper",
    f"policy: {EVIL}.Policy", f"policy_kwargs: {{activation_fn: {EVIL}.f}}",
    f"policy_kwargs: {{features_extractor_class: {EVIL}.Net}}", f"rollout_buffer_class: {EVIL}.Buffer",
    f"policy_kwargs: {{optimizer_class: {EVIL}.Adam}}",
    "policy_kwargs: !!python/object/apply:os.system [touch canary]"])
def test_no_name_of_a_configuration_is_imported(line: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("run/config.yml").read_text()
    key = line.split(":")[0]
    Path("my.yml").write_text("".join(f"{kept}\n" for kept in text.splitlines() if not kept.startswith(f"  {key}:"))
                              + f"  {line}\n")
    refused(capsys, ["train", *SMALL, "-conf", "my.yml"])


# ---- pickles


def test_resuming_unpickles_nothing_of_model_zip(run: Path) -> None:
    """Every pickle of the zip is one that runs a program; the run goes on as if they were not there."""
    for folder in everywhere(run):
        with zipfile.ZipFile(folder / "model.zip") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        data = json.loads(parts["data"])
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = base64.b64encode(pickle.dumps(Runs())).decode()
        parts["data"] = json.dumps(data).encode()
        with zipfile.ZipFile(folder / "model.zip", "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
    assert main(["train", "-i", "run", "-n", "64"]) == 0
    assert not Path("canary").exists() and read_meta(run)["num_timesteps"] == 64


@pytest.mark.parametrize("name", ["vecnormalize.pkl", "task_state.pt", "policy.pth", "model.zip"])
@pytest.mark.parametrize("form", ["pickle", "torch", "zip"])
def test_a_pickle_that_runs_a_program_is_refused(name: str, form: str, run: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    for folder in everywhere(run):
        if form == "pickle":
            (folder / name).write_bytes(pickle.dumps(Runs()))
        elif form == "torch":
            torch.save(Runs(), folder / name)
        else:
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(Runs()))
                archive.writestr("data", pickle.dumps(Runs()))
    refused(capsys, ["eval", "run"] if name == "policy.pth" else ["train", "-i", "run", "-n", "64"], name.split(".")[0])


def test_a_normaliser_that_lacks_a_number_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged byte of a name: the pickle is whole, and an attribute has another name."""
    for folder in everywhere(run):
        path = folder / "vecnormalize.pkl"
        path.write_bytes(path.read_bytes().replace(b"clip_obs", b"clip_obt"))
    refused(capsys, ["train", "-i", "run", "-n", "64"], "clip_obs")


def test_a_bomb_is_refused_by_the_size_that_it_declares(tmp_path: Path) -> None:
    """A hundred million zeros in a hundred kilobytes; the same as a view that repeats one number."""
    torch.save({"state_dict": torch.zeros(25_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, \
            zipfile.ZipFile(tmp_path / "policy.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.namelist():
            packed.writestr(part, plain.read(part))
    assert (tmp_path / "policy.pth").stat().st_size < 200_000
    with pytest.raises(UserError, match="unpacks to 100,"):
        load_policy(tmp_path)
    torch.save({"state_dict": torch.zeros(1).expand(10**12)}, tmp_path / "policy.pth")
    with pytest.raises(UserError, match="not dense numbers"):
        load_policy(tmp_path)
    nested: Any = [1]
    for _ in range(50):
        nested = [nested, nested]
    torch.save(nested, tmp_path / "policy.pth")
    with pytest.raises(UserError, match="nested too deeply or has more than"):
        read_torch(tmp_path / "policy.pth", "a policy")


def test_a_bomb_of_aliases_in_yaml_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    Path("my.yml").write_text("\n".join(lines))
    refused(capsys, ["train", *SMALL, "-conf", "my.yml"], "my.yml", "aliases")
    merged = ["a0: &a0 {k: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))]
    Path("my.yml").write_text("\n".join(merged))
    refused(capsys, ["train", *SMALL, "-conf", "my.yml"], "my.yml", "aliases")


# ---- the current folder


def test_a_module_in_the_current_folder_is_not_imported(run: Path) -> None:
    """``python -m`` puts the current folder before everything that is installed."""
    for name in ("yaml", "matplotlib", "optuna", "isaacgym"):
        Path(f"{name}.py").write_text("open('canary', 'w').close()\n")
    package = str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-m", "sb3_isaac", "train", "-i", "run", "-n", "32"], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": package})
    assert done.returncode == 2 and "32 steps of the 32" in done.stderr, done.stderr
    assert not Path("canary").exists()
