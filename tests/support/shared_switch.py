"""One switch with several listeners for all tests that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.process import Switch

# In the order of BIN, HEX, SIGN_ON, TIGHT in tests.system.process.
_LISTENERS = (
    'dialect = "iso87-bin"',
    'dialect = "iso87-hex"',
    'dialect = "iso87-bin"\nrequire_sign_on = true',
    """dialect = "iso87-bin"
frame_bytes_max = 300
zero_length_max = 5
echo_zero_length = true
frame_timeout_s = 1
max_connections = 3""",
)
_RULES = """
rule S01 pre decline(59) "test of a decline" when mcc == 7995
rule S02 pre step_up "test of a step up" when mcc == 7996
"""


@pytest.fixture(scope="session")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Run the switch that most tests share."""
    folder: Path = tmp_path_factory.mktemp("switch")
    (folder / "system.rules").write_text(_RULES, encoding="utf-8")
    more = '[scoring]\nmodel = "none"\n[rules]\nfile = "system.rules"\n'
    with Switch(folder, _LISTENERS, more) as running:
        yield running.start()
        assert running.stop() == 0
        assert "Traceback" not in running.log()
