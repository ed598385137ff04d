"""The whole set of definitions, and what each materialized partition records."""

import ast
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.schemas import bronze_schema, schema_of, table_names
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings, SettingsError
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform

MINUTES = [f"{layer}/binance/{m}/klines_1m" for m in ("spot", "um", "cm") for layer in ("bronze", "silver")]
TABLES = ("continuous_1m", "gaps", "symbol_states", "bars_1h", "bars_1d", "instruments")
# Of two symbols on one day; minutes are 2880.
ROWS = {"bars_1h": 48, "bars_1d": 2, "gaps": 0, "symbol_states": 2, "instruments": 2}
GOLD = [
    f"gold/binance/{m}/{table}" for m in ("spot", "um", "cm") for table in (*TABLES, "witnesses", "missing_minutes")
]
COMPACTED = [f"compacted/binance/{m}/{table}" for m in ("spot", "um", "cm") for table in ("klines_1m", "continuous_1m")]
FUNDING = [f"{layer}/binance/{m}/funding_rates" for m in ("um", "cm") for layer in ("bronze", "silver")]


def _specs(**settings: str) -> dict[str, dg.AssetSpec]:
    defs = build_defs(Settings.load(env="test", **settings))
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


@pytest.mark.requirement("F5.1")
def test_the_default_set_of_assets() -> None:
    assert set(_specs()) == {*MINUTES, *GOLD, *FUNDING, *COMPACTED}


@pytest.mark.requirement("F5.1", "F2.15")
def test_answers_are_assets_between_bronze_and_silver_if_completion_is_on() -> None:
    answered = {f"{name}_rest" for name in (*MINUTES, *FUNDING) if name.startswith("bronze/")}
    specs = _specs(completion="true")
    assert set(specs) == {*MINUTES, *GOLD, *FUNDING, *COMPACTED, *answered}
    for name in answered:
        completed = name.removesuffix("_rest")
        silver = specs[completed.replace("bronze/", "silver/")]
        assert [dep.asset_key.to_user_string() for dep in specs[name].deps] == [completed]
        assert {dep.asset_key.to_user_string() for dep in silver.deps} == {completed, name}
    defs = build_defs(Settings.load(env="test", completion="true"))
    graph = defs.resolve_job_def("update_binance_um_daily").graph
    assert graph.node_named("bronze__binance__um__klines_1m_rest").definition.pool == "binance_rest"


@pytest.mark.requirement("F5.1")
def test_every_asset_is_described() -> None:
    for name, spec in _specs().items():
        layer, exchange, market, table = spec.key.path
        assert spec.group_name == f"{exchange}_{market}_{layer}"
        assert spec.owners == ["team:market-data"]
        assert "parquet" in spec.kinds, name
        assert {"layer": layer, "exchange": exchange, "market": market, "table": table}.items() <= spec.tags.items()
        assert spec.description
        assert spec.code_version
        of = TableSlice.with_months(exchange, market, table).layer if layer == "compacted" else layer
        schema = bronze_schema(feed(exchange, market, table)) if layer == "bronze" else schema_of(of, table)
        columns = spec.metadata["dagster/column_schema"].columns
        assert [c.name for c in columns] == schema.column_names
        for shown, column in zip(columns, schema.columns, strict=True):
            assert f"[{column.unit}]" in (shown.description or "")
            assert shown.constraints.nullable is column.nullable


@pytest.mark.requirement("F6.20")
def test_every_column_of_silver_and_gold_says_from_which_columns_it_is_made() -> None:
    specs = _specs(
        tables="klines_1m,funding_rates,agg_trades,open_interest", completion="true", bars="1h,dollar:1000000"
    )
    columns = {name: [c.name for c in spec.metadata["dagster/column_schema"].columns] for name, spec in specs.items()}
    without = set()
    for name, spec in specs.items():
        if spec.key.path[0] not in ("silver", "gold"):
            assert "dagster/column_lineage" not in spec.metadata
            continue
        lineage = spec.metadata.get("dagster/column_lineage")
        deps = lineage.deps_by_column if lineage else {}
        assert set(deps) <= set(columns[name]), name
        for found in deps.values():
            assert all(dep.column_name in columns[dep.asset_key.to_user_string()] for dep in found), name
        without |= {(spec.key.path[0], spec.key.path[-1], column) for column in set(columns[name]) - set(deps)}
    # These are constants, or come from the archive's listing or the names of symbols.
    of_listing = ("instruments", "witnesses")
    assert {(layer, column) for layer, table, column in without if table not in of_listing} == {
        *(("silver", name) for name in ("contracts", "source", "mark_price")),
        *(("gold", name) for name in ("funding_rate", "has_funding", "offset", "prior", "removed_rows")),
    }


