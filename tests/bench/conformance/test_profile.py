"""Profiles of a conformance run: shipped ones by name, and clear errors."""

from pathlib import Path

import pytest

from bench.conformance.profile import load_profile
from engine.errors import ConfigError


def test_the_shipped_profile_loads_by_its_name() -> None:
    """``--profile de39`` needs no path."""
    profile = load_profile(Path("de39"))
    assert (profile.dialect, profile.host.answers_in_order) == ("iso87-bin", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[cards", ["not TOML"]),
        ("name = 'x'", ["cards"]),
        ("[cards]\nunknown = '1'", ["cards"]),
        ("[host]\nserve = []", ["host", "serve"]),
    ],
)
def test_a_bad_profile_is_one_line_with_file_and_key(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    """No value is repeated: it may be a card number."""
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    told = str(caught.value)
    assert "\n" not in told
    assert all(word in told for word in ["mine.toml", *words]), told
