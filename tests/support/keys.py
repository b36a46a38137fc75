"""Keys for tests: a SoftHSM2 token in a folder of its own, and keys of known value in any store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.security.ciphers import Cipher, kcv_of
from engine.security.keys import KeyInfo, Usage
from engine.security.store import KeyStore, draft

TOKEN, PIN = "de39-test", "1234"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def soft_module() -> Path | None:
    """Return the shared object of SoftHSM2; None where it is not installed."""
    places = (os.environ.get("DE39_TEST_PKCS11", ""), *_MODULES)
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


@contextmanager
def with_token(folder: Path) -> Iterator[None]:
    """Make a token in ``folder`` and let this process see it alone."""
    import PyKCS11

    (folder / "objects").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'objects'}\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(config)
    try:
        lib = PyKCS11.PyKCS11Lib()
        lib.load(str(soft_module()))
        lib.initToken(lib.getSlotList(tokenPresent=False)[0], "so-pin", TOKEN)
        slots = lib.getSlotList(tokenPresent=True)
        slot = next(s for s in slots if lib.getTokenInfo(s).label.strip("\0 ") == TOKEN)
        session = lib.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        session.login("so-pin", PyKCS11.CKU_SO)
        session.initPin(PIN)
        session.logout()
        session.closeSession()
        lib.unload()
        yield
    finally:
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before


def put(store: KeyStore, name: str, usage: Usage, value: bytes, algorithm: str = "T") -> KeyInfo:
    """Keep a key of known value as the next version of ``name``."""
    made = draft(store, name, usage, algorithm, len(value))
    made = msgspec.structs.replace(made, kcv=kcv_of(bytearray(value), algorithm))
    store.add(made, bytearray(value))
    return made


def working(store: KeyStore, name: str, usage: Usage, value: bytes, algorithm: str = "T") -> Cipher:
    """Keep a key of known value; return it, ready to work."""
    return store.cipher(put(store, name, usage, value, algorithm), usage)
