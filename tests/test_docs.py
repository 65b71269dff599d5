"""The documentation: it builds without a warning, loads nothing from elsewhere, and explains every key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Set
from urllib.parse import unquote

import pytest
import torch

import sb3_isaac
from sb3_isaac.clients import env_options
from sb3_isaac.config.schema import OWN_KEYS
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.policy.formats import _FIELDS
from sb3_isaac.rl.policy.evaluate import eval_options, evaluate
from sb3_isaac.rl.training.build import algorithm_options
from sb3_isaac.tasks import make_task

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OURS = sorted(name for name, place in TASKS.items() if place.startswith("sb3_isaac."))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def keys_of(name: str) -> Set[str]:
    """What stands in backquotes in the first cells of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", page(name), re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def explained(key: str, known: Set[str]) -> bool:
    """Whether a page has the key itself, or a pattern such as ``reward/<term>``."""
    patterns = [re.escape(name) for name in known if name != "rollout/<name>"]
    return any(re.fullmatch(re.sub("<[^>]+>", r"\\w+", pattern), key) for pattern in patterns)


# ---- the site

@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    out = subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(folder)], cwd=ROOT,
                         env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr
    return folder


def test_it_builds_and_its_links_lead_somewhere(site: Path) -> None:
    """mkdocs itself checks what pages link to, headings included; here what its HTML names is there as a file."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60 and (site / "index.html").is_file()
    for html in pages:
        text = html.read_text(encoding="utf-8")
        for link in set(re.findall(r'(?:href|src)="(?!\w+:|#|//|data:)([^"#?]+)', text)):
            target = site / link[1:] if link.startswith("/") else html.parent / unquote(link)
            assert target.exists(), f"{html.relative_to(site)}: {link}"


def test_it_loads_nothing_from_the_network(site: Path) -> None:
    for html in site.rglob("*.html"):
        text = html.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), html
        assert not re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(?:https?:)?//', text), html


def test_the_reference_has_every_public_name() -> None:
    named = {line.rsplit(".", 1)[-1] for path in (DOCS / "reference").glob("*.md")
             for line in re.findall(r"^::: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert set(sb3_isaac.__all__) <= named


def test_docstrings_become_markdown() -> None:
    sys.path.insert(0, str(DOCS / "_site"))
    try:
        griffe = pytest.importorskip("griffe")
        from rst_in_docstrings import markdown
    finally:
        sys.path.remove(str(DOCS / "_site"))
    assert griffe
    text = "A :class:`~a.b.C`.\n\n==== =====\nname what\n==== =====\nx    one|\n     two\n==== =====\n\nend"
    assert markdown(text) == ('A <autoref identifier="a.b.C" optional><code>C</code></autoref>.\n\n'
                              "| name | what |\n|---|---|\n| x | one\\| two |\n\nend")


# ---- keys

def test_every_yaml_key_is_explained() -> None:
    known = keys_of("yaml.md")
    assert OWN_KEYS | set(algorithm_options("ppo")) <= known
    for env in OURS:
        assert set(env_options(env)) <= known, env
    assert known <= OWN_KEYS | set(algorithm_options("ppo")) | {key for env in OURS for key in env_options(env)}


def test_defaults_of_ppo_are_those_of_its_constructor() -> None:
    words = {"none": None, "true": True, "false": False}
    table = page("yaml.md").partition("## Of PPO")[2].partition("\n## ")[0]
    told = {}
    for keys, defaults in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", table, re.MULTILINE):
        for key, text in zip(re.findall(r"`(\w+)`", keys), defaults.split(", ")):
            told[key] = words[text] if text in words else float(text.replace("−", "-"))
    ours = algorithm_options("ppo")
    assert len(told) > 20 and told == {key: ours[key] for key in told}


def test_every_field_of_policy_pth_is_explained() -> None:
    assert keys_of("policy_format.md") == set(_FIELDS)


def short(env: str) -> Dict[str, Any]:
    """Options of a task for an evaluation of a moment."""
    small = {"episode_length_s": 0.4, "threads": 1}
    return eval_options(env, {key: value for key, value in small.items() if key in env_options(env)})


@pytest.mark.parametrize("env", OURS)
def test_every_log_key_and_figure_of_our_tasks_is_explained(env: str) -> None:
    task = make_task(env, 8, seed=0, **short(env))
    step = task.step(torch.zeros(8, *task.action_space.shape))
    logged = {name if "/" in name else f"rollout/{name}" for name in task.logged}
    logged |= {name for name in step.log if name.startswith("reward/")}
    logged |= {f"rollout/{name}" for name in task.warnings()}
    actions = torch.zeros(8, *task.action_space.shape)
    figures = set(evaluate(task, lambda obs: actions, seed=0)) | {"steps"}
    task.close()
    known, known_figures = keys_of("log_keys.md"), keys_of("evaluation.md")
    assert [key for key in logged if not explained(key, known)] == []
    assert [key for key in figures if not explained(key, known_figures)] == []


def test_every_column_of_a_training_is_explained(tmp_path: Path) -> None:
    from sb3_isaac.cli.main import main

    assert main(["train", "--num-envs", "8", "-n", "384", "-f", str(tmp_path), "--eval-episodes", "2",
                 "--eval-freq", "192", "--env-kwargs", "threads:1", "episode_length_s:0.4"]) == 0
    columns = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    known, figures = keys_of("log_keys.md") | {"step"}, {f"eval/{key}" for key in keys_of("evaluation.md")}
    assert any(column.startswith("eval/") for column in columns)
    assert [column for column in columns if not explained(column, known | figures)] == []
