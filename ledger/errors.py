"""What can go wrong with the ledger, each error with one line that says what to do.

A decline is never an exception; these are operating errors. ``StorageError`` ends the writer: after
a failed write or sync nobody knows what the disk holds, so nothing is acknowledged any more.
"""


class LedgerError(Exception):
    """Base of every error of the ledger; its text is one line for an operator."""


class StorageError(LedgerError):
    """The disk refused or cut short a read, write or sync; the writer must stop."""


class StaleWriterError(StorageError):
    """Another writer moved the journal on; this one is no longer its owner."""


class UnknownOutcomeError(StorageError):
    """The store cannot say whether a batch was kept; it must be neither acknowledged nor redone."""


class StoreUnavailable(LedgerError):  # noqa: N818 - reads as the fact it states
    """The database of the ledger cannot be reached, or has no room for us, now."""


class StoreSettingsError(LedgerError):
    """The database would lose what it acknowledges: a setting is not the one that is needed."""


class LostRecordsError(StorageError):
    """The database holds less than was acknowledged; nobody may write on until it is mended."""


class StorageInUse(LedgerError):  # noqa: N818 - reads as the fact it states
    """Another process holds the data folder."""


class NoJournalError(LedgerError):
    """The folder holds no journal."""


class ForeignJournalError(LedgerError):
    """The bytes belong to another cluster or partition."""


class FormatVersionError(LedgerError):
    """The bytes were written by a newer program than this one."""


class RotError(LedgerError):
    """Stored bytes changed after they were written, or some are missing.

    Parameters
    ----------
    reason
        What is wrong, one line.
    batch_no
        The first batch that cannot be read; 0 = not known.
    segment
        Name of the file.
    offset
        Byte of the file at which the batch or header starts.
    """

    def __init__(self, reason: str, *, batch_no: int, segment: str, offset: int) -> None:
        self.batch_no = batch_no
        self.segment = segment
        self.offset = offset
        super().__init__(
            f"journal damaged at batch {batch_no} ({segment}, byte {offset}): {reason}; "
            "restore this segment from a copy, nothing was changed"
        )


class CommitQueueFull(LedgerError):  # noqa: N818 - reads as the fact it states
    """A job was handed in past the bound of the commit queue; ask ``has_room`` first."""
