"""The kernels a caller of scoring needs, in the order in which a batch meets them."""

from scoring.card_kernels import card_pass, card_unwind, card_update
from scoring.explain_kernels import contributions, explain_rows, feature_checks
from scoring.forest_kernels import score_bp, score_margins, score_margins_missing
from scoring.shared_kernels import merchant_label, shared_pass
from scoring.stream_kernels import features_of_stream

__all__ = [
    "card_pass",
    "card_unwind",
    "card_update",
    "contributions",
    "explain_rows",
    "feature_checks",
    "features_of_stream",
    "merchant_label",
    "score_bp",
    "score_margins",
    "score_margins_missing",
    "shared_pass",
]
