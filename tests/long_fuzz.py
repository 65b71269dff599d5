"""Malformed inputs by the thousand: each ends in one sentence and exit code 2, or is valid; nothing runs or hangs.

``python tests/long_fuzz.py --count 5000 --seed 0`` goes through YAML files, flags, run folders, policy files, search
spaces, robot files and journals, in one process, so that 5,000 take some minutes; ``--kinds flags,policy`` picks some.
Inputs that end in a traceback, that take longer than ``--limit`` seconds, or that run anything are listed at the end.

That nothing runs is seen by Python's audit hook: starting a program, importing the canary's package, or removing a
folder outside of the working one is noted whatever the program does about it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

PENDULUM = "IsaacDoublePendulum-v0"
SMALL = ["--env", PENDULUM, "--num-envs", "4", "-n", "32", "--eval-freq", "-1", "--eval-episodes", "2",
         "--env-kwargs", "episode_length_s:0.2"]
SHORT, TRPO_SHORT = ["n_steps:8", "batch_size:32", "n_epochs:1"], ["n_steps:8", "batch_size:32"]
VALUES: List[Any] = [
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e-300, 1e300, 1e400, float("nan"), 2**31, 2**63, 10**30, -(10**60), "",
    "abc", "auto", "nn.ELU", "lin_3e-4", "os.system", "canary_pkg.x", "canary_pkg:x", "\x00", "\ud800", "a" * 300, "é",
    "$x^{$", "../..", "/dev/null", [], [1], ["a", "b"], [[1, 2], [3]], {}, {"a": 1}, {"canary_pkg.x": {}},
    {"subprocess.Popen": {"args": ["touch", "x"]}}]
SHOW = bool(os.environ.get("FUZZ_SHOW"))
SEEN: List[str] = []
"""What the audit hook saw that no input may cause."""
FOLDER: List[str] = []
"""The fuzzer's own folder, in which it may remove what it likes."""


def watch(event: str, arguments: Tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "os.fork"):
        if "get_version(library_handle)" not in str(arguments):  # glfw asks itself for its version when it is imported
            SEEN.append(f"{event} {arguments!r}"[:200])
    elif event == "import" and str(arguments[0]).split(".")[0] == "canary_pkg":
        SEEN.append(f"import {arguments[0]}")
    elif event == "shutil.rmtree" and not os.path.abspath(arguments[0]).startswith(FOLDER[0]):
        SEEN.append(f"{event} {arguments!r}"[:200])


class Late(BaseException):
    """An input took too long."""


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


# ---- inputs: each maker returns what it did in words, and the command


def value(rng: random.Random) -> Any:
    return rng.choice(VALUES)


