"""Where fuzzing begins: the golden conversations, and inputs that once reached something new.

A file of ``corpus`` is the bytes of a link in hex; the part of its name before "--" is the dialect.
"""

from pathlib import Path

from engine.wire.dialect import BUILTIN_DIALECTS

CORPUS = Path(__file__).parent / "corpus"
CONVERSATIONS = Path(__file__).resolve().parents[1] / "golden" / "conversations"


def seeds() -> list[tuple[int, bytes]]:
    """Return (place of the dialect in BUILTIN_DIALECTS, bytes of a link), in a stable order."""
    found = []
    for number, name in enumerate(BUILTIN_DIALECTS):
        lines = (CONVERSATIONS / f"{name}.hex").read_text(encoding="ascii").splitlines()
        found += [(number, bytes.fromhex(line[1:])) for line in lines if line[:1] in ("<", ">")]
    for path in sorted(CORPUS.glob("*.hex")):
        name = path.name.partition("--")[0]
        found.append(
            (BUILTIN_DIALECTS.index(name), bytes.fromhex(path.read_text(encoding="ascii")))
        )
    return found
