"""What a feature says when it raises a score: one text each, for operators and customer service.

Not for credit notices; those have their own texts (``scoring.credit_features``).
"""

from scoring.features import FEATURES

TEXTS = {
    "amount": "The amount is high",
    "ln_amount": "The amount is unusual",
    "hour": "The time of day is unusual",
    "weekday": "The day of the week is unusual",
    "night": "The payment is made at night",
    "secs_since_last": "The time since the card's last payment is unusual",
    "amount_over_mean": "The amount is high for this card",
    "z_amount": "The amount lies outside this card's habit",
    "count_10m": "The card pays often within minutes",
    "count_1h": "The card pays often within the hour",
    "count_12h": "The card pays often today",
    "count_15d": "The number of payments in two weeks is unusual",
    "mean_10m": "Payments of the last minutes are high",
    "mean_1h": "Payments of the last hour are high",
    "mean_12h": "Payments of today are high",
    "mean_15d": "Payments of the last two weeks are high",
    "declines_1h": "The card was declined within the hour",
    "small_1h": "There were very small payments within the hour, as when a card is tested",
    "distinct_merchants": "The card pays at many merchants",
    "distinct_countries": "The card pays in many countries",
    "cnp": "The card is not present",
    "cnp_share": "The share of payments without the card is unusual",
    "entry": "The way the card was read is unusual",
    "country_change": "The country is another than last time",
    "km": "The place is far from the last one",
    "kmh": "The place cannot be reached in the time since the last payment",
    "merchant_n_15d": "The merchant's traffic is unusual",
    "merchant_risk_1d": "Frauds at this merchant were reported since yesterday",
    "merchant_risk_15d": "Frauds at this merchant were reported lately",
    "mcc_risk": "The merchant's category sees more fraud",
    "amount_most": "The card's largest payment lately is unusual",
    "large_84h": "The card made unusually large payments in the last days",
    "merchant_old_1d": "The merchant's traffic of a week ago is unusual",
    "merchant_old_84h": "The merchant's traffic of last week is unusual",
    "merchant_old_15d": "The merchant's traffic of the last weeks is unusual",
    "merchant_fraud_1d": "Reported frauds are many for this merchant's traffic of a day",
    "merchant_fraud_84h": "Reported frauds are many for this merchant's traffic of days",
    "merchant_fraud_15d": "Reported frauds are many for this merchant's traffic of weeks",
}
assert tuple(TEXTS) == tuple(feature.name for feature in FEATURES)