def yaml_of(rng: random.Random) -> Tuple[str, List[str]]:
    """A shipped YAML with one value changed, or with bytes changed."""
    import yaml

    from sb3_isaac.config.files import shipped

    name = rng.choice([n for n in shipped() if n in ("ppo", "ppo-course", "sb3-ppo", "trpo", "ppo-fast")])
    text = shipped()[name].read_text().replace("IsaacQuadrupedFlat-v0", PENDULUM)
    if rng.random() < 0.35:
        data = mutated(rng, text.encode())
        Path("my.yml").write_bytes(data)
        words = f"bytes of {name}.yml"
    else:
        document = yaml.safe_load(text)
        entry = dict(next(iter(document.values())))
        entry.update(n_timesteps=32, n_envs=4, n_steps=8, n_epochs=1, callback=[], batch_size=32)
        entry.pop("n_minibatches", None)
        entry.pop("env_kwargs", None)
        if name == "trpo":
            entry.pop("n_epochs")
        key = rng.choice([*entry, "seed", "device", "callback", "env_kwargs", "use_sde", "target_kl", "policy_kwargs",
                          "stats_window_size", "desired_kl", "compile_losses", "env_wrapper", "frame_stack",
                          "clip_range_vf"])
        new = value(rng)
        entry[key] = {rng.choice(["net_arch", "activation_fn", "log_std_init", "reward", "norm_obs", "robot"]): new} \
            if rng.random() < 0.2 else new
        words = f"{name}.yml {key} = {entry[key]!r}"[:150]
        with contextlib.suppress(Exception):
            Path("my.yml").write_text(yaml.safe_dump({PENDULUM: entry}), encoding="utf-8", errors="surrogatepass")
    algo = {"sb3-ppo": "sb3-ppo", "trpo": "trpo"}.get(name, "ppo")
    return words, ["train", *SMALL, "--algo", algo, "-conf", "my.yml"]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """`data` cut, doubled, with bytes turned, or with a piece of noise."""
    kind = rng.randrange(6)
    at = rng.randrange(max(1, len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.choice((1, 4, 40))) + data[at:]
    if kind == 2:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
    if kind == 3:
        return data[:at] + data[at + rng.choice((1, 2, 8)):]
    if kind == 4:
        return rng.choice([b"", b"\0", b"{}", b"[]", b"null", b"1", rng.randbytes(100), data + data])
    return data.replace(rng.choice([b":", b"-", b"0", b"\n", b" "]), rng.choice([b"", b":", b"[", b"9", b"\t"]), 3)


def flags(rng: random.Random) -> Tuple[str, List[str]]:
    flag, verb = rng.choice([
        ("--env", "train"), ("--client", "train"), ("--algo", "train"), ("--num-envs", "train"), ("-n", "train"),
        ("-conf", "train"), ("--seed", "train"), ("--device", "train"), ("-i", "train"), ("--eval-freq", "train"),
        ("--eval-episodes", "train"), ("--save-freq", "train"), ("--log-interval", "train"), ("-f", "train"),
        ("-tb", "train"), ("--episodes", "eval"), ("--command", "eval"), ("--env", "eval"), ("--seed", "eval"),
        ("--seconds", "play"), ("--size", "play"), ("--robots", "play"), ("--picture", "play"), ("--labels", "plot"),
        ("--out", "plot"), ("--max-falls", "tune"), ("--study-name", "tune"), ("--space", "tune"),
        ("--storage", "tune"), ("--sampler", "tune"), ("--n-trials", "tune"), ("--heartbeat", "tune"),
        ("--audit", "run")])
    given = value(rng)
    text = given if isinstance(given, str) else rng.choice([json.dumps(given, default=str), str(given)])
    if flag in ("--num-envs", "-n", "--episodes", "--eval-episodes", "--robots", "--seconds") and text == str(2**31):
        text = "-1"  # valid, and more than the memory or the time of a test
    if (flag in ("--env", "--client") and text == "canary_pkg:x") or (flag == "--audit" and text == "../.."):
        text = "nosuch:x"  # what the command line names may be imported, and a whole disk may be audited
    base = {"train": [*SMALL, "-params", *SHORT], "eval": ["run", "--episodes", "2"],
            "play": ["run", "--seconds", "0.1", "--picture", "p.png"], "plot": ["run"], "run": [],
            "tune": ["--env", "nosuch" if flag != "--study-name" else PENDULUM, "--n-trials", "1",
                     "--n-evaluations", "999999"]}[verb]
    return f"{verb} {flag} {text!r}"[:150], [verb, *base, flag, text]


def params(rng: random.Random) -> Tuple[str, List[str]]:
    """``-params`` and ``--env-kwargs``."""
    new = value(rng)
    text = new if isinstance(new, str) else rng.choice([str(new), json.dumps(new, default=str)])
    if rng.random() < 0.6:
        algo = rng.choice(["ppo", "sb3-ppo", "trpo"])
        key = rng.choice([
            "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef",
            "vf_coef", "max_grad_norm", "use_sde", "sde_sample_freq", "target_kl", "stats_window_size", "policy",
            "policy_kwargs", "policy_kwargs.net_arch", "policy_kwargs.log_std_init", "normalize",
            "normalize.clip_obs", "normalize.gamma", "normalize.norm_obs_keys", "callback", "desired_kl",
            "cg_max_steps", "cg_damping", "sub_sampling_factor", "n_minibatches", "seed", "device", "a.b.c"])
        return f"{algo} {key}:{text!r}"[:150], [
            "train", *SMALL, "--algo", algo, "-params", *(TRPO_SHORT if algo == "trpo" else SHORT), f"{key}:{text}"]
    key = rng.choice(["episode_length_s", "reward", "reward.height", "reward.new", "observation",
                      "observation.policy.x", "termination", "stagger", "seed", "device", "render_mode", "num_envs",
                      "sim", "a.b"])
    if key in ("num_envs",) and text == str(2**31):
        text = "-1"
    return f"--env-kwargs {key}:{text!r}"[:150], ["train", *SMALL, "-params", *SHORT, "--env-kwargs", f"{key}:{text}"]


def run_folder(rng: random.Random) -> Tuple[str, List[str]]:
    """A file of a run folder, in all of its checkpoints."""
    name = rng.choice(["meta.json", "meta.json", "config.yml", "task_state.pt", "model.zip", "vecnormalize.pkl",
                       "metrics.csv"])
    kind = rng.randrange(4)
    key, new = "", value(rng)
    for folder in ("run", "run/latest", *(str(p) for p in Path("run/checkpoints").iterdir())):
        path = Path(folder) / name
        if not path.exists():
            continue
        if name == "meta.json" and kind:
            content = json.loads(path.read_text())
            tree = content["settings"] if key in content["settings"] or (not key and rng.random() < 0.4) else content
            key = key or rng.choice(list(tree))
            if kind == 3:
                tree.pop(key, None)
            else:
                tree[key] = new
            path.write_text(json.dumps(content))
        elif name == "task_state.pt" and kind:
            import torch

            content = torch.load(path, weights_only=True)
            key = key or rng.choice(list(content))
            tree = content["random"] if key == "random" and kind == 2 else content
            tree[key if tree is content else "numpy"] = new
            torch.save(content, path)
        elif name in ("model.zip", "vecnormalize.pkl") and kind == 1:
            path.write_bytes(pickle.dumps(Runs()))
        else:
            path.write_bytes(mutated(random.Random(rng.random()), path.read_bytes()))
    plots = name in ("metrics.csv", "meta.json") and rng.random() < 0.4
    verb = ["plot", "run"] if plots else ["train", "-i", "run", "-n", "64"]
    return f"{verb[0]}: {name} kind {kind} {key} = {new!r}"[:150], verb


def policy(rng: random.Random) -> Tuple[str, List[str]]:
    """``policy.pth`` with bytes or one entry changed."""
    import torch

    path, kind = Path("run/policy.pth"), rng.randrange(5)
    key, new = "", value(rng)
    if kind == 0:
        path.write_bytes(mutated(rng, path.read_bytes()))
    elif kind == 1:
        with zipfile.ZipFile(path) as archive:
            parts = {part: archive.read(part) for part in archive.namelist()}
        part = rng.choice(list(parts))
        runs = part.endswith("data.pkl") and rng.random() < 0.2
        parts[part] = pickle.dumps(Runs()) if runs else mutated(rng, parts[part])
        packed = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        with zipfile.ZipFile(path, "w", packed) as archive:
            for part, data in parts.items():
                archive.writestr(part, data)
    else:
        content = torch.load(path, weights_only=True)
        if kind == 2:
            new = rng.choice([torch.zeros(()), torch.zeros(3), torch.zeros(0), torch.ones(6, dtype=torch.cfloat),
                              torch.zeros(2, 2, 2), torch.full((6,), float("nan")), torch.zeros(1).expand(10**9),
                              torch.zeros(6).to_sparse(), new])
        tree = rng.choice([content, content, content["state_dict"], content["env_kwargs"] or content])
        key = rng.choice(list(tree))
        if rng.random() < 0.15:
            del tree[key]
        else:
            tree[key] = new
        torch.save(content, path)
    return f"policy.pth kind {kind} {key} = {new!r}"[:150], ["eval", "run", "--episodes", "2"]


def search_space(rng: random.Random) -> Tuple[str, List[str]]:
    import yaml

    fields: Dict[str, Any] = rng.choice([
        {"kind": "float", "low": 0.1, "high": 0.5}, {"kind": "int", "low": 1, "high": 4},
        {"kind": "categorical", "choices": [0.1, 0.2]}])
    name = rng.choice(["gamma", "n_minibatches", "learning_rate", "policy_kwargs.net_arch", "callback", "device",
                       "normalize", "env_kwargs.reward.height", "batch_size", "policy", "a.b", "n_steps"])
    key, new = rng.choice([*fields, "condition", "log", "x"]), value(rng)
    document: Any = {PENDULUM: {name: {**fields, key: new}}}
    with contextlib.suppress(Exception):
        text = yaml.safe_dump(document)
        data = text.encode(errors="surrogatepass")
        Path("space.yml").write_bytes(data if rng.random() < 0.8 else mutated(rng, data))
    # More evaluations than rollouts: refused once the space was read and tried.
    return f"space {name} {key} = {new!r}"[:150], [
        "tune", "--env", PENDULUM, "--num-envs", "4", "-n", "64", "--space", "space.yml", "--n-trials", "1",
        "--n-evaluations", "9999", "--study-name", "s"]


def robot(rng: random.Random) -> Tuple[str, List[str]]:
    """A shipped robot's MJCF, changed, by the verb ``robot``."""
    source = Path(__import__("sb3_isaac").__file__).parent / "robots" / "quadruped.xml"
    text = source.read_bytes()
    for _ in range(rng.choice((1, 1, 3))):
        text = mutated(rng, text)
    Path("robot.xml").write_bytes(text)
    return "robot.xml", ["robot", "robot.xml"]


def journal(rng: random.Random) -> Tuple[str, List[str]]:
    """A study's journal with garbage in it; the study is only opened."""
    lines = [json.dumps({"op_code": rng.randrange(12), "worker_id": "w", "study_name": value(rng), "directions": [1],
                         "trial_id": value(rng), "user_attr": value(rng)}, default=str)
             for _ in range(rng.randrange(3))]
    data = mutated(rng, ("\n".join(lines) + "\n").encode())
    Path("study.log").write_bytes(data)
    return f"journal {data[:80]!r}", ["tune", "--env", PENDULUM, "--storage", "study.log", "--study-name", "s",
                                      "--trial-id", "0"]


KINDS: Dict[str, Callable[[random.Random], Tuple[str, List[str]]]] = {
    "yaml": yaml_of, "flags": flags, "params": params, "run": run_folder, "policy": policy, "space": search_space,
    "robot": robot, "journal": journal}
SHARES = {"yaml": 20, "flags": 15, "params": 20, "run": 20, "policy": 15, "space": 4, "robot": 3, "journal": 3}


# ---- running them


def prepare() -> None:
    """A run folder to change, and the canary's package."""
    from sb3_isaac.cli.main import main

    assert main(["train", *SMALL, "-params", *SHORT, "-f", "made"]) == 0
    shutil.move(f"made/ppo/{PENDULUM}_1", "whole")
    for module in ("__init__", "envs/__init__", "utils/__init__", "utils/helpers", "utils/task_registry"):
        path = Path("canary_pkg") / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("open('executed', 'w').close()\n")
    sys.path.insert(0, os.getcwd())


def attempt(arguments: List[str], limit: float) -> Tuple[str, str]:
    """How the command ended, ``sentence ok traceback late ran``, and a word about it."""
    from sb3_isaac.cli.main import main

    def late(*_: Any) -> None:
        raise Late

    out, err = io.StringIO(), io.StringIO()
    SEEN.clear()
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = main(arguments)
    except Late:
        return "late", ""
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in place if "/sb3_isaac/" in frame.filename] or list(place)
        return "traceback", f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {type(error).__name__}: {error}"[:220]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if SEEN or Path("executed").exists():
            Path("executed").unlink(missing_ok=True)
            return "ran", "; ".join(SEEN) or "a canary's file"  # noqa: B012
    said = err.getvalue().strip().splitlines()
    said = [line for line in said if line.startswith("sb3-isaac:")]
    if SHOW:
        print(code, arguments[:2], said, flush=True)
    if code == 0:
        return "ok", ""
    return ("sentence", "") if code == 2 and len(said) == 1 else ("traceback", f"exit code {code}: {said}"[:220])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of these inputs alone, to look into them")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of one input")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    FOLDER.append(str(folder))
    inner = folder / "two" / "deep"  # "-f ../.." is valid, and what it writes and removes is to be the fuzzer's own
    inner.mkdir(parents=True)
    os.chdir(inner)
    prepare()
    sys.addaudithook(watch)
    kinds, start = args.kinds.split(","), time.time()
    counts: Dict[str, Dict[str, int]] = {kind: {} for kind in kinds}
    bad: Dict[str, List[str]] = {}
    for i in args.only or range(args.count):
        rng = random.Random(f"{args.seed} {i}")
        kind = rng.choices(kinds, [SHARES[name] for name in kinds])[0]
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree("whole", "run")
        for left in ("logs", "study.log.beats"):
            shutil.rmtree(left, ignore_errors=True)
        words, arguments = KINDS[kind](rng)
        how, about = attempt(arguments, args.limit)
        counts[kind][how] = counts[kind].get(how, 0) + 1
        if how not in ("sentence", "ok"):
            bad.setdefault(f"{how} {kind} {about}", []).append(f"#{i} {words}")
            print(f"{how} #{i} {words}  |  {about}", flush=True)
        if i % 250 == 249:
            print(f"{i + 1} in {time.time() - start:.0f} s {counts}", flush=True)
    print(f"{args.count} inputs, seed {args.seed}, {time.time() - start:.0f} s")
    for kind, found in counts.items():
        print(f"{kind:<8} {found}")
    for about, inputs in sorted(bad.items(), key=lambda item: -len(item[1])):
        print(f"{len(inputs):>4} {about}\n       {inputs[0]}")
    os.chdir("/")
    shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
