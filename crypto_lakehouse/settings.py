"""Settings: read once from ``LAKEHOUSE_*`` environment variables and validated. An empty variable counts as not set.

Every setting of the platform is here. Three of them name the lake (``lake_uri``, ``s3_endpoint_url``, ``s3_region``).
The reader takes these from the same variables by itself, with the same defaults, so that reading a lake needs neither
the other settings nor pydantic. Credentials of S3 are not settings: boto3's chain finds them
(``lake/storage/identity.py``).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from crypto_lakehouse.alert_settings import SECRETS, AlertSettings
from crypto_lakehouse.catalog import DEFAULT_EXCHANGE, EXCHANGES, MARKETS, Feed, Market, no_exchange, parse_date
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.automation import Automation, automation_text, checked_automation, parse_automation
from crypto_lakehouse.catalog.bars import Bars, parse_bars_list
from crypto_lakehouse.catalog.enabling import DEFAULT_BARS, DEFAULT_TABLES
from crypto_lakehouse.catalog.exchanges import REST_APIS
from crypto_lakehouse.catalog.names import check_number
from crypto_lakehouse.catalog.selection import select_exchanges, select_feeds, select_markets, tables_of_exchanges
from crypto_lakehouse.catalog.sizes import parse_size
from crypto_lakehouse.catalog.tables import select_tables
from crypto_lakehouse.catalog.urls import has_host, http_url, mask_url, parse_hosts, s3_uri
from crypto_lakehouse.catalog.variables import MASK, UNSET, masked_variables
from crypto_lakehouse.symbol_settings import SymbolSettings

PREFIX = "LAKEHOUSE_"


class SettingsError(Exception):
    """A setting is misspelt or has a bad value. The text names each one and says what is allowed."""


class Env(StrEnum):
    """Where the platform runs. In ``local`` and ``test`` nothing starts by itself unless ``automation`` says so."""

    LOCAL = "local"
    TEST = "test"
    PROD = "prod"


class RawRetention(StrEnum):
    """Whether zips stay in the lake's raw layer (``keep``) or are deleted once parsed (``drop``)."""

    KEEP = "keep"
    DROP = "drop"


HttpUrl = Annotated[str, AfterValidator(http_url)]


def url_settings(exchange: str) -> tuple[str, str]:
    """The settings that replace the URLs of an exchange's files and of their listing.

    >>> url_settings("binance"), url_settings("acme")
    (('archive_url', 'archive_listing_url'), ('acme_archive_url', 'acme_archive_listing_url'))
    """
    prefix = "" if exchange == DEFAULT_EXCHANGE else f"{exchange}_"
    return f"{prefix}archive_url", f"{prefix}archive_listing_url"


def _url_fields() -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, exchange in EXCHANGES.items():
        files, listing = url_settings(name)
        yield files, (HttpUrl, Field(exchange.archive_url, description=f"where the archive files of {name} are"))
        yield listing, (HttpUrl, Field(exchange.listing_url, description="where they are listed"))


if TYPE_CHECKING:
    _ArchiveUrls = SymbolSettings
else:
    # Two settings for each exchange of the registry.
    _ArchiveUrls = create_model("_ArchiveUrls", __base__=SymbolSettings, **dict(_url_fields()))


