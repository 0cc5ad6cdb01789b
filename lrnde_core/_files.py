"""Files that a reader finds whole or not at all."""

import os
import stat
import tempfile
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, replacing what was there.

    A link stays one, to the new content. A pipe or a device, and what `/dev` names, such as the standard output, is
    written to as it is. Raises `OSError`.
    """
    if path.is_relative_to("/dev") or (path.exists() and not path.is_file()):
        path.write_bytes(content)
        return
    path = path.resolve()
    # The temporary file may only be read by its owner.
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8 text in one step, like `write_bytes`."""
    write_bytes(path, text.encode())
