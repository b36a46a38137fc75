"""What can go wrong with keys; the texts name keys and usages, never a key, PIN or cryptogram."""

from engine.errors import Exit, OperatingError


class SecurityError(OperatingError):
    """A key or key store cannot be used as asked."""

    exit_code = Exit.PROBLEM_FOUND


class KeyUsageError(SecurityError):
    """A key was asked to do what its usage does not allow."""


class KeyMissingError(SecurityError):
    """No valid key of this name."""


class KeyBlockError(SecurityError):
    """A key block or key cryptogram that is not right; nothing of it was taken."""


class KeyStoreError(SecurityError):
    """The store cannot be opened, read or written."""

    exit_code = Exit.IO


class KeyStoreBusyError(SecurityError):
    """Another process has the store."""

    exit_code = Exit.TEMPORARY


class KeyStoreModeError(SecurityError):
    """A file of the store is open to others."""

    exit_code = Exit.PERMISSION


class ModuleUnavailableError(SecurityError):
    """The hardware security module or its library does not answer."""

    exit_code = Exit.UNAVAILABLE
