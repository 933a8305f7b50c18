"""The exceptions a user may see: what can be said in one line."""

import zipfile
import zlib


class UserError(Exception):
    """Bad input or a missing prerequisite. The front doors print it as one line and exit with code 2."""


class Busy(UserError):
    """Another living process does this very work; a sweep leaves it to that process.

    Attributes:
        job: whose it is, where it is one of a sweep: see `run.eval_record`; else empty.
    """

    def __init__(self, message: str, job: str = "") -> None:
        super().__init__(message)
        self.job = job


BUSY = 75  # with which one of several processes of a run exits after `Busy`; the command itself exits with 2


# What NumPy and zipfile were seen to raise on flipped or cut .npy and .npz files; MemoryError by what a header claims.
DAMAGED_ARRAYS = (
    *(OSError, ValueError, EOFError, LookupError, RuntimeError, TypeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
