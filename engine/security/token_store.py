"""Keys in a hardware security module through PKCS#11: they never leave it.

Every key is an object that is sensitive and not extractable. MACs, PIN blocks, card checks and chip
cryptograms are made of block encryptions by the module's own mechanisms (CKM_DES3_ECB,
CKM_AES_ECB); keys of cards and sessions are derived inside it (CKM_DES3_ECB_ENCRYPT_DATA). Retail
MAC and CVV need single DES under the left half: that half is a second object, K1 three times, made
from the same import or derivation.

An object's label is ``de39``; its CKA_ID says what it is, as JSON. One session, one thread at a
time: a lock keeps callers apart.
"""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import AES_BLOCK, DES_BLOCK, cmac_subkeys, kcv_of, wipe
from engine.security.errors import (
    KeyBlockError,
    KeyMissingError,
    KeyStoreError,
    KeyUsageError,
    ModuleUnavailableError,
)
from engine.security.file_store import fresh_value
from engine.security.keys import KeyInfo, Op, Usage
from engine.security.store import ModuleCall, check_usage

_LABEL = "de39"
_WHOLE, _LEFT = "whole", "left"


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    """What CKA_ID holds."""

    info: KeyInfo
    part: str = _WHOLE


class TokenStore:
    """A session with a token; needs the library PyKCS11 and the module's shared object."""

    def __init__(self, module: Path, token: str, pin: str) -> None:
        self._lock = threading.RLock()
        self._counts = np.zeros(len(ModuleCall), np.int64)
        self._p11 = _library()
        try:
            self._lib = self._p11.PyKCS11Lib()
            self._lib.load(str(module))
            slot = self._slot(token)
            flags = self._p11.CKF_SERIAL_SESSION | self._p11.CKF_RW_SESSION
            self._session = self._lib.openSession(slot, flags)
            self._login(pin)
        except self._p11.PyKCS11Error as problem:
            self._lib.unload()
            raise ModuleUnavailableError(f"{module}: token {token!r}: {problem}") from None
        self._objects: dict[tuple[str, int], tuple[KeyInfo, dict[str, Any]]] = {}
        self._ciphers: dict[tuple[str, int], TokenCipher] = {}
        self._is_open = True
        self._find()

    def infos(self) -> list[KeyInfo]:
        """Return every key, by name and version."""
        return [self._objects[place][0] for place in sorted(self._objects)]

    def cipher(self, key: KeyInfo, usage: Usage) -> "TokenCipher":
        """Return the working key; ``KeyUsageError`` when it is not of ``usage``."""
        info, objects = self._kept(key)
        check_usage(info, usage)
        place = (key.name, key.version)
        if place not in self._ciphers:
            self._ciphers[place] = TokenCipher(
                self, objects[_WHOLE], objects.get(_LEFT), info.algorithm, usage.ops
            )
        return self._ciphers[place]

    def add(self, key: KeyInfo, value: bytearray) -> None:
        """Import a key; ``value`` is overwritten whatever happens."""
        try:
            if (key.name, key.version) in self._objects:
                raise KeyUsageError(f"{key.name} version {key.version} exists already")
            if key.exportable:
                raise KeyUsageError(f"{key.name}: a key of this store never leaves it")
            if len(value) != key.size_bytes or key.kcv != kcv_of(value, key.algorithm):
                raise KeyBlockError(f"{key.name}: the key check value does not fit the key")
            objects = {}
            if Op.LEFT in key.usage.ops:
                objects[_LEFT] = self._import(key, bytes(value[:DES_BLOCK]) * 3, _LEFT)
            objects[_WHOLE] = self._import(key, _whole(value, key.algorithm), _WHOLE)
        finally:
            wipe(value)
        self._objects[key.name, key.version] = (key, objects)

    def generate(self, key: KeyInfo) -> KeyInfo:
        """Make a random key and keep it; return it with its check value.

        A key whose left half is needed as an object of its own is made here and imported; any other
        is made by the module and has never been outside.
        """
        if Op.LEFT in key.usage.ops or (key.algorithm == "T" and key.size_bytes != 24):
            value = fresh_value(key.algorithm, key.size_bytes)
            made = msgspec.structs.replace(key, kcv=kcv_of(value, key.algorithm))
            self.add(made, value)
            return made
        p11 = self._p11
        mechanism = p11.CKM_DES3_KEY_GEN if key.algorithm == "T" else p11.CKM_AES_KEY_GEN
        extra = [] if key.algorithm == "T" else [(p11.CKA_VALUE_LEN, key.size_bytes)]
        template = [*self._template(key, key.algorithm, key.usage.ops, is_kept=True), *extra]
        handle = self._call("generateKey", template, p11.Mechanism(mechanism, None))
        made = msgspec.structs.replace(key, kcv=self._kcv(handle, key.algorithm))
        self._name(handle, made, _WHOLE)
        self._objects[key.name, key.version] = (made, {_WHOLE: handle})
        return made

    def change(self, key: KeyInfo) -> None:
        """Keep other times of a key that stands."""
        _, objects = self._kept(key)
        for part, handle in objects.items():
            self._name(handle, key, part)
        self._objects[key.name, key.version] = (key, objects)

    def remove(self, key: KeyInfo) -> None:
        """Destroy a key."""
        _, objects = self._kept(key)
        for handle in objects.values():
            self._call("destroyObject", handle)
        del self._objects[key.name, key.version]
        self._ciphers.pop((key.name, key.version), None)

    def reveal(self, key: KeyInfo) -> bytearray:
        """Refuse: keys of a token never leave it."""
        raise KeyUsageError(f"{key.name}: a key of this store never leaves it")

    def close(self) -> None:
        """End the session; a second call does nothing."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            self._ciphers.clear()
            self._objects.clear()
            try:
                self._session.closeSession()  # the last one to close logs out
                self._lib.unload()
            except self._p11.PyKCS11Error:
                return  # the module has gone: nothing is left to close

    def ecb(self, handle: Any, data: Any, algorithm: str, *, decrypt: bool = False) -> bytes:
        """Return whole blocks under an object."""
        p11 = self._p11
        mechanism = p11.Mechanism(p11.CKM_DES3_ECB if algorithm == "T" else p11.CKM_AES_ECB, None)
        name = "decrypt" if decrypt else "encrypt"
        return bytes(self._call(name, handle, bytes(data), mechanism))

    def derive(self, handle: Any, data: bytes) -> "TokenCipher":
        """Return the key that is the encryption of ``data``, made and kept inside the module."""
        p11 = self._p11

        def made(blocks: bytes) -> Any:
            mechanism = p11.KEY_DERIVATION_STRING_DATA_MechanismBase(
                blocks, p11.CKM_DES3_ECB_ENCRYPT_DATA
            )
            template = self._template(None, "T", Op.ENCRYPT | Op.DERIVE, is_kept=False)
            return self._call("deriveKey", handle, template, mechanism)

        left, right = data[:DES_BLOCK], data[DES_BLOCK:]
        whole, first = made(left + right + left), made(left * 3)
        return TokenCipher(self, whole, first, "T", Op.ENCRYPT | Op.LEFT | Op.DERIVE, owned=True)

    def destroy(self, handle: Any) -> None:
        """Destroy a derived key."""
        self._call("destroyObject", handle)

    def attributes(self, key: KeyInfo) -> list[dict[str, Any]]:
        """Return what the module says about each object of a key: sensitive, extractable, value."""
        p11 = self._p11
        names = ("CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_VALUE")
        _, objects = self._kept(key)
        return [
            dict(
                zip(
                    names, self._call("getAttributeValue", handle, _values(p11, names)), strict=True
                )
            )
            for handle in objects.values()
        ]

    def _call(self, name: str, *arguments: Any) -> Any:
        with self._lock:
            if not self._is_open:
                raise ModuleUnavailableError("the session with the security module has ended")
            started_ns = time.perf_counter_ns()
            counts = self._counts
            counts[ModuleCall.CALLS] += 1
            try:
                return getattr(self._session, name)(*arguments)
            except self._p11.PyKCS11Error as problem:
                counts[ModuleCall.FAILED] += 1
                raise ModuleUnavailableError(
                    f"the security module refused {name}: {problem}"
                ) from None
            finally:
                counts[ModuleCall.SPENT_NS] += time.perf_counter_ns() - started_ns

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Add to ``counts`` from now on."""
        self._counts = counts

    def _login(self, pin: str) -> None:
        try:
            self._session.login(pin)
        except self._p11.PyKCS11Error as problem:
            if problem.value != self._p11.CKR_USER_ALREADY_LOGGED_IN:
                raise

    def _slot(self, token: str) -> Any:
        for slot in self._lib.getSlotList(tokenPresent=True):
            if self._lib.getTokenInfo(slot).label.strip("\0 ") == token:
                return slot
        raise KeyStoreError(f"the security module has no token {token!r}")

    def _find(self) -> None:
        p11 = self._p11
        wanted = [(p11.CKA_CLASS, p11.CKO_SECRET_KEY), (p11.CKA_LABEL, _LABEL)]
        for handle in self._call("findObjects", wanted):
            raw = bytes(self._call("getAttributeValue", handle, [p11.CKA_ID])[0])
            try:
                said = msgspec.json.decode(raw, type=_Id)
            except msgspec.DecodeError:
                raise KeyStoreError("an object labelled de39 is not one of ours") from None
            place = (said.info.name, said.info.version)
            self._objects.setdefault(place, (said.info, {}))[1][said.part] = handle
        # A left half alone is an import that was cut: it is of no use to anyone.
        for place in [p for p, (_, objects) in self._objects.items() if _WHOLE not in objects]:
            for handle in self._objects.pop(place)[1].values():
                self._call("destroyObject", handle)

    def _import(self, key: KeyInfo, value: bytes, part: str) -> Any:
        p11 = self._p11
        ops = Op.ENCRYPT if part == _LEFT else key.usage.ops
        template = self._template(key, key.algorithm, ops, is_kept=True)
        said = msgspec.json.encode(_Id(key, part))
        return self._call("createObject", [*template, (p11.CKA_ID, said), (p11.CKA_VALUE, value)])

    def _name(self, handle: Any, key: KeyInfo, part: str) -> None:
        said = msgspec.json.encode(_Id(key, part))
        self._call("setAttributeValue", handle, [(self._p11.CKA_ID, said)])

    def _template(
        self, key: KeyInfo | None, algorithm: str, ops: Op, *, is_kept: bool
    ) -> list[Any]:
        p11 = self._p11
        kind = p11.CKK_DES3 if algorithm == "T" else p11.CKK_AES
        return [
            (p11.CKA_CLASS, p11.CKO_SECRET_KEY),
            (p11.CKA_KEY_TYPE, kind),
            (p11.CKA_LABEL, _LABEL if key is not None else "de39 session"),
            (p11.CKA_TOKEN, is_kept),
            (p11.CKA_PRIVATE, True),
            (p11.CKA_SENSITIVE, True),
            (p11.CKA_EXTRACTABLE, False),
            (p11.CKA_ENCRYPT, True),
            (p11.CKA_DECRYPT, Op.DECRYPT in ops),
            (p11.CKA_DERIVE, Op.DERIVE in ops),
        ]

    def _kcv(self, handle: Any, algorithm: str) -> str:
        if algorithm == "T":
            return self.ecb(handle, bytes(DES_BLOCK), "T")[:3].hex().upper()
        subkey, _ = cmac_subkeys(self.ecb(handle, bytes(AES_BLOCK), "A"))
        return self.ecb(handle, subkey, "A")[:5].hex().upper()

    def _kept(self, key: KeyInfo) -> tuple[KeyInfo, dict[str, Any]]:
        try:
            return self._objects[key.name, key.version]
        except KeyError:
            raise KeyMissingError(f"no key {key.name!r} version {key.version}") from None


