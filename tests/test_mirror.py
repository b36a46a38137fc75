"""Every source file has its test: the mirror ``tests/X/test_Y.py`` of ``X/Y.py``, or a named one.

A module that only makes sense with its neighbours is tested through them; the list says where.
"""

import ast
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engine", "scoring", "ledger", "bench")
_CORE = "tests/properties/test_cut_and_replay.py"
_LINKS = "tests/system/test_framing.py"
_FOLDER = "tests/system/test_restart.py"
_RULES = "tests/engine/rules/test_language.py"
# Pattern of a source -> the test that covers it; the first that fits counts.
COVERED_BY = {
    # The stages of a batch are one machine: its inputs are messages, its output are records.
    "engine/expiry.py": _CORE,
    "engine/items.py": _CORE,
    "engine/rule_commands.py": "tests/system/test_rules.py",
    "engine/backtest*.py": "tests/bench/test_backtest.py",
    "engine/rule_desk.py": "tests/system/test_rules.py",
    "engine/rule_proposals.py": "tests/system/test_rule_approval.py",
    "engine/admin/rules_api.py": "tests/system/test_rules.py",
    "engine/workspace.py": _CORE,
    "engine/entries.py": "tests/engine/test_matching.py",
    "engine/authorization_config.py": "tests/engine/test_config.py",
    "engine/scoring_config.py": "tests/engine/test_config.py",
    "engine/presentment.py": "tests/properties/test_lifecycle.py",
    "engine/filing.py": "tests/engine/test_clearing_file.py",
    "engine/clearing_desk.py": "tests/system/test_clearing.py",
    "engine/clearing_commands.py": "tests/system/test_clearing.py",
    "engine/cards.py": "tests/system/test_authorization.py",
    "engine/limits.py": "tests/engine/test_config.py",  # asserted at import; config takes them
    # The shell needs sockets, files and signals: a switch of its own process.
    "engine/server.py": _LINKS,
    "engine/links.py": _LINKS,
    "engine/tls.py": "tests/system/test_tls.py",
    "engine/reload.py": "tests/system/test_reload.py",
    "engine/link_operations.py": "tests/system/test_lines.py",
    "engine/line_commands.py": "tests/system/test_lines.py",
    "engine/link_config.py": "tests/engine/test_config.py",
    "engine/store_health.py": "tests/system/test_postgres.py",
    "engine/switch.py": _FOLDER,
    "engine/warm.py": _FOLDER,
    "engine/inquiry.py": "tests/system/test_authorization.py",
    "engine/operations.py": "tests/system/test_authorization.py",
    "engine/upkeep_commands.py": "tests/system/test_upkeep.py",
    "engine/upkeep.py": "tests/system/test_upkeep.py",
    "engine/proving.py": "tests/system/test_upkeep.py",
    "engine/proof_commands.py": "tests/system/test_upkeep.py",
    "engine/serve_commands.py": "tests/system/test_commands.py",
    "engine/import_commands.py": "tests/system/test_commands.py",
    "engine/opening.py": "tests/system/test_refusals.py",
    "engine/ports.py": "tests/system/test_refusals.py",
    "engine/worker.py": "tests/engine/test_retention.py",
    "engine/ledger_commands.py": "tests/system/test_commands.py",
    "engine/doctor_commands.py": "tests/engine/test_doctor.py",
    "engine/doctor_files.py": "tests/engine/test_doctor.py",
    "engine/config_*.py": "tests/engine/test_config.py",
    "engine/metrics_kernels.py": "tests/engine/test_metrics.py",
    "engine/zone_kernels.py": "tests/engine/test_zones.py",
    "engine/admin/series.py": "tests/engine/admin/test_collector.py",
    "engine/model_desk.py": "tests/system/test_models.py",
    "engine/model_history.py": "tests/system/test_models.py",
    "engine/explain_commands.py": "tests/system/test_explain.py",
    "engine/model_commands.py": "tests/system/test_models.py",
    "engine/admin/models_api.py": "tests/system/test_models.py",
    "scoring/reasons.py": "tests/scoring/test_explain_kernels.py",
    "engine/admin/*.py": "tests/engine/admin/test_http.py",
    "engine/rules/advice.py": "tests/engine/rules/test_commands.py",
    "engine/rules/canonical.py": "tests/engine/rules/test_program.py",
    "engine/rules/columns.py": "tests/engine/rules/test_column_kernels.py",
    "engine/rules/normal_form.py": "tests/engine/rules/test_program.py",
    "engine/rules/*.py": _RULES,
    "engine/security/warm_kernels.py": "tests/engine/security/test_lay_kernels.py",
    "engine/security/des_slices.py": "tests/engine/security/test_des_kernels.py",
    "engine/security/blocks.py": "tests/engine/security/test_lay_kernels.py",
    "engine/security/opening.py": "tests/system/test_security.py",
    "engine/security/settings.py": "tests/engine/test_config.py",
    "engine/security/batch.py": "tests/engine/security/test_guard.py",
    "engine/security/card_guard.py": "tests/engine/security/test_guard.py",
    "engine/security/key_change.py": "tests/engine/security/test_guard.py",
    "engine/security/ciphers.py": "tests/engine/security/test_store.py",
    "engine/security/digits.py": "tests/engine/security/test_pin_blocks.py",
    "engine/security/errors.py": "tests/engine/security/test_store.py",
    "engine/security/file_store.py": "tests/engine/security/test_store.py",
    "engine/security/keys.py": "tests/engine/security/test_store.py",
    "engine/wire/*.py": "tests/engine/wire/test_kernels.py",
    "scoring/forest_kernels.py": "tests/scoring/test_forest.py",
    "scoring/tables.py": "tests/scoring/test_number_kernels.py",
    "scoring/shapley_kernels.py": "tests/scoring/test_shapley.py",
    "scoring/errors.py": "tests/scoring/test_registry.py",
    "scoring/*.py": "tests/scoring/test_kernels.py",
    "ledger/jit.py": "tests/engine/test_kernel_cache.py",
    "ledger/segment.py": "tests/ledger/test_recovery.py",
    "ledger/errors.py": "tests/ledger/test_recovery.py",
    "ledger/rows.py": "tests/ledger/test_export.py",
    "ledger/pages.py": "tests/ledger/test_disk.py",
    "ledger/priority.py": "tests/ledger/test_commit.py",
    "ledger/postgres/programs.py": "tests/ledger/postgres/test_server.py",
    "ledger/postgres/flusher.py": "tests/ledger/test_store_staged.py",
    "ledger/postgres/table_reader.py": "tests/ledger/test_readers.py",
    "ledger/postgres/*.py": "tests/ledger/test_store_postgres.py",
    "ledger/books/*.py": "tests/ledger/books/test_projector.py",
    "ledger/stores/file_reader.py": "tests/ledger/test_readers.py",
    "ledger/stores/postgres_load.py": "tests/ledger/test_backup_postgres.py",
    "ledger/stores/place.py": "tests/ledger/test_place.py",
    "ledger/stores/postgres*.py": "tests/ledger/test_store_postgres.py",
    "ledger/failpoints.py": "tests/adversity/test_points.py",
    "ledger/proof/tiles.py": "tests/ledger/proof/test_log.py",
    "ledger/stores/*.py": "tests/ledger/test_store_file.py",
    "bench/conformance/*.py": "tests/bench/conformance/test_run.py",
    "bench/bench_*.py": "tests/bench/test_figures.py",  # pytest-benchmark cases: tests themselves
    "bench/journal_*.py": "tests/bench/test_journal.py",
    "bench/commit_load.py": "tests/bench/test_journal.py",
    "bench/snapshot.py": "tests/bench/test_journal.py",
    "bench/enrich.py": "tests/bench/test_workload.py",
    "bench/workload_kernels.py": "tests/bench/test_workload.py",
    "bench/traffic.py": "tests/bench/test_workload.py",
    "bench/frame_kernels.py": "tests/bench/test_frames.py",
    "bench/load_*.py": "tests/bench/test_load_client.py",
    "bench/echo*.py": "tests/bench/test_load_client.py",
    "bench/data_sets.py": "tests/bench/test_evaluate.py",
    "bench/forest_kernels.py": "tests/bench/test_forest_variants.py",
    "bench/said.py": "tests/bench/test_evaluate.py",
    "bench/switch_process.py": "tests/bench/test_demo.py",
}


