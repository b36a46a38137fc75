"""Every behaviour of an authorization host has a test, and the page that says which is current."""

from tests import behaviours

# Numbers whose tests are not written yet; the list may only shrink.
STILL_MISSING: set[int] = set()


def test_every_behaviour_has_a_test() -> None:
    """Each of the 64 numbers is named by a test, but for those on the list, and no others."""
    missing = {number for number, files in behaviours.proofs().items() if not files}
    assert missing == STILL_MISSING
    assert sorted(behaviours.TITLES) == list(range(1, 65))


def test_the_page_is_current() -> None:
    """docs/behaviours.md is what the tests say; ``python -m tests.behaviours`` writes it."""
    assert behaviours.PAGE.read_text(encoding="utf-8") == behaviours.page()