class TokenCipher:
    """A key inside the module, as ``engine.security.ciphers.Cipher``."""

    def __init__(
        self,
        store: TokenStore,
        whole: Any,
        left: Any,
        algorithm: str,
        ops: Op,
        *,
        owned: bool = False,
    ) -> None:
        self.block_bytes = DES_BLOCK if algorithm == "T" else AES_BLOCK
        self._store = store
        self._whole = whole
        self._left = left
        self._algorithm = algorithm
        self._ops = ops
        self._owned = owned

    def encrypt(self, data: Any) -> bytes:
        """Return whole blocks, encrypted one by one."""
        self._need(Op.ENCRYPT)
        return self._store.ecb(self._whole, data, self._algorithm)

    def decrypt(self, data: Any) -> bytes:
        """Return whole blocks, decrypted one by one."""
        self._need(Op.DECRYPT)
        return self._store.ecb(self._whole, data, self._algorithm, decrypt=True)

    def encrypt_left(self, data: Any) -> bytes:
        """Return whole blocks under single DES with the left half of the key."""
        self._need(Op.LEFT)
        return self._store.ecb(self._left, data, "T")

    def round_keys(self) -> None:
        """Round keys never leave the module: chains go block by block."""
        self._need(Op.ENCRYPT)

    def derive(self, data: bytes) -> "TokenCipher":
        """Return the key that is the encryption of ``data``."""
        self._need(Op.DERIVE)
        return self._store.derive(self._whole, data)

    def variant(self, mask: int) -> "TokenCipher":
        """Refuse: what can be made of a key by mixing, a module does not make."""
        del mask
        raise KeyUsageError("a security module makes no variants: ask for a key block B or D")

    def close(self) -> None:
        """Destroy a derived key; others stay."""
        if self._owned:
            self._owned = False
            self._store.destroy(self._whole)
            self._store.destroy(self._left)

    def _need(self, op: Op) -> None:
        if op not in self._ops:
            raise KeyUsageError(f"the usage of this key does not allow to {op.name}".lower())


def _whole(value: bytearray, algorithm: str) -> bytes:
    if algorithm == "T" and len(value) == 2 * DES_BLOCK:
        return bytes(value + value[:DES_BLOCK])
    return bytes(value)


def _values(p11: Any, names: tuple[str, ...]) -> list[int]:
    return [getattr(p11, name) for name in names]


def _library() -> Any:
    try:
        import PyKCS11  # noqa: PLC0415 - a build without it serves without a module
    except ImportError:
        raise ModuleUnavailableError("the package PyKCS11 is not installed") from None
    return PyKCS11