def sources() -> list[str]:
    """Return every source file of the packages, relative to the root."""
    return sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    )


def mirror_of(source: str) -> str:
    """Return where the test of a source stands by rule."""
    path = Path(source)
    return str(Path("tests") / path.parent / f"test_{path.name}")


@pytest.mark.parametrize("source", sources())
def test_every_source_has_a_test(source: str) -> None:
    """The mirror exists, or the list names a test that does."""
    if (ROOT / mirror_of(source)).is_file():
        return
    named = [test for pattern, test in COVERED_BY.items() if fnmatchcase(source, pattern)]
    assert named, f"{source}: write {mirror_of(source)}, or say in COVERED_BY what covers it"
    assert (ROOT / named[0]).is_file()


def test_the_list_has_no_leftovers() -> None:
    """Every pattern still fits a source that has no mirror."""
    alone = [s for s in sources() if not (ROOT / mirror_of(s)).is_file()]
    unused = [p for p in COVERED_BY if not any(fnmatchcase(s, p) for s in alone)]
    assert unused == []


def test_every_oracle_is_used() -> None:
    """A slow twin that no test imports proves nothing."""
    imported: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    oracles = {f"tests.oracle.{p.stem}" for p in (ROOT / "tests" / "oracle").glob("[a-z]*.py")}
    assert oracles - imported == set()
