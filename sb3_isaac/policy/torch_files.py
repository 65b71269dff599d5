"""``policy.pth`` and ``task_state.pt``: tensors and builtins, written by ``torch.save`` and read with nothing run.

A file from a stranger may be damaged or made to do harm, so it is looked at before it is unpacked. Needs torch alone.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.records import plain

LARGEST_BYTES = 2**32


def torch_bytes(content: Any) -> bytes:
    """What ``torch.save`` writes; on a full disk its own writer raises no OSError, and ours does."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read_torch(path: Path, what: str) -> Any:
    """The content of a file that :func:`torch_bytes` made: dense CPU tensors and builtins, no larger than the file.

    torch.save compresses nothing. A compressed part, or parts that are together larger than the file, are a bomb, and
    are refused by the sizes that the file declares before anything is unpacked.

    :param what: what the file should be, for the error.
    :raises UserError: when it is none of these.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > size or size > LARGEST_BYTES:
            raise UserError(f"{path} says that it unpacks to {sum(part.file_size for part in parts):,} bytes from "
                            f"{size:,}: it is not read, since {what} is not compressed and has at most "
                            f"{LARGEST_BYTES:,}.")
        content = torch.load(path, map_location="cpu", weights_only=True)
        plain(str(path), content, kinds=(torch.Tensor,), look=lambda tensor: _check_tensor(tensor, size))
        return content
    except UserError:
        raise
    except Exception as error:  # torch and zipfile raise many kinds of errors for a damaged file
        reason = " ".join(str(error).split())[:80]
        raise UserError(f"{path} is not {what} ({type(error).__name__}: {reason}): give one that sb3_isaac wrote.") \
            from error


def _check_tensor(tensor: torch.Tensor, size: int) -> None:
    """Refuse what is more than it takes on disk: views that repeat one number, sparse and meta tensors."""
    dense = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not dense or tensor.is_complex() or tensor.numel() * tensor.element_size() > size:
        raise UserError(f"a tensor of shape {tuple(tensor.shape)} is not dense numbers of the file: give a file that "
                        "sb3_isaac wrote.")
