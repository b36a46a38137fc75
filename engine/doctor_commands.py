"""``de39 doctor``: the findings of ``engine.doctor`` as a table or as JSON."""

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from engine import config, doctor
from engine.command_options import Flag, print_json
from engine.doctor_files import examine_files
from engine.errors import ProblemFoundError, run_command

_MARKS: dict[doctor.Level, str] = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


@run_command
def run(
    *,
    config_file: Annotated[Path | None, Parameter(name="--config")] = None,
    data: Path | None = None,
    json: Flag = False,
) -> None:
    """Say whether this machine is fit to run the switch. Exit code 1 when something fails.

    Parameters
    ----------
    config_file
        The TOML file that the switch would run with.
    data
        Its data folder, if another than the configured one.
    json
        Print one JSON object.
    """
    loaded = config.load_config(config_file, os.environ)
    if data is not None:
        loaded = msgspec.structs.replace(loaded, data=str(data))
    findings: list[doctor.Finding] = []
    for finding in chain(doctor.examine(loaded), examine_files(loaded)):
        findings.append(finding)
        if not json:
            sys.stdout.write(_line(finding))
            sys.stdout.flush()
    worst = doctor.worst_of(findings)
    if json:
        rows = [finding._asdict() for finding in findings]
        print_json({"level": worst, "findings": rows})
    if worst == "fail":
        failed = ", ".join(finding.check for finding in findings if finding.level == "fail")
        raise ProblemFoundError(f"not fit: {failed}")


def _line(finding: doctor.Finding) -> str:
    line = f"{_MARKS[finding.level]}  {finding.check:<18} {finding.seen}\n"
    return line + (f"{'':24} -> {finding.advice}\n" if finding.advice else "")