@pytest.mark.requirement("F6.20")
def test_the_lineage_of_columns_names_what_they_are_made_of() -> None:
    def made_of(spec: dg.AssetSpec, column: str) -> list[tuple[str, str]]:
        deps = spec.metadata["dagster/column_lineage"].deps_by_column[column]
        return [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]

    specs = _specs(tables="klines_1m,funding_rates", completion="true")
    assert made_of(specs["silver/binance/cm/klines_1m"], "quote_volume") == [
        ("bronze/binance/cm/klines_1m", "volume"),
        ("bronze/binance/cm/klines_1m_rest", "volume"),
    ]
    assert made_of(specs["gold/binance/um/continuous_1m"], "funding_rate") == [
        ("silver/binance/um/funding_rates", "funding_rate"),
        ("silver/binance/um/funding_rates", "funding_time"),
    ]
    assert made_of(specs["gold/binance/um/bars_1h"], "complete") == [("gold/binance/um/continuous_1m", "in_archive")]


@pytest.mark.requirement("F5.1")
def test_every_asset_links_to_its_code_and_shows_how_to_read_it() -> None:
    for name, spec in _specs(tables="klines_1m,funding_rates,trades").items():
        (reference,) = spec.metadata["dagster/code_references"].code_references
        lines = Path(reference.file_path).read_text(encoding="utf-8").splitlines()
        assert lines[reference.line_number - 1].startswith(("def ", "class ", "@")), name
        text = spec.metadata["how_to_read"].value
        call = ast.parse(text.removeprefix("```python\n").removesuffix("\n```"), mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.args[0], ast.Constant)
        layer, _, table = call.args[0].value.partition(".")
        assert (layer, table) in table_names(), name
        arguments = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
        assert arguments["market"] == spec.key.path[2]
        assert date.fromisoformat(arguments["start"]) < date.fromisoformat(arguments["end"])


@pytest.mark.requirement("F5.1")
def test_dependencies_go_from_bronze_over_silver_to_gold() -> None:
    for spec in _specs().values():
        layer, exchange, market, table = spec.key.path
        silver = [["silver", exchange, market, "klines_1m"]]
        silver += [["silver", exchange, market, "funding_rates"]] if market != "spot" else []
        above = {
            "bronze": [],
            "silver": [["bronze", exchange, market, table]],
            "compacted": [["gold" if table == "continuous_1m" else "silver", exchange, market, table]],
            "gold": [["gold", exchange, market, "continuous_1m"]] if table.startswith("bars") else silver,
        }[layer]
        above = [] if table in ("instruments", "witnesses") else above
        above = silver[:1] if table == "missing_minutes" else above
        assert sorted(list(dep.asset_key.path) for dep in spec.deps) == sorted(above)


@pytest.mark.requirement("F5.1", "F5.2")
def test_assets_of_a_market_and_cadence_share_one_partitions_object() -> None:
    specs = _specs(tables="klines_1m,klines_1h,funding_rates")
    for market in ("spot", "um", "cm"):
        mine = [s for s in specs.values() if s.key.path[2] == market]
        by_month = [s for s in mine if s.key.path[3] == "funding_rates" or s.key.path[0] == "compacted"]
        assert len({id(s.partitions_def) for s in mine if s not in by_month}) == 1
        assert len({id(s.partitions_def) for s in by_month}) == 1
    for table, first in (("klines_1m", "2019-09-08"), ("funding_rates", "2019-09")):
        partitions = specs[f"bronze/binance/um/{table}"].partitions_def
        assert partitions is not None
        assert partitions.get_first_partition_key() == first


@pytest.mark.requirement("F5.2")
def test_one_backfill_policy_of_31_partitions() -> None:
    assets = build_defs(Settings.load(env="test")).resolve_asset_graph().assets_defs
    assert {asset.backfill_policy for asset in assets if asset.keys} == {dg.BackfillPolicy.multi_run(31)}


@pytest.mark.requirement("F5.1")
def test_a_setting_switches_tables_on() -> None:
    more = set(_specs(tables="klines_1m,funding_rates,klines_1h"))
    hours = {f"{layer}/binance/{m}/klines_1h" for m in ("spot", "um", "cm") for layer in ("bronze", "silver")}
    hours |= {f"compacted/binance/{m}/klines_1h" for m in ("spot", "um", "cm")}
    assert more == set(_specs()) | hours
    assert set(_specs(tables="funding_rates")) == set(FUNDING)
    weeks = {f"{layer}/binance/{m}/klines_1w" for m in ("spot", "um", "cm") for layer in ("bronze", "silver")}
    assert set(_specs(tables="klines_1w")) == weeks | {name for name in GOLD if name.endswith("instruments")}
    with pytest.raises(SettingsError, match="klines_7m"):
        _specs(tables="klines_7m")


