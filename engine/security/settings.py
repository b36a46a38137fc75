"""What an operator says about keys: the store, the profiles of links, the issuer's card keys.

The types only; ``engine.config`` reads, checks and shows them with the others. Keys are named here
and never written here.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine.security.keys import NAME_BYTES_MAX

_BIN_DIGITS_MAX, _TABLE_DIGITS = 8, 16
KeyName = Annotated[str, Meta(max_length=NAME_BYTES_MAX)]


class Security(Struct, frozen=True, forbid_unknown_fields=True):
    """Where keys are kept, and what holds for all cards."""

    store: Annotated[
        Literal["none", "file", "pkcs11"],
        Meta(description="none = no cryptography on links; file = encrypted file, for development"),
    ] = "none"
    file: Annotated[
        str, Meta(description="store = file: the key file; relative to the data folder")
    ] = "keys.bin"
    master_key_file: Annotated[
        str,
        Meta(
            description="store = file: 64 hex digits, mode 0600, relative to the data folder;"
            " DE39_MASTER_KEY goes before it"
        ),
    ] = "keys.master"
    module: Annotated[
        str, Meta(description="store = pkcs11: the shared object of the security module")
    ] = ""
    token: Annotated[str, Meta(description="store = pkcs11: label of the token")] = ""
    pin_file: Annotated[str, Meta(description="store = pkcs11: the token's PIN, mode 0600")] = ""
    pin_tries_max: Annotated[
        int, Meta(ge=1, le=15, description="wrong PINs in a row before a card's PIN is blocked")
    ] = 3


class SecurityProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """What a link does with keys; ``[[listen]] security`` names one."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    mac_key: Annotated[
        KeyName,
        Meta(description="key of DE64 and DE128; its usage says the algorithm; empty = none"),
    ] = ""
    mac_padding: Annotated[
        Literal["zeros", "mark"], Meta(description="ISO 9797-1 padding 1 or 2, not for CMAC")
    ] = "zeros"
    mac_bytes: Annotated[
        int, Meta(ge=4, le=8, description="leftmost bytes that count; the others are zeros")
    ] = 8
    mac_classes: Annotated[
        tuple[str, ...],
        Meta(description="second digit of the message types that must carry a MAC"),
    ] = ("1", "2", "4")
    pin_key: Annotated[KeyName, Meta(description="key of PIN blocks; empty = not looked at")] = ""
    pin_format: Annotated[Literal[0, 1, 3, 4], Meta(description="PIN block format")] = 0
    kek: Annotated[
        KeyName, Meta(description="key that wraps keys sent by 0800/0820; empty = none are taken")
    ] = ""
    key_field: Annotated[
        Literal[48, 53, 60, 62, 63, 96, 120, 123, 125],
        Meta(description="field that carries the key of a key change"),
    ] = 48
    key_role: Annotated[
        Literal["mac", "pin"], Meta(description="which key a key change replaces")
    ] = "mac"
    grace_s: Annotated[
        int, Meta(ge=0, le=7 * 86_400, description="how long the old key is taken after a change")
    ] = 600


class Issuer(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of the issuer's own cards, by the first digits of their numbers."""

    bins: Annotated[tuple[str, ...], Meta(min_length=1, description="first digits, 1 to 8")]
    pvk: Annotated[
        KeyName, Meta(description="PIN verification key; its usage says PVV or IBM 3624")
    ] = ""
    pin_table: Annotated[str, Meta(description="IBM 3624: 16 digits, the decimalisation table")] = (
        "0123456789012345"
    )
    cvk: Annotated[KeyName, Meta(description="key of CVV, CVV2 and iCVV")] = ""
    cvv_skip_count: Annotated[
        int, Meta(ge=0, le=13, description="track 2: digits between service code and CVV")
    ] = 5
    cvv2_field: Annotated[
        Literal[0, 44, 46, 47, 48, 60, 61, 62, 63, 120, 121, 122, 123, 124, 125, 126],
        Meta(description="field that carries a CVV2; 0 = none"),
    ] = 0
    cvv2_mark: Annotated[str, Meta(description="text before its three digits")] = ""
    cvv2_date: Annotated[
        Literal["YYMM", "MMYY"], Meta(description="order of the expiry in a CVV2")
    ] = "YYMM"
    imk_ac: Annotated[KeyName, Meta(description="master key of chip cryptograms")] = ""
    scheme: Annotated[
        Literal["visa", "mchip"], Meta(description="how cards make their cryptograms")
    ] = "visa"


def faults_of(
    security: Security,
    profiles: Sequence[SecurityProfile],
    issuers: Sequence[Issuer],
    used: Sequence[str],
) -> Iterator[tuple[str, str]]:
    """Yield (key, what would be right); ``used`` are the profiles that the listeners name."""
    names = [profile.name for profile in profiles]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"security_profile[{i}].name", f"{name} is taken by another profile"
    for i, name in enumerate(used):
        if name and name not in names:
            known = ", ".join(names) or "none"
            yield f"listen[{i}].security", f"no such security_profile; known are: {known}"
        if name and security.store == "none":
            yield "security.store", 'expected "file" or "pkcs11", since a listener has a profile'
    for i, issuer in enumerate(issuers):
        for k, text in enumerate(issuer.bins):
            if not (text.isascii() and text.isdigit() and len(text) <= _BIN_DIGITS_MAX):
                yield f"issuer[{i}].bins[{k}]", f"expected 1 to {_BIN_DIGITS_MAX} digits"
        table = issuer.pin_table
        if not (table.isascii() and table.isdigit() and len(table) == _TABLE_DIGITS):
            yield f"issuer[{i}].pin_table", f"expected {_TABLE_DIGITS} digits"
    for i, profile in enumerate(profiles):
        if any(len(text) != 1 or text not in "0123456789" for text in profile.mac_classes):
            yield f"security_profile[{i}].mac_classes", 'expected digits, such as ["1", "2", "4"]'