class Settings(_ArchiveUrls, AlertSettings):
    """The effective settings, each parsed once. Create it with ``Settings.load()``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    env: Env = Field(Env.LOCAL, description="local, test or prod")
    lake_uri: str = Field("./lake", description="folder, or s3://bucket/prefix")
    s3_endpoint_url: HttpUrl | None = Field(
        None, description="S3 endpoint, where it is not that of the AWS variables or profile"
    )
    s3_region: str | None = Field(None, description="S3 region, where it is not that of the AWS variables or profile")
    exchanges: str = Field(DEFAULT_EXCHANGE, description=f"enabled exchanges: {','.join(EXCHANGES)}")
    tables: str = Field(DEFAULT_TABLES, description="enabled tables: names, patterns (mark_klines_*), !exclusions")
    markets: str = Field(
        "",
        description="enabled markets: spot,um,cm,option, or binance/spot where exchanges share a name; empty: all;"
        " data of other markets stays stored, but hidden",
    )
    start: date | None = Field(
        None,
        description="first UTC day of the partitions: 2023-01-01; empty: the markets' own; earlier data stays"
        " stored, but hidden",
    )
    bars: str = Field(
        DEFAULT_BARS, description="bars to build: 1h, 1h:5m (offsets 0, 5m, ...), dollar:1000000, volume:..., tick:..."
    )
    gap_days: float = Field(1.0, gt=0, le=366, description="days without trades after which a price jump is a gap")
    gap_change: float = Field(0.1, ge=0, description="relative price change that makes such a pause a gap")
    concurrency: int = Field(
        128, ge=1, le=512, description="parallel requests to the archive: for listings, and for files"
    )
    retries: int = Field(5, ge=1, le=20, description="attempts per request to the archive")
    stall_timeout: float = Field(30.0, gt=0, le=600, description="seconds without a byte before an attempt ends")
    least_rate: float = Field(
        1000.0, ge=0, description="least bytes per second of a download, over LAKEHOUSE_STALL_TIMEOUT; 0: no limit"
    )
    completion: bool = Field(
        False, description="complete bars that the archive does not have from the exchange's REST API"
    )
    rest_urls: str = Field(
        "",
        description="hosts of the REST API, where they are not the exchange's own:"
        " spot=https://data-api.binance.vision,um=...,cm=...",
    )
    rest_share: float = Field(
        0.5, gt=0, le=1, description="share of the REST API's limits to use; the rest is for other programs"
    )
    archive_files: ArchiveFiles = Field(
        ArchiveFiles.DAILY,
        description="files to build days of klines from: daily, monthly (once a month is over), or monthly-then-daily"
        " (daily where a monthly file has no rows of a day)",
    )
    raw_retention: RawRetention = Field(RawRetention.KEEP, description="keep or drop the zips once parsed")
    sql_memory: str | None = Field(
        None, description="memory limit of a lake.sql query: 4GB or 512MiB; empty: 80 % of the machine's"
    )
    sql_timeout: float = Field(3600.0, gt=0, le=7 * 24 * 3600, description="time limit of a lake.sql query in seconds")
    serve_tokens: str = Field(
        "~/.config/crypto-lakehouse/tokens.json", description="file of the tokens of the REST service"
    )
    serve_sql: bool = Field(False, description="allow queries over the REST service (POST /v1/sql)")
    serve_max_rows: int = Field(100_000_000, ge=1, description="most rows of one answer of the REST service")
    serve_max_bytes: int = Field(16 * 1024**3, ge=1, description="most bytes of one answer")
    serve_timeout: float = Field(600.0, gt=0, le=24 * 3600, description="seconds after which an answer ends")
    serve_concurrency: int = Field(64, ge=1, le=10_000, description="requests of one token at the same time")
    serve_rate: float = Field(50.0, gt=0, le=100_000, description="requests a second of one token")
    serve_binance: bool = Field(False, description="answer Binance's own REST API below /binance, too")
    serve_universe: date | None = Field(
        None, description="UTC day whose symbols /binance lists; empty: all, as of the newest day"
    )
    serve_as_of: str = Field("", description="time of the lake (UTC), or snapshot, that /binance reads; empty: now")
    max_partitions_per_run: int | None = Field(
        None,
        ge=1,
        le=400,
        description="most partitions of one run; empty: 31 in the UI, 31 to 400 at the command line by their symbols",
    )
    processes: int | None = Field(
        None, ge=1, le=128, description="most processes of one backfill; empty: one less than the cores, at least 1"
    )
    sensor_attempts: int = Field(3, ge=1, le=20, description="runs of a sensor for a date before it gives up")
    automation: Annotated[str, AfterValidator(checked_automation)] = Field(
        "",
        description=f"what starts by itself: {', '.join(Automation)}, all or none; empty: schedules and alerts in prod,"
        " else none",
    )
    logs_uri: Annotated[str, AfterValidator(s3_uri)] = Field(
        "",
        description="folder of S3 for what runs print, as s3://bucket/prefix; empty: LAKEHOUSE_LAKE_URI/_logs in prod"
        " with a lake on S3, else DAGSTER_HOME",
    )
    archive_checks: bool | None = Field(
        None,
        description="define the checks freshness and reconciliation, which list the archive; empty: except in local",
    )

    @field_validator(
        *("gap_days", "gap_change", "concurrency", "retries", "stall_timeout", "rest_share"),
        *("max_partitions_per_run", "processes", "sensor_attempts"),
        *("serve_max_rows", "serve_max_bytes", "serve_timeout", "serve_concurrency", "serve_rate"),
        mode="before",
    )
    @classmethod
    def _check_number(cls, value: Any) -> Any:
        return check_number(value) if isinstance(value, str) else value

    @field_validator("lake_uri")
    @classmethod
    def _check_lake_uri(cls, value: str) -> str:
        if not value.strip() or ("://" in value and not has_host(value, "s3")):
            raise ValueError("must be a folder or s3://bucket/prefix")
        return value.rstrip("/") or "/"

    @field_validator("rest_urls")
    @classmethod
    def _check_rest_urls(cls, value: str) -> str:
        parse_hosts(value, _roles())
        return value

    @field_validator("sql_memory")
    @classmethod
    def _check_sql_memory(cls, value: str | None) -> str | None:
        if value is not None:
            parse_size(value)
        return value

    @field_validator("exchanges")
    @classmethod
    def _check_exchanges(cls, value: str) -> str:
        select_exchanges(value)
        return value

    @field_validator("tables")
    @classmethod
    def _check_tables(cls, value: str, others: ValidationInfo) -> str:
        select_tables(value, tables_of_exchanges(_exchanges(others)))
        return value

    @field_validator("markets")
    @classmethod
    def _check_markets(cls, value: str, others: ValidationInfo) -> str:
        select_markets(value, _exchanges(others))
        return value

    @field_validator("start", mode="before")
    @classmethod
    def _check_start(cls, value: str | date | None) -> date | None:
        day = parse_date(value.strip()) if isinstance(value, str) else value
        if day is not None and day >= datetime.now(UTC).date():
            raise ValueError("must be a UTC day that is over, because partitions before it are hidden")
        return day

    @field_validator("serve_universe", mode="before")
    @classmethod
    def _check_universe(cls, value: str | date | None) -> date | None:
        return parse_date(value.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_feeds(self) -> Self:
        if not self.feeds:
            raise ValueError(
                f"no table of {PREFIX}TABLES ({self.tables}) is in {PREFIX}MARKETS"
                f" ({', '.join(self.market_names)})" + (f" on {PREFIX}START or later" if self.start else "")
            )
        return self

    @field_validator("bars")
    @classmethod
    def _check_bars(cls, value: str) -> str:
        parse_bars_list(value)
        return value

    @cached_property
    def bars_kinds(self) -> tuple[Bars, ...]:
        """``bars``, parsed."""
        return parse_bars_list(self.bars)

    @cached_property
    def table_names(self) -> tuple[str, ...]:
        """Names of the enabled tables, in the order of the catalogue."""
        return tuple(select_tables(self.tables, tables_of_exchanges(self.exchange_names)))

    @cached_property
    def exchange_names(self) -> tuple[str, ...]:
        """Names of the enabled exchanges, in the order of the catalogue."""
        return tuple(select_exchanges(self.exchanges))

    @cached_property
    def enabled_markets(self) -> tuple[Market, ...]:
        """The enabled markets of the enabled exchanges, in the order of the catalogue."""
        return tuple(select_markets(self.markets, self.exchange_names))

    @cached_property
    def market_names(self) -> tuple[str, ...]:
        """The enabled markets as ``markets`` may name them: ``um``, or ``binance/um`` with several exchanges."""
        return tuple(self._names(self.enabled_markets))

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        """The enabled feeds: those of ``tables`` in ``markets`` of ``exchanges``, from ``start`` on."""
        return tuple(select_feeds(self.table_names, self.enabled_markets, self.start))

    def is_enabled(self, market: Market) -> bool:
        """Whether the market and its exchange are enabled."""
        names = [(enabled.exchange, enabled.name) for enabled in self.enabled_markets]
        return (market.exchange, market.name) in names

    @property
    def shown_markets(self) -> list[tuple[str, str]]:
        """(exchange, market) of the markets that ``markets`` does not hide.

        What is stored of an exchange that is not enabled is shown, like a table that is not enabled.
        """
        hidden = self._hidden_markets
        return [place for place, market in MARKETS.items() if market not in hidden]

    @property
    def _hidden_markets(self) -> list[Market]:
        return [market for market in select_markets("", self.exchange_names) if not self.is_enabled(market)]

    def _names(self, markets: Iterable[Market]) -> list[str]:
        is_alone = len(self.exchange_names) == 1
        return [market.name if is_alone else f"{market.exchange}/{market.name}" for market in markets]

    def archive_urls(self, exchange: str) -> tuple[str, str]:
        """The URLs of an exchange's files and of their listing. Raises KeyError for an unknown exchange."""
        if exchange not in EXCHANGES:
            raise KeyError(no_exchange(exchange))
        files, listing = (getattr(self, name) for name in url_settings(exchange))
        return files, listing

    def rest_urls_of(self, exchange: str) -> dict[str, str]:
        """The URLs of an exchange's REST API by role (``spot``); empty if it has none."""
        api = REST_APIS.get(exchange)
        chosen = parse_hosts(self.rest_urls, _roles())
        return {} if api is None else {role: chosen.get(role, url) for role, url in api.hosts.items()}

    @cached_property
    def automations(self) -> frozenset[Automation]:
        """The kinds of sensors and schedules that start by themselves."""
        in_prod = f"{Automation.SCHEDULES},{Automation.ALERTS}"
        return parse_automation(self.automation or (in_prod if self.env is Env.PROD else "none"))

    @property
    def compute_logs_uri(self) -> str:
        """Where on S3 the logs of runs are; empty if they are files in DAGSTER_HOME."""
        is_remote = self.env is Env.PROD and self.lake_uri.startswith("s3://")
        return self.logs_uri or (f"{self.lake_uri}/_logs" if is_remote else "")

    @property
    def has_archive_checks(self) -> bool:
        """Whether bronze has the checks that list the archive.

        In ``local`` no schedule runs them, and the UI would count each as not passed.
        """
        return self.env is not Env.LOCAL if self.archive_checks is None else self.archive_checks

    @property
    def hidden(self) -> str:
        """What ``markets`` and ``start`` hide of the lake, in words; empty if they hide nothing."""
        others = self._names(self._hidden_markets)
        facts = [f"partitions before {PREFIX}START={self.start}"] if self.start else []
        facts += [f"markets that are not in {PREFIX}MARKETS ({', '.join(others)})"] if others else []
        return " and ".join(facts)

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Load the settings from the environment; ``overrides`` win. Raises SettingsError that names every fault."""
        faults = [_misspelt(name) for name in sorted(os.environ) if _is_unknown(name)]
        try:
            settings = cls(**overrides)
        except ValidationError as error:
            for e in error.errors(include_url=False):
                name = ".".join(map(str, e["loc"])).upper().removeprefix(PREFIX)
                # A fault of several settings together has no name.
                shown = MASK if name.lower() in SECRETS else mask_url(str(e["input"]))
                at = f"{PREFIX}{name}={shown!r}: " if name else ""
                faults.append(at + e["msg"].removeprefix("Value error, "))
        if faults:
            raise SettingsError("settings are wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
        return settings

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, mask_url(value) if isinstance(value, str) and not isinstance(value, StrEnum) else value

    def masked(self) -> dict[str, str]:
        """Each variable with its effective value; secrets are masked."""
        effective = {"automation": automation_text(self.automations), "logs_uri": self.compute_logs_uri}
        values = {
            f"{PREFIX}{name.upper()}": UNSET if value in (None, "") else mask_url(str(value))
            for name, value in (self.model_dump() | effective).items()
        }
        return values | masked_variables(os.environ)


def _roles() -> list[str]:
    return list(dict.fromkeys(role for api in REST_APIS.values() for role in api.hosts))


def _exchanges(others: ValidationInfo) -> list[str]:
    """The exchanges that the settings name; if that setting is wrong, the default, so that others are checked too."""
    return select_exchanges(others.data.get("exchanges", DEFAULT_EXCHANGE))


def _is_unknown(name: str) -> bool:
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in Settings.model_fields


def _misspelt(name: str) -> str:
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}")