@pytest.mark.requirement("F5.1")
def test_definitions_load_and_load_with_a_part_replaced(tmp_path: object) -> None:
    environment = Settings.load(env="test")
    dg.Definitions.validate_loadable(build_defs(environment))
    other = build_defs(environment, lake=LakeResource(uri=str(tmp_path)))
    dg.Definitions.validate_loadable(other)
    assert (other.resources or {})["lake"].uri == str(tmp_path)


@contextmanager
def _noting_server() -> Iterator[tuple[str, dict[str, str | None]]]:
    """Address of a server that has nothing, and who asked it: the first folder of the path to what was sent."""
    sent: dict[str, str | None] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent[self.path.split("/")[1].partition("?")[0]] = self.headers["Authorization"]
            self.send_error(403)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", sent
        server.shutdown()


@pytest.mark.requirement("F1.2")
def test_credentials_of_the_archive_are_sent_and_in_no_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _noting_server() as (address, sent):
        monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", f"http://bob:s3cr%40t@{address}/files/")
        monkeypatch.setenv("LAKEHOUSE_ARCHIVE_LISTING_URL", f"http://ann:0th%40r@{address}/listing")
        environment = Settings.load(env="test", retries=1)
        archive = ArchiveResource.from_settings(environment)
        told = serialize_value(RepositorySnap.from_def(build_defs(environment).get_repository_def()))
        for text in (repr(archive), str(archive), told):
            assert f"{address}/files" in text
            assert f"{address}/listing" in text
            assert not [secret for secret in ("bob", "s3cr", "ann:", "0th") if secret in text]
        source = archive.source("binance")
        list(source.fetch([ArchiveFile("x.zip", "X", "2024-01-01", 1, "e", datetime.now(UTC))], tmp_path))
        with pytest.raises(ArchiveError, match="403"):
            source.symbols(feed("binance", "um", "klines_1m"))
        # Credentials are for the place that they were given with.
        monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", f"http://bob:s3cr%40t@{address}/elsewhere")
        other = ArchiveFile("y.zip", "X", "2024-01-01", 1, "e", datetime.now(UTC))
        opened = ArchiveResource.from_settings(Settings.load(archive_url=f"http://{address}/open")).source("binance")
        list(opened.fetch([other], tmp_path))
    basic = [f"Basic {base64.b64encode(text).decode()}" for text in (b"bob:s3cr@t", b"ann:0th@r")]
    assert sent == {"files": basic[0], "listing": basic[1], "open": None}


@pytest.mark.requirement("F5.1", "F5.2", "T3")
def test_a_range_runs_as_one_run_and_every_partition_has_its_metadata(empty: Platform) -> None:
    result = empty.run("update_binance_um_daily", DAYS[0], DAYS[-1])
    assert result.success
    assert len(empty.instance.get_runs()) == 1
    events = result.get_asset_materialization_events()
    keys = [e.materialization.asset_key.path for e in events]
    seen = {(key[0], key[3], e.partition): e for key, e in zip(keys, events, strict=True)}
    tables = [("bronze", "klines_1m"), ("silver", "klines_1m"), *(("gold", table) for table in TABLES)]
    assert set(seen) == {(*table, day) for table in tables for day in DAYS}
    assert len(events) == len(seen)
    for (layer, table, day), event in seen.items():
        values: dict[str, Any] = {k: v.value for k, v in event.materialization.metadata.items()}
        assert values["dagster/partition_row_count"] == ROWS.get(table, 2880)
        if table == "gaps":
            continue
        assert values["symbols"] == 2
        assert values["bytes"] > 0
        assert day in values["uri"]
        assert day != DAYS[-1] or "BTCUSDT" in values["preview"]
        if layer != "bronze" and table not in ("symbol_states", "instruments"):
            assert values["min_time"] == f"{day}T00:00:00+00:00"
            assert values["min_time"] <= values["max_time"] < f"{day}T24"
        if layer == "bronze":
            # Its times are as the file has them.
            assert not {"min_time", "max_time"} & set(values)
            assert (values["files"], values["quarantined_files"], values["quarantined_rows"]) == (2, 0, 0)
        if layer == "silver":
            assert values["quarantined_rows"] == 0
    for layer, table in tables:
        key = dg.AssetKey([layer, "binance", "um", table])
        assert empty.instance.get_materialized_partitions(key) == set(DAYS)
