"""Key stores for the tests: the encrypted file always, a SoftHSM2 token where it is installed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.security.file_store import FileStore
from engine.security.store import KeyStore
from engine.security.token_store import TokenStore
from tests.support.keys import PIN, TOKEN, soft_module, with_token


@pytest.fixture
def token(tmp_path: Path) -> Iterator[TokenStore]:
    """A fresh SoftHSM2 token of its own."""
    module = soft_module()
    if module is None:
        pytest.skip("SoftHSM2 is not installed: on Debian apt-get install softhsm2")
    with with_token(tmp_path / "token"):
        store = TokenStore(module, TOKEN, PIN)
        yield store
        store.close()


@pytest.fixture(params=["file", "token"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    """Each kind of store, empty."""
    if request.param == "token":
        yield request.getfixturevalue("token")
        return
    file_store = FileStore(tmp_path / "keys.bin", os.urandom(32))
    yield file_store
    file_store.close()
