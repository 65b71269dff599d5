"""``sb3-isaac <verb>``: one sentence and exit code 2 for every mistake of the caller's."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import re
import sys
import traceback
from pathlib import Path
from signal import SIGINT
from typing import Any, ContextManager, List, NoReturn, Optional, Sequence

from sb3_isaac.contract.cores import share_cores
from sb3_isaac.contract.errors import LARGEST_INT, UserError, brief, is_number, unknown
from sb3_isaac.contract.output import drop_output, usable_output
from sb3_isaac.contract.signals import Interrupted, leave_to_system, raising, tell
from sb3_isaac.envs.registration import import_packages

VERBS = {
    "train": "train a policy",
    "eval": "score a trained policy",
    "play": "watch a trained policy: viewer, video or picture",
    "demo": "watch a policy that comes with the package: viewer, browser, video or picture",
    "robot": "see what a robot's MJCF or URDF file tells, and whether it stands",
    "robustness": "try a trained policy, or two, under conditions that it may meet",
    "sysid": "find what a robot's joints are like, from a log of how they moved",
    "export": "write a trained policy as ONNX, and what a robot's program has to know",
    "push": "put a trained policy on the Hugging Face Hub, or what belongs there into a folder",
    "plot": "draw the curves of one or more runs",
    "compare": "compare two groups of runs, such as seeds of two settings",
    "tune": "search for better settings with Optuna, on one machine or many",
    "config": "list every setting of a training, and where it comes from",
    "list": "list environments, robots, reward terms, commands, algorithms and shipped settings",
    "run": "run a program written for Isaac Gym, or audit what it needs",
    "bench": "measure what an iteration costs, beside stock SB3 and rsl_rl",
    "completion": "print a script by which a shell completes verbs and flags",
}

LONGEST = 10_000
"""Characters of an argument."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with its errors as UserErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise `message` with the command that lists the options."""
        raise UserError(f"{message}: see '{self.prog} --help'.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse takes ``-1,0`` for an option; behind a space it is the numbers that it is."""
        words = sys.argv[1:] if args is None else args
        return super().parse_args([f" {word}" if re.match(r"-[\d.]+,", word) else word for word in words], namespace)


def main(argv: Optional[List[str]] = None) -> int:
    """Run a command; returns the exit code. Without `argv` it is the program `sb3-isaac` itself, which then ends."""
    given = sys.argv[1:] if argv is None else argv
    usable_output()
    # A program that is not ours ends as it would under Python alone.
    foreign = given[:1] == ["run"] and "--audit" not in given
    handled: ContextManager[None] = contextlib.nullcontext() if foreign else raising()
    try:
        with handled:
            code = _run(given)
            sys.stdout.flush()
            return code
    except UserError as error:
        print(f"sb3-isaac: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        signal = error if isinstance(error, Interrupted) else Interrupted(SIGINT)
        what = "" if foreign else ", and nothing was written"
        tell(f"sb3-isaac: ended by {signal}{what}.")
        return signal.exit_code
    except OSError as error:
        if foreign:
            raise
        return _refused(error)
    except (AttributeError, RuntimeError) as error:
        if foreign or not _is_of_gl(error):
            raise
        print(f"sb3-isaac: the environment variable MUJOCO_GL is {os.environ['MUJOCO_GL']!r}, by which MuJoCo cannot "
              "draw here: set it to egl, osmesa or glfw, the one that is installed, or unset it.", file=sys.stderr)
        return 2
    finally:
        if argv is None:
            leave_to_system()


def _is_of_gl(error: Exception) -> bool:
    """Whether MuJoCo raised this for the sake of MUJOCO_GL, whose library it loads when it is imported."""
    frames = traceback.extract_tb(error.__traceback__)
    return "MUJOCO_GL" in os.environ and any(frame.filename.endswith("gl_context.py") for frame in frames)


def _refused(error: OSError) -> int:
    """Say what the operating system refused; returns the exit code."""
    if error.filename is not None:
        print(f"sb3-isaac: {brief(str(error.filename))} cannot be used ({error.strerror}): correct the name, or what "
              "is there.", file=sys.stderr)
        return 2
    drop_output()
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        return 128 + 13  # as a shell reports SIGPIPE
    print(f"sb3-isaac: the output could not be written ({error.strerror or error}): make room, or send it to another "
          "place.", file=sys.stderr)
    return 2


def _run(argv: List[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, VERBS))
        print("usage: sb3-isaac <verb> [options]\n")
        print("\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()))
        print("\n'sb3-isaac <verb> --help' lists a verb's options. Begin with 'sb3-isaac demo', then\n"
              "'sb3-isaac train', then 'sb3-isaac play RUN --view', RUN being the folder that training names.\n"
              "Documentation: docs/index.md")
        return 0
    if argv[0] in ("-V", "--version"):
        from sb3_isaac import __version__

        print(__version__)
        return 0
    if argv[0] not in VERBS:
        raise unknown("verb", argv[0], VERBS)
    if argv[0] != "run":  # its arguments are those of another program
        _check_arguments(argv[1:])
    share_cores()
    module: Any = importlib.import_module(f"sb3_isaac.cli.{argv[0]}")
    parser = ArgumentParser(prog=f"sb3-isaac {argv[0]}", description=_sentence(VERBS[argv[0]]), allow_abbrev=False)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(argv[1:])))


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what can be no name, number or path: once, for every flag of every verb."""
    for given, before in zip(arguments, ["", *arguments]):
        decoded = given.encode(errors="replace").decode() == given
        if not given or "\0" in given or not decoded or len(given) > LONGEST:
            where = f" after {before}" if before.startswith("-") else ""
            letters = "" if decoded else "; not all of its bytes are letters in this terminal's encoding, see LC_ALL"
            raise UserError(f"an argument{where} is {brief(given)}: give a text that is not empty, has no zero bytes "
                            f"and at most {LONGEST} characters{letters}.")


def add_gym_packages(parser: argparse.ArgumentParser) -> None:
    """``--gym-packages``, as rl-zoo has it: modules of the user's own that register tasks when they are imported.

    A verb with a positional argument takes one module each time that the flag is given: the argument may follow.
    """
    positional = any(not action.option_strings for action in parser._actions)
    parser.add_argument("--gym-packages", nargs=1 if positional else "+", action="extend", default=[], metavar="PKG",
                        help="import this module first: it registers your own tasks, reward terms and callbacks")


def gym_packages_flag(args: argparse.Namespace) -> str:
    """What a command that is to be copied ends with."""
    return "".join(f" --gym-packages {name}" for name in args.gym_packages)


def import_gym_packages(args: argparse.Namespace) -> None:
    """Import the modules of ``--gym-packages``, from the current folder too, as ``python -m`` does.

    To be called after :func:`import_isaacgym_if_needed`, because a user's module may import torch.

    :raises UserError: when one cannot be imported.
    """
    if not args.gym_packages:
        return
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    for name in args.gym_packages:
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            raise UserError(f"--gym-packages was given {name!r}: give the name of a module as in an import statement, "
                            "such as my_tasks for my_tasks.py.")
        try:
            import_packages([name])
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a user's module may raise anything, and may be a program that ends
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = "" if "importlib" in place.filename else f" at {place.filename}:{place.lineno}"
            raise UserError(f"--gym-packages {name} cannot be imported ({type(error).__name__}: {error}{where}): give "
                            "a module that is installed or in the current folder.") from error


def check_env_id(env_id: str) -> None:
    """Say for an unknown task that ``--gym-packages`` may be missing."""
    from sb3_isaac.contract.ids import TASKS

    if ":" not in env_id and env_id not in TASKS:  # with a colon it is another package's task
        error = unknown("environment id", env_id, TASKS)
        raise UserError(f"{str(error).rstrip('.')}; if it is a task of your own, did you forget --gym-packages?")


def import_isaacgym_if_needed(env_kwargs: Sequence[str] = (), run: Optional[str] = None,
                              env: Optional[str] = None) -> None:
    """Import NVIDIA's isaacgym before torch where a command will need it and it is installed.

    :param env_kwargs: the ``key:value`` strings of ``--env-kwargs``.
    :param run: a run or checkpoint folder, whose configuration counts too.
    :param env: an environment id; a client's has a colon.
    """
    from sb3_isaac.clients import is_client
    from sb3_isaac.gymcompat.install import install, is_installed

    sims = [item[len("sim:"):] for item in env_kwargs if item.startswith("sim:")]
    configs = [Path(run) / place / "config.yml" for place in ("", "latest")] if run is not None else []
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in configs if path.is_file()]
    trained_there = any(re.search(r"^['\"]?\w+:\w+['\"]?:|\bsim: isaacgym\b", text, re.MULTILINE) for text in texts)
    wanted = sims[-1] == "isaacgym" if sims else trained_there or (env is not None and is_client(env))
    if wanted and is_installed():
        install("isaacgym")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def numbers(text: str) -> List[float]:
    """An argparse type: numbers with commas between them, such as ``1.0,0.0``."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(is_number, values)):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a list of numbers such as 1.0,0.0")
    return values


def add_command(parser: argparse.ArgumentParser, several: str) -> None:
    """``--command``, once or several times: what the robots are told.

    :param several: what becomes of several.
    """
    parser.add_argument("--command", type=numbers, action="append", metavar="V,W", help="what the robots are told: "
                        "one number for each axis of the task, which 'sb3-isaac list' names, such as 0,0.5,0; given "
                        f"several times, {several} (default: the task's)")


def command_of(args: argparse.Namespace) -> Any:
    """The numbers of one ``--command``, a list of such lists for several, None without."""
    return args.command[0] if args.command and len(args.command) == 1 else args.command


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1; 1e7 is one too."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= LARGEST_INT or value != int(value):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a whole number of at least 1")
    return int(value)


def whole(text: str) -> int:
    """An argparse type: a whole number, which may be negative."""
    if not re.fullmatch(r"[-+]?\d{1,15}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a whole number of at most 15 digits")
    return int(text)


def seed(text: str) -> int:
    """An argparse type: a whole number from 0 to 2**32 - 1."""
    if not 0 <= whole(text) < 2**32:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a whole number from 0 to 2**32 - 1")
    return int(text)
