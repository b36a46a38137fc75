"""A registry of models: one folder, one file a model named by its version, and which one decides.

``current.json`` names the champion, the ones before it (the last first, for a roll-back) and the
hash of the model that was configured when it was promoted: another configured model is a wish
newer than the promotion, and wins at the next start.
"""

import os
from pathlib import Path

import msgspec

from scoring.errors import ModelError
from scoring.registry import SUFFIX, Model, load_model, model_from_bytes

PAST_MAX = 16
_CURRENT = "current.json"


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hashes (hex) of the champion, of those before it, and of the configured model then."""

    champion: str
    past: tuple[str, ...] = ()
    configured: str = ""


class ModelFolder:
    """The folder ``path``; made when a model is first kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, data: bytes) -> Model:
        """Check the bytes of a model file and keep them; ModelError says what is wrong."""
        model = model_from_bytes(data)
        self.path.mkdir(mode=0o700, exist_ok=True)
        _write(self._file(model.sha256), data)
        return model

    def load(self, sha256: str) -> Model:
        """Return a kept model; ModelError names the file if it is gone, changed or another."""
        model = load_model(self._file(sha256))
        if model.sha256 != sha256:
            raise ModelError(f"model {self._file(sha256)}: is another than {sha256[:8]}")
        return model

    def versions(self) -> list[str]:
        """Return the hashes of the models kept, in order."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self.path.glob(f"*{SUFFIX}"))

    def find(self, version: str) -> str:
        """Return the one hash that starts with ``version`` (8 hex digits or more)."""
        found = [sha256 for sha256 in self.versions() if sha256.startswith(version)]
        if len(version) < 8 or len(found) != 1:
            raise ModelError(f"no model {version} is kept; models are {self._named()}")
        return found[0]

    def current(self) -> Current | None:
        """Return what was promoted last; None before the first promotion."""
        path = self.path / _CURRENT
        try:
            return msgspec.json.decode(path.read_bytes(), type=Current)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from error

    def set_current(self, current: Current) -> None:
        """Remember the champion; it stands after a restart."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        _write(self.path / _CURRENT, msgspec.json.encode(current))

    def champion(self, configured: Model | None) -> Model | None:
        """Return the model to start with: the one promoted, or ``configured`` if that is newer."""
        current = self.current()
        if current is None or configured is None or current.configured != configured.sha256:
            return configured
        return configured if current.champion == configured.sha256 else self.load(current.champion)

    def _file(self, sha256: str) -> Path:
        return self.path / f"{sha256}{SUFFIX}"

    def _named(self) -> str:
        return ", ".join(sha256[:8] for sha256 in self.versions()) or "none"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole: beside its place first, then renamed over it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error
