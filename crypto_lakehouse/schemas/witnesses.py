"""gold.witnesses: for each symbol and day of a klines table, whether its sources agree."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema


def _difference(source: str, against: str) -> tuple[Column, ...]:
    """The columns of one comparison; ``source`` starts their names."""
    return (
        Column(
            f"{source}_different_rows",
            INT,
            "1",
            f"open_times that both have with another value, {against}; null without a comparison.",
            nullable=True,
        ),
        Column(
            f"{source}_largest",
            FLOAT,
            "1",
            "Largest difference of these rows: abs(a - b) / max(abs(a), abs(b)), 1 if only one side has a value.",
            nullable=True,
        ),
        Column(f"{source}_column", TEXT, "name", "Column of that difference.", nullable=True),
        Column(f"{source}_time", TIME, "UTC", "open_time of that difference.", nullable=True),
    )


WITNESSES = Schema(
    name="witnesses",
    doc="One row per symbol, day and klines table whose daily and monthly files were compared. Rows are those that"
    " silver would have of each file alone: one per open_time, in canonical columns and units; close_time is not"
    " compared. REST answers and trades are compared with the rows of the daily file, and with those that only the"
    " monthly file has. A file that cannot be used counts as missing, and detail says why. Comparing changes neither"
    " bronze nor silver: LAKEHOUSE_ARCHIVE_FILES says which file a day is built from.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("table", TEXT, "name", "Table of the compared files, such as klines_1m."),
        Column("day", TIME, "UTC", "Start of the day."),
        Column(
            "verdict",
            TEXT,
            "name",
            "agree; values_differ: a row that both have differs; monthly_short or daily_short: that file misses rows of"
            " the other (if each misses rows, the one that misses more; monthly_short if as many); only_daily or"
            " only_monthly: the other has no row of the day; no_rows: neither has one.",
        ),
        Column("daily_rows", INT, "1", "Rows of the daily file; null without a file.", nullable=True),
        Column("monthly_rows", INT, "1", "Rows of this day in the monthly file; null without a file.", nullable=True),
        Column("missing_in_daily", INT, "1", "open_times that only the monthly file has."),
        Column("missing_in_monthly", INT, "1", "open_times that only the daily file has."),
        *_difference("monthly", "daily against monthly file"),
        Column("rest_rows", INT, "1", "Rows of REST answers that the lake has; null if it has none.", nullable=True),
        Column("rest_only", INT, "1", "open_times that only REST has; null without answers.", nullable=True),
        *_difference("rest", "REST against the files"),
        Column("trades_table", TEXT, "name", "Table that bars were rebuilt from: trades or agg_trades.", nullable=True),
        Column("trades_rows", INT, "1", "Bars rebuilt from trades; null if the lake has none.", nullable=True),
        Column(
            "trades_missing",
            INT,
            "1",
            "Bars with volume that only one of both has; null without a comparison.",
            nullable=True,
        ),
        *_difference("trades", "rebuilt bars against the files, beyond rounding, where both have volume"),
        Column("daily_sha256", TEXT, "hex", "sha256 of the daily file; null without bytes.", nullable=True),
        Column("monthly_sha256", TEXT, "hex", "sha256 of the monthly file; null without bytes.", nullable=True),
        Column("daily_etag", TEXT, "name", "ETag of the compared daily file; null if it is to be tried again.", True),
        Column(
            "monthly_etag", TEXT, "name", "ETag of the compared monthly file; null if it is to be tried again.", True
        ),
        Column("detail", TEXT, "text", "Why a file or rows of it were not used; null if all were.", nullable=True),
    ),
    primary_key=("symbol", "table"),
    time_column="day",
)
