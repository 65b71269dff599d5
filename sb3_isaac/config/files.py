"""Finding, reading and writing configuration files: strict YAML, one entry per environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from sb3_isaac.contract.errors import UserError, unknown

# YAML 1.1 reads 3e-4 (no dot, or no sign in the exponent) as a string; people mean the number.
_FLOAT_TAG, _FLOAT = "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
SHIPPED = Path(__file__).parent
"""Where the configuration files of this package are."""
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice."""

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
    raise UserError(f"configuration file {str(path)!r} does not exist; give a YAML file or one of {', '.join(files)}.")


def read_entry(file: Path, env: str) -> Mapping[str, object]:
    """The mapping under `env`, else under `default`, else the whole file if it is a single entry (Isaac Lab's form)."""
    document = read_mapping(file)
    if env in document or "default" in document:
        name = env if env in document else "default"
        return _mapping(document[name], f"entry {name!r} of {file}")
    if any(key in document and not isinstance(document[key], Mapping) for key in ("policy", "n_timesteps")):
        return document
    raise unknown("environment id", env, document, str(file))


def to_yaml(document: Mapping[str, object]) -> str:
    """YAML text that `read_entry` reads back unchanged."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_mapping(file: Path) -> Mapping[str, object]:
    """The mapping that a YAML file holds, or a sentence."""
    try:
        document = yaml.load(file.read_bytes(), Loader=_Loader)
        json.dumps(document, default=str, skipkeys=True)  # ValueError for an alias inside its own anchor
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check its permissions.") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line} is not valid YAML ({problem or 'unreadable text'}); correct it.") from None
    except (ValueError, RecursionError) as error:  # also `!!float abc`, a month 13
        raise UserError(f"{file} holds a value that cannot be read ({error}); correct it.") from None
    return _mapping(document, str(file))


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return value
    raise UserError(f"{where} is a {type(value).__name__}; it has to be a mapping of keys to values.")
