"""Commands on the configuration, and the page of documentation made from its types."""

import json as json_text
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine import config, config_tree
from engine.errors import run_command

PAGE = "docs/configuration.md"

_HEAD = """# Configuration

One TOML file, named by `--config FILE`; every key has a default, so an empty file is a whole one.
Defaults are overridden by the file, the file by variables, variables by command-line flags. Unknown
keys and bad values are errors that name the key. `de39 config check FILE` tries a file,
`de39 config show` prints what is in force with secrets hidden, `de39 config schema` prints a JSON
Schema for editors.

A variable is `DE39_`, the section, two underscores and the key, in capitals:
`DE39_HTTP__ADDRESS=127.0.0.1:9000`. Elements of a list go by number: `DE39_LISTEN__0__ADDRESS`.
Relative paths in the file count from the folder of the file, in variables and flags from the
working folder. `DE39_ADMIN_TOKEN` is a secret of its own and no key of the file.

The unit ends a key's name: `_s` seconds, `_bytes` bytes; `_max` is the most allowed.
"""


@run_command
def config_check(file: Path | None = None, /, *, json: bool = False) -> None:
    """Check a configuration file together with the DE39_ variables; exit code 78 when it is wrong.

    Parameters
    ----------
    file
        The TOML file; without one the variables alone are checked.
    json
        Print one JSON object.
    """
    config.load_config(file, os.environ)
    if json:
        sys.stdout.write(json_text.dumps({"ok": True, "file": str(file) if file else None}) + "\n")
    else:
        sys.stdout.write(f"{file or 'configuration'}: ok\n")


@run_command
def config_show(file: Path | None = None, /, *, json: bool = False) -> None:
    """Print the configuration in force, complete, secrets hidden.

    Parameters
    ----------
    file
        The TOML file; without one, defaults and variables.
    json
        Print JSON instead of TOML.
    """
    loaded = config.load_config(file, os.environ)
    if json:
        sys.stdout.write(json_text.dumps(config.hidden(loaded), default=str) + "\n")
    else:
        sys.stdout.write(config.show(loaded))


@run_command
def config_schema() -> None:
    """Print the JSON Schema of the configuration file."""
    sys.stdout.write(json_text.dumps(config.schema(), indent=2) + "\n")


def configuration_page() -> str:
    """Return the text of docs/configuration.md: every key, default, bounds and meaning."""
    parts = [_HEAD]
    fields = config_tree.fields_of(config.Config) or {}
    plain = [f for f in fields.values() if _table_of(f.type) is None]
    parts.append("## Top level\n\n" + _table(plain))
    for field in fields.values():
        table = _table_of(field.type)
        if table is not None:
            is_list = config_tree.list_item(field.type) is not None
            heading = f"[[{field.name}]]" if is_list else f"[{field.name}]"
            keys = list((config_tree.fields_of(table) or {}).values())
            parts.append(f"## {heading}\n\n{table.__doc__}\n\n{_table(keys)}")
    return "\n".join(parts)


def _table_of(kind: Any) -> Any:
    item = config_tree.list_item(kind)
    kind = kind if item is None else item
    return kind if config_tree.fields_of(kind) is not None else None


def _table(fields: list[msgspec.structs.FieldInfo]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        schema = msgspec.json.schema(field.type)
        is_bare = field.default is None or field.default is msgspec.NODEFAULT
        default = "" if is_bare else json_text.dumps(field.default)
        meaning = schema.get("description", "")
        rows.append(f"| `{field.name}` | {_type_text(schema)} | `{default}` | {meaning} |")
    return "\n".join(rows).replace("``", "none") + "\n"


def _type_text(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(json_text.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type_text(s) for s in schema["anyOf"] if s.get("type") != "null")
    kind: str = schema["type"]
    if kind == "integer":
        return f"integer, {schema['minimum']:,} to {schema['maximum']:,}"
    if kind == "array":
        return "list of strings"
    return str(schema.get("format", kind))


if __name__ == "__main__":
    sys.stdout.write(configuration_page())
