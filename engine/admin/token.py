"""The operators' token: from the environment, else a file of mode 0600 in the data folder."""

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from engine.errors import ConfigError, PermissionRefused, StorageFailure

TOKEN_VARIABLE = "DE39_ADMIN_TOKEN"  # noqa: S105  (the name of the variable)
TOKEN_FILE = "admin.token"  # noqa: S105  (the name of the file)
TOKEN_LENGTH_MIN = 16
TOKEN_LENGTH_MAX = 512


def load_token(data: Path, environment: Mapping[str, str]) -> str:
    """Return the token; make and keep one (mode 0600) when neither variable nor file has any.

    Raises
    ------
    ConfigError
        When the token is too short, too long or not printable.
    PermissionRefused
        When the file is open to others, or closed to us.
    StorageFailure
        When a made token cannot be kept.
    """
    token = find_token(data, environment)
    if token is not None:
        return token
    made = secrets.token_urlsafe(32)
    path = data / TOKEN_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageFailure(f"{path}: cannot keep the admin token: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    return made


def find_token(data: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the token of the variable, else of the file in ``data``; None without both."""
    given = environment.get(TOKEN_VARIABLE)
    if given is not None:
        return _checked(given, TOKEN_VARIABLE)
    if data is None:
        return None
    path = data / TOKEN_FILE
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(TOKEN_LENGTH_MAX + 2).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PermissionRefused(f"{path}: cannot read the admin token: {error.strerror}") from error
    if mode & 0o077:
        raise PermissionRefused(f"{path}: mode is {mode:04o}, others can read it; it must be 0600")
    return _checked(text, str(path))


def is_same_token(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _checked(token: str, where: str) -> str:
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(f"{where}: the admin token must be printable ASCII without blanks")
    if not TOKEN_LENGTH_MIN <= len(token) <= TOKEN_LENGTH_MAX:
        raise ConfigError(
            f"{where}: the admin token must be {TOKEN_LENGTH_MIN} to {TOKEN_LENGTH_MAX} characters"
        )
    return token
