"""The feature row: order, unit and meaning of every number the model and the rules read.

FEATURES are the model's inputs, in this order, float32. SHARED are counters of merchant and BIN,
taken in arrival order before any account is read; EXTRAS are facts of the card that rules read and
the model does not. The schema hash travels with a model: another order is another model.
"""

import hashlib
from typing import NamedTuple


class Feature(NamedTuple):
    """One column: its name, its unit and where it comes from."""

    name: str
    unit: str
    meaning: str


# An attempt is old when a fraud would have been reported by now: six and a half to seven days.
_OLD = (
    Feature("merchant_old_1d", "attempts", "decayed attempts that are a week old, tau 1 d"),
    Feature("merchant_old_84h", "attempts", "decayed attempts that are a week old, tau 84 h"),
    Feature("merchant_old_15d", "attempts", "decayed attempts that are a week old, tau 15 d"),
    Feature("merchant_fraud_1d", "0-1", "confirmed frauds / attempts a week old, tau 1 d"),
    Feature("merchant_fraud_84h", "0-1", "confirmed frauds / attempts a week old, tau 84 h"),
    Feature("merchant_fraud_15d", "0-1", "confirmed frauds / attempts a week old, tau 15 d"),
)
FEATURES = (
    Feature("amount", "major units", "amount of this payment"),
    Feature("ln_amount", "ln(major units + 1)", "logarithm of the amount"),
    Feature("hour", "0-23", "hour of the day, UTC"),
    Feature("weekday", "0-6", "day of the week, UTC, Monday = 0"),
    Feature("night", "0/1", "hour 0 to 6"),
    Feature("secs_since_last", "s", "since the card's last approved payment; -1 = none"),
    Feature("amount_over_mean", "ratio", "amount / mean approved amount (15 d); 1 = no history"),
    Feature("z_amount", "sd", "z-score of ln amount against the card's decayed mean and variance"),
    Feature("count_10m", "payments", "decayed approved count, tau 10 min, this one included"),
    Feature("count_1h", "payments", "decayed approved count, tau 1 h, this one included"),
    Feature("count_12h", "payments", "decayed approved count, tau 12 h, this one included"),
    Feature("count_15d", "payments", "decayed approved count, tau 15 d, this one included"),
    Feature("mean_10m", "major units", "decayed mean amount, tau 10 min, this one included"),
    Feature("mean_1h", "major units", "decayed mean amount, tau 1 h, this one included"),
    Feature("mean_12h", "major units", "decayed mean amount, tau 12 h, this one included"),
    Feature("mean_15d", "major units", "decayed mean amount, tau 15 d, this one included"),
    Feature("declines_1h", "attempts", "decayed declines of the card, tau 1 h"),
    Feature("small_1h", "attempts", "decayed attempts under 2.00, tau 1 h, this one included"),
    Feature("distinct_merchants", "merchants", "approved today and yesterday, this one too"),
    Feature("distinct_countries", "countries", "approved this and last week, this one too"),
    Feature("cnp", "0/1", "card not present"),
    Feature("cnp_share", "0-1", "card-not-present share of approved, tau 7 d"),
    Feature("entry", "scoring.payment.Entry", "how the card was read"),
    Feature("country_change", "0/1", "another country than the last approved payment"),
    Feature("km", "km", "least way from the last card-present country; 0 = near or unknown"),
    Feature("kmh", "km/h", "speed that this distance would have needed"),
    Feature("merchant_n_15d", "attempts", "decayed attempts at the merchant, tau 15 d"),
    Feature("merchant_risk_1d", "0-1", "confirmed frauds / attempts at the merchant, tau 1 d"),
    Feature("merchant_risk_15d", "0-1", "confirmed frauds / attempts at the merchant, tau 15 d"),
    Feature("mcc_risk", "0-1", "table by merchant category, learnt in training"),
    Feature("amount_most", "major units", "largest approved amount before, fading with tau 15 d"),
    Feature("large_84h", "payments", "decayed approved over 3 times the card's mean, tau 84 h"),
    *_OLD,
)
SHARED = (
    Feature("merchant_n_15d", "attempts", "decayed attempts at the merchant, tau 15 d"),
    Feature("merchant_risk_1d", "0-1", "confirmed frauds / attempts, tau 1 d"),
    Feature("merchant_risk_15d", "0-1", "confirmed frauds / attempts, tau 15 d"),
    *_OLD,
    Feature("merchant_attempts_10m", "attempts", "decayed, tau 10 min, this one included"),
    Feature("merchant_attempts_1d", "attempts", "decayed, tau 1 d, this one included"),
    Feature("merchant_small_share", "0-1", "share of attempts under 2.00, tau 10 min"),
    Feature(
        "merchant_unusable_share", "0-1", "share of attempts without a usable card, tau 10 min"
    ),
    Feature("merchant_cards", "cards", "distinct cards in the current 10 minutes"),
    Feature("bin_attempts_10m", "attempts", "decayed, tau 10 min, this one included"),
    Feature("bin_decline_share", "0-1", "share of attempts without a usable card, tau 10 min"),
)
EXTRAS = (
    Feature("attempts_24h", "attempts", "exact, of the card in 24 clock hours, this one included"),
    Feature("new_merchant", "0/1", "no approved payment of the card there today or yesterday"),
)
assert len(FEATURES) == 38
SHARED_FEATURES = 9  # the first columns of SHARED are features too
assert {f.name for f in SHARED[:SHARED_FEATURES]} < {f.name for f in FEATURES}
assert not {f.name for f in SHARED[SHARED_FEATURES:]} & {f.name for f in FEATURES}


def schema_hash() -> str:
    """Return the SHA-256 (hex) over names and units of FEATURES in order."""
    text = "\n".join(f"{feature.name} {feature.unit}" for feature in FEATURES)
    return hashlib.sha256(text.encode()).hexdigest()
