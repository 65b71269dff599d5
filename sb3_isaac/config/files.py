"""Finding, reading and writing configuration files: strict YAML, one entry per environment."""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from sb3_isaac.contract.errors import UserError, brief, nearest, unknown

# YAML 1.1 reads 3e-4 (no dot, or no sign in the exponent) as a string; people mean the number.
_FLOAT_TAG, _FLOAT = "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
SHIPPED = Path(__file__).parent
"""Where the configuration files of this package are."""
_MERGE_TAG = "tag:yaml.org,2002:merge"


LARGEST_BYTES, MOST_VALUES = 2**20, 50_000
"""Of a file; a value that several aliases stand for counts each time."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, and aliases that make much of little."""

    def get_single_node(self) -> Any:
        """The document's node, once it was found to be no bomb: constructing it repeats what aliases stand for."""
        node = super().get_single_node()
        if node is not None and _values(node, {}) > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"its aliases make more than {MOST_VALUES} values of it",
                                       problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Checked while composing, because merging `<<` rewrites nodes later and repeats keys on purpose."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key.value!r} given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors, which quotes the strings that `_Loader` would read as numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))


def _values(node: Any, known: dict[int, float]) -> float:
    """Values in `node`, those behind an alias each time; infinite for an alias inside its own anchor."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) \
            else node.value if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1.0 + sum(_values(part, known) for part in parts)
    return known[id(node)]


def shipped() -> dict[str, Path]:
    """The configuration files of this package by stem: `ppo`, `ppo-course`."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.yml"))}


def find_file(algo: str, path: str | os.PathLike[str] | None) -> Path:
    """The file `path`, or the shipped one with that stem; without a `path` the shipped file of `algo`."""
    files = shipped()
    if path is None:
        stem = algo[len("sb3-"):] if algo.startswith("sb3-") and algo not in files else algo
        if stem not in files:
            raise unknown("algorithm", algo, files, "the shipped configurations, so give a file with -conf")
        return files[stem]
    if Path(path).is_file():
        return Path(path)
    if str(path) in files:
        return files[str(path)]
    raise UserError(f"there is no configuration file {brief(str(path))}: {nearest(str(path), files)}give a YAML file, "
                    f"or one of the shipped {', '.join(files)}.")


def read_entry(file: Path, env: str) -> Mapping[str, object]:
    """The mapping under `env`, else under the package in ``package:task``, else under `default`, else the whole file
    if it is a single entry (Isaac Lab's form)."""
    document = read_mapping(file)
    name = next((name for name in (env, env.rpartition(":")[0], "default") if name and name in document), None)
    if name is not None:
        return _mapping(document[name], f"entry {name!r} of {file}")
    if any(key in document and not isinstance(document[key], Mapping) for key in ("policy", "n_timesteps")):
        return document
    names = ", ".join(brief(key).strip("'") for key in list(document)[:12])
    raise UserError(f"{file} has no entry for {env!r} and none called default, but {names}: add one, or give another "
                    "file.")


def to_yaml(document: Mapping[str, object]) -> str:
    """YAML text that `read_entry` reads back unchanged."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


@functools.lru_cache(maxsize=16)
def _document(text: bytes) -> Any:
    """What YAML text holds. It is kept, for a study reads the same file for each trial, and reading takes 0.1 s."""
    return yaml.load(text, Loader=_Loader)


def read_mapping(file: Path) -> Mapping[str, object]:
    """The mapping that a YAML file holds, or a sentence."""
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{file} has more than {LARGEST_BYTES:,} bytes, which no configuration needs: give "
                            "another file.")
        document = copy.deepcopy(_document(file.read_bytes()))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check its permissions.") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line} is not valid YAML ({problem or 'unreadable text'}); correct it.") from None
    except UserError:
        raise
    except Exception as error:  # PyYAML answers `!!float abc`, `!!bool maybe` or a month 13 in many ways
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{file} holds a value that cannot be read ({reason}); correct it.") from None
    if document is None:
        raise UserError(f"{file} is empty; give a mapping of environment ids to their settings.")
    return _mapping(document, str(file))


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return value
    kind = "empty" if value is None else f"a {type(value).__name__}"
    raise UserError(f"{where} is {kind}; it has to be a mapping of keys to values.")
