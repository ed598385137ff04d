"""gold.missing_minutes: stretches of minutes of listed symbols for which the archive has no row, each with a reason."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

MISSING_MINUTES = Schema(
    name="missing_minutes",
    doc="One row per stretch of minutes without a row of the archive in silver.klines_1m, from the first to the last"
    " day of a symbol. A stretch ends at midnight, and where the reason changes. A minute in which nothing was traded"
    " usually has a row with volume 0, so it is not missing.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("start", TIME, "UTC", "First missing minute."),
        Column("end", TIME, "UTC", "The minute after the last missing one."),
        Column("minutes", INT, "minutes", "end - start."),
        Column(
            "reason",
            TEXT,
            "name",
            "not_listed: before the first row of the symbol's first day, or after the last row of its last day;"
            " not_fetched: this lake chose other symbols, failed to fetch the file, or quarantined it or its rows;"
            " archive_hole: another source has the minutes: REST, the trades, or the other file of the day;"
            " not_yet_published: the archive had no file when it was last listed, at most eight days after the day;"
            " exchange_halt: no symbol of the market has these minutes, and at least three have others of the day;"
            " no_trades: the ids of the trades before and after follow each other; lost: REST was asked and has no row;"
            " unknown: no other source was asked.",
        ),
        Column("evidence", TEXT, "JSON", "The facts that the reason follows from."),
    ),
    primary_key=("symbol", "start"),
    time_column="start",
)
