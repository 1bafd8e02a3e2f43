"""A disk that can be filled on purpose, and nobody else's: a small file system in memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final, Self

SIZE_MB: Final = 96
MOUNT_S: Final = 10.0
_FILLER: Final = "filler"
_PIECE: Final = bytes(1 << 20)


class DiskFailed(Exception):
    """It could not be made; the message says why."""


class SmallDisk:
    """Mounted while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        """Raises DiskFailed."""
        self.folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={SIZE_MB}m", "streamgauge"]
        try:
            subprocess.run(
                ["mount", *options, str(self.folder)],
                check=True,
                capture_output=True,
                timeout=MOUNT_S,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DiskFailed(f"a small disk needs mount and root: {error}") from error
        return self

    def __exit__(self, *_exc: object) -> None:
        # Lazily: whoever still has a file open there is ended later.
        subprocess.run(["umount", "-l", str(self.folder)], check=False, timeout=MOUNT_S)

    def fill(self) -> None:
        """Leave no byte free; what is there stays."""
        with (
            (self.folder / _FILLER).open("ab", buffering=0) as filler,
            contextlib.suppress(OSError),
        ):
            while filler.write(_PIECE):
                pass

    def free(self) -> None:
        """Give back what `fill` took."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / _FILLER)
