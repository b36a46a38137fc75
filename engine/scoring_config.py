"""The section ``[scoring]`` of the configuration: the fraud scorer, and what decides without it."""

from typing import Annotated, Literal

from msgspec import Meta

from engine.authorization_config import SHIPPED
from engine.link_config import Section


class Scoring(Section, frozen=True):
    """The fraud scorer."""

    model: Annotated[
        str, Meta(description='path of a model; "default" = the shipped one; "none" = no scorer')
    ] = SHIPPED
    required: Annotated[
        bool, Meta(description="do not start without the model; false = let the stand-in decide")
    ] = True
    stand_in: Annotated[
        Literal["rules", "decline", "floor"],
        Meta(description="without a score: rules and limits only, nothing, or up to floor_minor"),
    ] = "rules"
    stand_in_after_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="decide without a score what waited longer; 0 = no")
    ] = 0
    floor_minor: Annotated[int, Meta(ge=0, le=10**15, description="most that floor approves")] = 0
    slow_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="scoring of a batch that takes longer three times in a row hands over to "
            "the stand-in; 0 = never",
        ),
    ] = 500
    retry_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="a scorer that failed or was slow is tried again after"),
    ] = 30
    reasons_bytes_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 50,
            description="most that reasons.db holds; the oldest payments go first; 0 = no bound",
        ),
    ] = 4 << 30
