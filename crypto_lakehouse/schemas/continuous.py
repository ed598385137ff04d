"""Gold continuous minutes, the gaps that cut them into segments, and the state carried between days."""

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

CONTINUOUS = Schema(
    name="continuous",
    doc="Every minute of a symbol from its first trade on: traded minutes of silver.klines_1m, and the quiet"
    " ones between them filled with the last close and marked. Not filled before the day on which trading"
    " resumes: what lies further behind the last trade than two gap thresholds, without a candle.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("open_time", TIME, "UTC", "Begin of the minute."),
        Column("segment", INT, "1", "Counts from 0 and rises by one at each gap (gold.gaps)."),
        Column("open", FLOAT, "quote asset per base asset", "First price; of a filled minute the last close."),
        Column("high", FLOAT, "quote asset per base asset", "Highest price; of a filled minute the last close."),
        Column("low", FLOAT, "quote asset per base asset", "Lowest price; of a filled minute the last close."),
        Column("close", FLOAT, "quote asset per base asset", "Last price; of a filled minute the last close."),
        Column("base_volume", FLOAT, "base asset", "Traded volume; 0 in a filled minute."),
        Column("quote_volume", FLOAT, "quote asset", "Traded value; 0 in a filled minute."),
        Column("trade_count", INT, "1", "Number of trades; 0 in a filled minute."),
        Column("taker_buy_base_volume", FLOAT, "base asset", "Volume in which the taker bought."),
        Column("taker_buy_quote_volume", FLOAT, "quote asset", "Value in which the taker bought."),
        Column("contracts", INT, "contracts", "COIN-M: contracts traded. Null elsewhere.", nullable=True),
        Column(
            "vwap",
            FLOAT,
            "quote asset per base asset",
            "quote_volume / base_volume, held within [low, high]; of a filled minute its open.",
        ),
        Column("is_filled", FLAG, "true or false", "Nothing was traded: prices are carried forward."),
        Column("in_archive", FLAG, "true or false", "The archive has a candle of this minute, be it without volume."),
        Column(
            "funding_rate",
            FLOAT,
            "1",
            "Funding rate of the event in this minute, 0 without one; null on spot, and where the month has"
            " no funding rate of the symbol: its file is not there or was refused, or the contract has none. An"
            " event after the day's last trade does not count: funding files go on after a contract is settled.",
            nullable=True,
        ),
        Column(
            "has_funding",
            FLAG,
            "true or false",
            "Whether funding took place in this minute; null where funding_rate is.",
            nullable=True,
        ),
    ),
    primary_key=("symbol", "open_time"),
    time_column="open_time",
)

GAPS = Schema(
    name="gaps",
    doc="Pauses that break a series, one row each, in the partition of the day on which trading resumes."
    " Gap iff (silence > D and |price_change| > P) or (silence > 2 D and price_change is not 0). One that is a gap"
    " only because the lake does not have days of it says so and cuts no segment.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("gap_begin", TIME, "UTC", "open_time of the last traded minute before the gap."),
        Column("gap_end", TIME, "UTC", "open_time of the first traded minute after it."),
        Column("silence", INT, "minutes", "gap_end - gap_begin."),
        Column("close_before", FLOAT, "quote asset per base asset", "Last close before the gap."),
        Column("open_after", FLOAT, "quote asset per base asset", "First open after it."),
        Column("price_change", FLOAT, "1", "open_after / close_before - 1."),
        Column("tier", INT, "1", "1: long and the price jumped; 2: twice as long and the price moved at all."),
        Column("segment", INT, "1", "Segment of gap_end: a new one, or where days are missing that before the gap."),
        Column(
            "reason",
            TEXT,
            "name",
            "silence: nothing was traded. missing_days: the lake does not have days of the gap, and without these it"
            " would be none.",
        ),
        Column("missing_days", INT, "days", "Days within the gap that are not in silver.klines_1m."),
    ),
    primary_key=("symbol", "gap_end"),
    time_column="gap_end",
)

SYMBOL_STATES = Schema(
    name="symbol_states",
    doc="What the next day needs to know of the days before: one row per segment of each symbol that ever traded,"
    " as of the end of the partition's day.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("segment", INT, "1", "Segment of gold.continuous_1m; the newest one may go on."),
        Column("first_time", TIME, "UTC", "open_time of its first traded minute."),
        Column("last_time", TIME, "UTC", "open_time of its last traded minute."),
        Column("last_close", FLOAT, "quote asset per base asset", "close of that minute."),
        Column("missing_days", INT, "days", "Days after last_time that are not in silver.klines_1m."),
        Column(
            "has_ended",
            FLAG,
            "true or false",
            "Whether the series is over: another segment follows, or nothing was traded for longer than two gap"
            " thresholds, on days that the lake has. Readers leave out what was filled after last_time then.",
        ),
        Column("prior", TEXT, "hex", "Fingerprint of the state that the partition's day began with."),
    ),
    primary_key=("symbol", "segment"),
    time_column="last_time",
)
