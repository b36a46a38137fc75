"""What the published stream lacks: category, country, e-commerce or store, entry mode.

Every value is a hash of the terminal's or customer's number (and, for the entry mode, of the
second), never of the fraud label, so training cannot read the answer out of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HOME_COUNTRY = 840
CURRENCY = 840  # US dollar, two decimals

_ABROAD = np.array([124, 826, 276, 250, 484, 392, 372, 528], dtype=np.uint16)
_ONLINE_PERCENT = 12
_STORE_ABROAD = 1_000  # one store in this many is abroad: the traveller's hotel
_ONLINE_ABROAD = 5

# Merchant categories (ISO 18245) and how many in a hundred terminals have them.
_STORE_MCC = {
    5411: 26, 5812: 17, 5814: 14, 5541: 12, 5912: 8, 5311: 6, 5651: 5, 5200: 4, 5732: 3, 7011: 3,
    5999: 2,
}  # fmt: skip
_ONLINE_MCC = {
    5399: 24, 5818: 18, 5732: 14, 4899: 12, 5651: 12, 5816: 8, 4511: 6, 4722: 4, 7995: 2,
}  # fmt: skip

# DE22 and DE25 with their weights in ten thousand.
_STORE_ENTRY = ((51, 0, 4_530), (71, 0, 5_150), (901, 0, 220), (801, 0, 20), (11, 0, 80))
_ONLINE_ENTRY = ((812, 59, 6_900), (102, 8, 2_600), (12, 8, 500))

_TERMINAL_SALT = 0x7E
_CUSTOMER_SALT = 0xC5


def hash_ids(ids: NDArray[Any], salt: int) -> NDArray[np.uint64]:
    """Return 64 mixed bits for each number (splitmix64 finalizer over number and salt)."""
    value = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    value = value + np.uint64(salt * 0x632BE59BD9B4E019 & 0xFFFFFFFFFFFFFFFF)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def is_ecommerce(terminal: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each terminal number whether it is an e-commerce one."""
    return hash_ids(terminal, _TERMINAL_SALT) % np.uint64(100) < np.uint64(_ONLINE_PERCENT)


def merchant_category(terminal: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the merchant category code of each terminal number."""
    draw = (hash_ids(terminal, _TERMINAL_SALT + 1) % np.uint64(100)).astype(np.int64)
    store = np.repeat(list(_STORE_MCC), list(_STORE_MCC.values())).astype(np.uint16)
    online = np.repeat(list(_ONLINE_MCC), list(_ONLINE_MCC.values())).astype(np.uint16)
    return np.where(is_ecommerce(terminal), online[draw], store[draw])


def terminal_country(terminal: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the ISO 3166 number of each terminal's country: nearly all stores are at home."""
    bits = hash_ids(terminal, _TERMINAL_SALT + 2)
    one_in = np.where(is_ecommerce(terminal), _ONLINE_ABROAD, _STORE_ABROAD).astype(np.uint64)
    foreign = _ABROAD[((bits >> np.uint64(40)) % np.uint64(_ABROAD.size)).astype(np.int64)]
    return np.where(bits % one_in == 0, foreign, np.uint16(HOME_COUNTRY))


def home_country(customer: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the ISO 3166 number of each customer's home: one in fifty lives next door."""
    bits = hash_ids(customer, _CUSTOMER_SALT)
    return np.where(bits % np.uint64(50) == 0, np.uint16(124), np.uint16(HOME_COUNTRY))


def entry_modes(
    customer: NDArray[Any], terminal: NDArray[Any], t_seconds: NDArray[Any]
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return DE22 (u16) and DE25 (u8) of each payment."""
    bits = hash_ids(customer, _CUSTOMER_SALT + 1) ^ hash_ids(terminal, _TERMINAL_SALT + 3)
    draw = (hash_ids(bits ^ t_seconds.astype(np.uint64), 1) % np.uint64(10_000)).astype(np.int64)
    online = is_ecommerce(terminal)
    choices = np.array(_STORE_ENTRY + _ONLINE_ENTRY, dtype=np.int64)
    stores = len(_STORE_ENTRY)
    in_store = np.searchsorted(np.cumsum(choices[:stores, 2]), draw, side="right")
    on_line = stores + np.searchsorted(np.cumsum(choices[stores:, 2]), draw, side="right")
    choice = np.where(online, on_line, in_store)
    return choices[choice, 0].astype(np.uint16), choices[choice, 1].astype(np.uint8)
