"""Silver funding rates: one row per symbol and funding event."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

FUNDING_RATES = Schema(
    name="funding_rates",
    doc="Funding events of perpetual contracts: one row per symbol and funding_hour. The archive continues with events"
    " of settled contracts: their rows stay, no bar counts them, and the column `is_after_end` marks them,"
    " if a read names it: `lake.read(columns=...)`. The files, SQL and `describe` do not have it.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("funding_time", TIME, "UTC", "Exact time of the event, up to some milliseconds past the hour."),
        Column("funding_hour", TIME, "UTC", "funding_time floored to the hour."),
        Column(
            "interval_hours",
            INT,
            "hours",
            "Hours between funding events at that time: 8, 4 or 1; of rest rows, to the nearest event.",
        ),
        Column("funding_rate", FLOAT, "1", "Rate paid by longs to shorts for the interval; 0.0001 is 0.01 %."),
        Column(
            "mark_price",
            FLOAT,
            "quote asset per base asset",
            "Mark price of rest rows since 2023-10-31 08:00; null in others.",
            nullable=True,
        ),
        Column("source", TEXT, "name", "Source of the row: archive_monthly or rest."),
    ),
    primary_key=("symbol", "funding_hour"),
    time_column="funding_time",
)
