"""``sb3-isaac run script.py ...``: a program written for Isaac Gym, unmodified, on NVIDIA's package or on MuJoCo."""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Iterator

from sb3_isaac.cli.main import positive
from sb3_isaac.contract.errors import UserError, brief
from sb3_isaac.gymcompat.install import CHOICES, install


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, and on what."""
    add = parser.add_argument
    add("--sim", choices=CHOICES, default="auto",
        help="isaacgym is NVIDIA's package, mujoco its emulation; auto is the former where it is installed")
    add("--cuda-to-cpu", action="store_true", help="use the CPU where the program asks the emulation for cuda:0")
    add("--legacy-numpy", action="store_true", help="add the names that numpy has removed, such as np.float and np.int")
    add("--threads", type=positive, help="physics threads of the emulation (default: one for each core)")
    add("--audit", action="store_true", help="run nothing: list the Isaac Gym API that a script or folder uses")
    add("script", metavar="SCRIPT", help="a Python program (with --audit a program or a folder of them)")
    add("args", nargs=argparse.REMAINDER, metavar="...", help="the program's own arguments")


def run(args: argparse.Namespace) -> int:
    """Run or audit the program; its exit code is ours."""
    if args.audit:
        from sb3_isaac.gymcompat.audit import audit, table

        if args.args:
            raise UserError(f"--audit was given {' '.join(args.args)!r} besides {args.script}: give one script or "
                            "folder, after the flag.")
        print(table(audit(Path(args.script))))
        return 0
    script = Path(args.script)
    if not os.path.isfile(script):  # also of a name that is too long
        raise UserError(f"there is no program {brief(args.script)}: give the path of a Python file.")
    which = install(args.sim, cuda_to_cpu=args.cuda_to_cpu, threads=args.threads)
    if args.legacy_numpy:
        from sb3_isaac.gymcompat.numpy_names import restore_numpy_names

        restore_numpy_names()
    sys.argv = [args.script, *args.args]
    sys.path.insert(0, str(script.resolve().parent))
    with _cuda_to_cpu() if args.cuda_to_cpu and which == "mujoco" else contextlib.nullcontext(), _user_errors():
        runpy.run_path(args.script, run_name="__main__")
    return 0


@contextlib.contextmanager
def _cuda_to_cpu() -> Iterator[None]:
    from sb3_isaac.gymcompat.runtime.on_cpu import CudaToCpu

    with CudaToCpu():
        yield


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    """Say at which line of the program an error came up, and which flag helps where numpy or CUDA lack something."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')} ({_program_line(error)}).") from error
    except AttributeError as error:
        if "module 'numpy' has no attribute" not in str(error):
            raise
        raise UserError(f"the program uses a name that this numpy does not have any more ({_program_line(error)}): "
                        "start it with 'sb3-isaac run --legacy-numpy'.") from error
    except (RuntimeError, AssertionError) as error:
        if not any(text in str(error) for text in ("Found no NVIDIA driver", "not compiled with CUDA")):
            raise
        raise UserError(f"the program asks for a CUDA device and there is none ({_program_line(error)}): start it with "
                        "'sb3-isaac run --cuda-to-cpu'.") from error


def _program_line(error: BaseException) -> str:
    """Where the program itself stood: the last line that is neither ours nor a library's."""
    package = str(Path(__file__).resolve().parents[1])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith(package) and "site-packages" not in frame.filename
              and "runpy" not in frame.filename]
    return f"at {frames[-1].filename}:{frames[-1].lineno}" if frames else "at its start"
