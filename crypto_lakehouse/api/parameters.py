"""The arguments of endpoints, with their descriptions and examples for OpenAPI. An unknown argument is an error."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.formats import Form
from crypto_lakehouse.lake.reader.times import TimeRange, time_range

MOST_OF_A_PAGE = 100_000


class Arguments(BaseModel):
    """What every endpoint with rows takes."""

    model_config = ConfigDict(extra="forbid")

    format: Form | None = Field(None, description="Format of the answer; it wins over the header Accept.")


class OfExchange(Arguments):
    """The exchange of a request."""

    exchange: str = Field("binance", max_length=64, description="Name of the exchange.")


class OfMarket(OfExchange):
    """One market."""

    market: str = Field(max_length=64, description="One market: spot, um, cm or option.", examples=["um"])


class AtTime(OfExchange):
    """The state of the lake that is read."""

    as_of: str | None = Field(
        None, max_length=100, description="A time of the lake, or a snapshot: its rows as it held them then."
    )


class Range(AtTime):
    """A range [start, end) in UTC."""

    start: str | None = Field(
        None, max_length=64, description="Inclusive: ISO 8601, a day or a month; UTC.", examples=["2024-12-31"]
    )
    end: str | None = Field(None, max_length=64, description="Exclusive, in the same forms.", examples=["2025-01-01"])
    last: str | None = Field(
        None, max_length=64, description="Length of the range instead of start: 30d, 12h, 90m, 4w.", examples=["2d"]
    )

    @property
    def times(self) -> TimeRange:
        """The range, parsed. Raises ValueError."""
        return time_range(self.start, self.end, self.last)

    @property
    def range(self) -> dict[str, Any]:
        """The range as arguments of the reader."""
        return {"start": self.start, "end": self.end, "last": self.last}

    @property
    def versions(self) -> dict[str, Any]:
        """What chooses versions of rows, as arguments of the reader."""
        return {"as_of": self.as_of}

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Start and end, None where open or where ``last`` decides."""
        times = self.times
        return (None, times.end) if times.last is not None else (times.start, times.end)


class Known(Range):
    """A range of rows, of those that were known at a time."""

    known_by: str | None = Field(None, max_length=64, description="Only what was known at this time, UTC.")

    @property
    def versions(self) -> dict[str, Any]:
        """What chooses versions of rows, as arguments of the reader."""
        return {"as_of": self.as_of, "known_by": self.known_by}


class Rows(Known):
    """Rows of a table."""

    market: list[str] | None = Field(
        None, max_length=16, description="One market, or repeated for several; by default all.", examples=[["um"]]
    )
    symbols: str | None = Field(
        None,
        max_length=20_000,
        description="Names, patterns and exclusions with commas: BTCUSDT,*USDC,!USDCUSDT; by default all.",
        examples=["BTCUSDT,ETHUSDT"],
    )
    columns: str | None = Field(
        None, max_length=4_000, description="Names with commas; by default all.", examples=["symbol,open_time,close"]
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=MOST_OF_A_PAGE,
        description="The most rows of the answer, a page; Next-Cursor then says where the next one starts. Without it"
        " all rows are streamed.",
        examples=[1000],
    )
    cursor: str | None = Field(
        None, max_length=2_000, description="Next-Cursor of the page before, with the same other arguments."
    )

    @property
    def column_names(self) -> list[str] | None:
        """The columns; None for all."""
        return names(self.columns)


class Funding(Known):
    """Funding events."""

    market: list[str] | None = Field(
        None, max_length=16, description="um or cm, or repeated for both; by default all.", examples=[["um"]]
    )
    symbols: str | None = Field(
        None, max_length=20_000, description="As for rows; by default all.", examples=["BTCUSDT"]
    )
    columns: str | None = Field(
        None, max_length=4_000, description="As for rows.", examples=["symbol,funding_time,funding_rate"]
    )
    limit: int | None = Field(None, ge=1, le=MOST_OF_A_PAGE, description="The most rows: the first ones.")


class Bars(Known):
    """Bars of any kind."""

    market: str = Field(max_length=64, description="One market.", examples=["um"])
    bars: str = Field(
        max_length=64,
        description="An interval (3m to 1w, 1mo), or an activity and its threshold: dollar:1000000, volume:100,"
        " tick:5000.",
        examples=["1h"],
    )
    symbols: str | None = Field(None, max_length=20_000, description="As for rows.", examples=["BTCUSDT"])
    offset: str = Field("0m", max_length=16, description="Shift of the windows of an interval: 5m, 1h.")
    limit: int | None = Field(None, ge=1, le=MOST_OF_A_PAGE, description="The most rows: the first ones.")


class Panel(Known):
    """A matrix of time and symbol."""

    market: str = Field(max_length=64, description="One market.", examples=["um"])
    field: str = Field(max_length=64, description="A column of numbers of gold.bars_1h.", examples=["close"])
    symbols: str | None = Field(None, max_length=20_000, description="As for rows.", examples=["BTCUSDT,ETHUSDT"])
    interval: str = Field("1d", max_length=16, description="1m, or an interval that bars takes.")
    offset: str = Field("0m", max_length=16, description="As for bars.")
    fill: str | None = Field(None, pattern="^forward$", description="forward: the last price before fills empty cells.")


class Symbols(Range):
    """Symbols of a market that the lake holds."""

    market: str = Field(max_length=64, description="One market.", examples=["um"])
    table: str | None = Field(
        None, max_length=128, description="Symbols with rows in this table.", examples=["silver.klines_1m"]
    )


class Universe(Known):
    """Instruments that were listed on a day, or on each day of a range."""

    market: str = Field(max_length=64, description="One market.", examples=["um"])
    on: str | None = Field(None, max_length=64, description="One UTC day instead of a range.", examples=["2025-01-01"])
    quote: list[str] | None = Field(None, max_length=64, description="Quote assets, repeated for several.")
    contract_type: list[str] | None = Field(
        None, max_length=3, description="spot, perpetual or delivery, repeated for several."
    )
    stable_pairs: bool = Field(True, description="Include pairs of stablecoins.")
    leveraged: bool = Field(False, description="Include leveraged tokens.")
    settled: bool = Field(False, description="Include settled contracts under their new names.")


class Coverage(AtTime):
    """What the lake holds of a symbol."""

    market: str | None = Field(None, max_length=64, description="One market; by default all.", examples=["um"])


class Quality(OfExchange):
    """Faults of a table."""

    market: list[str] | None = Field(None, max_length=16, description="Markets; by default all.")


class Query(BaseModel):
    """A query of DuckDB and the values of its parameters."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(max_length=100_000, examples=["SELECT count(*) FROM gold.bars_1h WHERE market = $market"])
    as_of: str | None = Field(None, max_length=100, description="As for rows.")
    params: dict[str, Any] | list[Any] | None = Field(None, examples=[{"market": "um"}])


def note(table: str, query: Range, markets: Sequence[str] | None) -> None:
    """Put what a request reads into its line of the log: checked values only."""
    start, end = (None if time is None else time.isoformat() for time in query.bounds)
    CALL.get().facts.update(
        table=table, exchange=query.exchange, markets=list(markets) if markets else "all", start=start, end=end
    )


def names(text: str | None) -> list[str] | None:
    """The names of a list with commas; None if there is none."""
    return [name for each in (text or "").split(",") if (name := each.strip())] or None
