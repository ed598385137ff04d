"""Gold continuous minutes, the gaps that split them into segments, and the state passed from day to day."""

from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TEXT, TIME, Column, Schema

CONTINUOUS = Schema(
    name="continuous",
    doc="Every minute of one symbol from its first trade on (not a rolled futures contract): the traded minutes of"
    " silver.klines_1m, and between them filled rows, which repeat the last close and have is_filled set. Minutes"
    " without a candle that are more than two gap thresholds after the last trade are filled only from the day on"
    " which trading resumes.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("open_time", TIME, "UTC", "Start of the minute."),
        Column("segment", INT, "1", "Starts at 0 and increases by one at each gap (gold.gaps)."),
        Column("open", FLOAT, "quote asset per base asset", "First price; in a filled row the last close."),
        Column("high", FLOAT, "quote asset per base asset", "Highest price; in a filled row the last close."),
        Column("low", FLOAT, "quote asset per base asset", "Lowest price; in a filled row the last close."),
        Column("close", FLOAT, "quote asset per base asset", "Last price; in a filled row the last close."),
        Column("base_volume", FLOAT, "base asset", "Traded volume; 0 in a filled row."),
        Column("quote_volume", FLOAT, "quote asset", "Traded value; 0 in a filled row."),
        Column("trade_count", INT, "1", "Number of trades; 0 in a filled row."),
        Column("taker_buy_base_volume", FLOAT, "base asset", "Volume in which the taker bought."),
        Column("taker_buy_quote_volume", FLOAT, "quote asset", "Value in which the taker bought."),
        Column("contracts", INT, "contracts", "COIN-M: contracts traded. Null elsewhere.", nullable=True),
        Column(
            "vwap",
            FLOAT,
            "quote asset per base asset",
            "quote_volume / base_volume, clamped to [low, high]; in a filled row its open.",
        ),
        Column("is_filled", FLAG, "true or false", "Nothing was traded: prices are forward-filled."),
        Column("in_archive", FLAG, "true or false", "The archive has a candle of this minute, even if without volume."),
        Column(
            "funding_rate",
            FLOAT,
            "1",
            "Funding rate of the event in this minute, 0 without one; null on spot, and where the month has no funding"
            " rate of the symbol: its file is missing or was rejected, or the contract has none. An event"
            " counts once a trade follows it, on its day or within two gap thresholds after it: funding files continue"
            " after a contract is settled.",
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
    doc="Pauses that break a series, one row each, in the partition of the day on which trading resumes. A pause is"
    " a gap iff (silence > D and |price_change| > P) or (silence > 2 D and price_change is not 0). A pause that is a"
    " gap only because days are missing from the lake has the reason missing_days and starts no new segment.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("gap_begin", TIME, "UTC", "open_time of the last traded minute before the gap."),
        Column("gap_end", TIME, "UTC", "open_time of the first traded minute after it."),
        Column("silence", INT, "minutes", "gap_end - gap_begin."),
        Column("close_before", FLOAT, "quote asset per base asset", "Last close before the gap."),
        Column("open_after", FLOAT, "quote asset per base asset", "First open after it."),
        Column("price_change", FLOAT, "1", "open_after / close_before - 1."),
        Column("tier", INT, "1", "1: silence > D and the price jumped; 2: silence > 2 D and the price moved at all."),
        Column("segment", INT, "1", "Segment of gap_end: a new one; for missing_days, the one before the gap."),
        Column(
            "reason",
            TEXT,
            "name",
            "silence: nothing was traded. missing_days: days of the gap are missing from the lake, and without them it"
            " would not be a gap.",
        ),
        Column(
            "missing_days",
            INT,
            "days",
            "Days of the gap that silver.klines_1m does not have for this symbol.",
        ),
    ),
    primary_key=("symbol", "gap_end"),
    time_column="gap_end",
)

SYMBOL_STATES = Schema(
    name="symbol_states",
    doc="State that each day passes to the next: one row per segment of each symbol that ever traded, as of the end"
    " of the partition's day.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("segment", INT, "1", "Segment of gold.continuous_1m; the newest one may continue."),
        Column("first_time", TIME, "UTC", "open_time of its first traded minute."),
        Column("last_time", TIME, "UTC", "open_time of its last traded minute."),
        Column("last_close", FLOAT, "quote asset per base asset", "close of that minute."),
        Column(
            "missing_days",
            INT,
            "days",
            "Days after last_time that silver.klines_1m does not have for this symbol.",
        ),
        Column(
            "has_ended",
            FLAG,
            "true or false",
            "Whether the series has ended: another segment follows, or nothing was traded for longer than two gap"
            " thresholds, on days that the lake has. If so, readers omit filled rows after last_time.",
        ),
        Column("prior", TEXT, "hex", "Fingerprint of the state at the start of the partition's day."),
    ),
    primary_key=("symbol", "segment"),
    time_column="last_time",
)
