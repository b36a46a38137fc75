"""The section ``[authorization]`` of the configuration: how long holds live and repeats count."""

from typing import Annotated

from msgspec import Meta

from engine.limits import HOLD_LIFE_H_MAX
from engine.link_config import Seconds, Section

SHIPPED = "default"


class Authorization(Section, frozen=True):
    """Times of an authorization."""

    terms: Annotated[
        str,
        Meta(
            description="how long holds live and how far a clearing may exceed one, by merchant "
            'category: "default" (`engine/terms.toml`) or a path'
        ),
    ] = SHIPPED
    hold_life_s: Annotated[
        int,
        Meta(
            ge=0,
            le=HOLD_LIFE_H_MAX * 3600,
            description="an approved amount that nobody claims is given back after it, "
            "counted in whole hours and rounded up; 0 = as `terms` says",
        ),
    ] = 0
    duplicate_window_s: Annotated[
        Seconds, Meta(description="a repeat within it gets the first answer again")
    ] = 86_400
