"""The raw configuration before it has types: file and variables merged, every key checked.

Works on any root type made of msgspec structs, tuples of them and plain values; what the keys mean
is in ``engine.config``. Values are never quoted in an error: one of them may be a secret.
"""

import difflib
import tomllib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from engine.errors import ConfigError

Keys: TypeAlias = list[str | int]


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; ConfigError names file and line."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: byte {problem.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not TOML: {problem}") from None


def keys_of(dotted: str) -> Keys:
    """Return the keys of ``listen.0.address``."""
    return [int(key) if key.isdigit() else key for key in dotted.split(".")]


def keys_of_variable(name: str, prefix: str, plain: Collection[str]) -> Keys | None:
    """Return the keys that a variable sets; None when it belongs to another part of the program.

    A single word after the prefix counts only when it is one of ``plain``, the keys of the top
    level that are no tables.
    """
    dotted = name.removeprefix(prefix).lower().replace("__", ".")
    if not name.startswith(prefix) or ("." not in dotted and dotted not in plain):
        return None
    return keys_of(dotted)


def typed(root: type, keys: Keys, text: str, name: str, known: Collection[str]) -> Any:
    """Return the text of variable ``name`` as the type that the key has under ``root``."""
    kind = _type_at(root, keys)
    if kind is None:
        raise ConfigError(f"{name}: no such key in the configuration; {_hint(name, known)}")
    try:
        return msgspec.to_builtins(
            msgspec.convert(text, kind, strict=False), builtin_types=(datetime,)
        )
    except msgspec.ValidationError as problem:
        expected = located(problem)[1].removesuffix(", got str")
        raise ConfigError(f"{name}: {expected}") from None


def put(tree: dict[str, Any], keys: Keys, value: object, origin: str) -> None:
    """Set the value at ``keys``, making tables and the next list element on the way."""
    place: Any = tree
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        fresh: object = value if after is None else [] if isinstance(after, int) else {}
        if isinstance(key, int):
            if not isinstance(place, list) or key > len(place):
                raise ConfigError(f"{origin}: {joined(keys)}: the list has no place {key}")
            if key == len(place):
                place.append(fresh)
        elif not isinstance(place, dict):
            raise ConfigError(f"{origin}: {joined(keys)}: the file has another kind of value there")
        elif key not in place:
            place[key] = fresh
        if after is None:
            place[key] = value
        place = place[key]


def check_keys(kind: Any, value: object, keys: Keys, origin: Callable[[str], str]) -> None:
    """Refuse keys that no table has, naming the nearest that it has."""
    item = list_item(kind)
    if item is not None and isinstance(value, list):
        for i, element in enumerate(value):
            check_keys(item, element, [*keys, i], origin)
    fields = fields_of(kind)
    if fields is None or not isinstance(value, dict):
        return
    for key, element in value.items():
        if key not in fields:
            where = joined([*keys, key])
            raise ConfigError(f"{origin(where)}: {where}: unknown key; {_hint(key, fields)}")
        check_keys(fields[key].type, element, [*keys, key], origin)


def origin_of(key: str, origins: Mapping[str, str], default: str) -> str:
    """Return where the value at ``key`` came from: a variable, the command line or ``default``."""
    for known, origin in origins.items():
        if key == known or key.startswith((f"{known}.", f"{known}[")):
            return origin
    return default


def located(problem: msgspec.ValidationError, kind: Any = None) -> tuple[str, str]:
    """Return (key path, what is wrong) of an error of msgspec; ``kind`` is what was decoded.

    With it, a value that is none of a few says which they are.
    """
    text, _, path = str(problem).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    text = text.replace("`", "")
    if text.startswith("Invalid enum value"):
        choices = ", ".join(f'"{choice}"' for choice in _choices(kind, path))
        text += f": it is one of {choices}" if choices else ""
    return path, text[:1].lower() + text[1:]


def _choices(kind: Any, path: str) -> list[str]:
    """Return the values that the key at ``path`` may have, where they are a few."""
    for name in path.split("."):
        key = name.partition("[")[0]
        fields = fields_of(kind) or {}
        if key not in fields:
            return []
        kind = fields[key].type
        kind = (list_item(kind) or kind) if "[" in name else kind
    return [str(choice) for choice in msgspec.json.schema(kind).get("enum", [])]


def joined(keys: Keys) -> str:
    """Return the keys as people write them: ``listen[0].address``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def list_item(kind: Any) -> Any:
    """Return the element type of ``tuple[T, ...]``, None for other types."""
    bare = _bare(kind)
    return bare.__args__[0] if getattr(bare, "__origin__", None) is tuple else None


def fields_of(kind: Any) -> dict[str, msgspec.structs.FieldInfo] | None:
    """Return the keys of a table type, None for other types."""
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return {field.name: field for field in msgspec.structs.fields(bare)}
    return None


def as_toml(tree: Mapping[str, Any]) -> str:
    """Return plain values, tables and lists of tables as TOML; None values are left out."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *_pairs(value)]
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for table in value:
                tables += ["", f"[[{key}]]", *_pairs(table)]
        else:
            lines += _pairs({key: value})
    return "\n".join(lines + tables) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which JSON leaves bare.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return str(value)


def _type_at(root: type, keys: Keys) -> Any:
    """Return the annotated type of the plain value at ``keys``, None when there is none."""
    kind: Any = root
    for key in keys:
        if isinstance(key, int):
            kind = list_item(kind)
        else:
            field = (fields_of(kind) or {}).get(key)
            kind = None if field is None else field.type
        if kind is None:
            return None
    return None if fields_of(kind) is not None or list_item(kind) is not None else kind


def _bare(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _hint(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
