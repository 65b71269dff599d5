"""``sb3-isaac completion SHELL``: a script by which a shell completes verbs, flags, files and environment ids."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from typing import Any

from sb3_isaac.cli.main import VERBS, ArgumentParser
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.ids import TASKS

FILES = ("RUN", "FILE", "PATH", "DIR")
"""What an argument is called in the help whose value is a file or folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="print the script for this shell")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    if importlib.util.find_spec("shtab") is None:
        raise UserError("completion needs shtab, which is not installed: pip install 'sb3_isaac[completion]'.")
    import shtab

    print(shtab.complete(_all_verbs(shtab.FILE), args.shell))
    return 0


def _all_verbs(file: Any) -> argparse.ArgumentParser:
    """One parser with a sub-parser for each verb; `file` is how shtab is told of files."""
    parser = ArgumentParser(prog="sb3-isaac")
    verbs = parser.add_subparsers()
    for verb, text in VERBS.items():
        one = verbs.add_parser(verb, help=text)
        importlib.import_module(f"sb3_isaac.cli.{verb}").add_arguments(one)
        for action in one._actions:
            if "--env" in action.option_strings:
                action.choices = sorted(TASKS)
            elif action.metavar in FILES or {"--conf", "--conf-file", "--log-folder"} & set(action.option_strings):
                action.complete = file  # type: ignore[attr-defined]
    return parser
