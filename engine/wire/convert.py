"""One message from one dialect into another: the same values, written as the other one writes them.

Fields go by number, so both dialects must be of one version of the standard. A field that the
other dialect lacks, or that does not fit there, is left out and named; nothing is made up.
"""

from engine.wire.canon import wire_field
from engine.wire.dialect import Dialect
from engine.wire.text import build_message, read_message


def convert_message(source: Dialect, target: Dialect, message: bytes) -> tuple[bytes, list[int]]:
    """Return (the message in ``target``, the fields that were left out).

    Raises
    ------
    ValueError
        The dialects are of different versions, or the message is at fault, with its offset.
    """
    if source.version != target.version:
        raise ValueError(
            f"{source.name} and {target.name} are of different versions of the standard"
        )
    mti, values = read_message(source, message)
    kept = {n: v for n, v in values.items() if _has_room(source, target, n, v)}
    lost = sorted(set(values) - set(kept))
    return build_message(target, mti, kept), lost


def _has_room(source: Dialect, target: Dialect, number: int, value: str | bytes) -> bool:
    field = target.fields.get(number)
    if field is None or isinstance(value, bytes) != (field.format == "b"):
        return False
    inside = target.parts.get(number)
    if inside is not None and source.parts.get(number) != inside:  # its elements stand otherwise
        return False
    try:
        wire_field(target, field, value, "")
    except ValueError:
        return False
    return True
