"""Gold tables of trade ids: how many rows and ids a symbol has on a day, and which ids are missing."""

from crypto_lakehouse.schemas.model import FLAG, INT, TEXT, TIME, Column, Schema

ID_CONTINUITY = Schema(
    name="id_continuity",
    doc="One row per symbol and day that has rows in silver: its ids, and what is missing, repeated or removed."
    " Ids are compared with those of the day before, where silver has that day; a symbol without rows on it"
    " begins anew.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("rows", INT, "1", "Rows in silver."),
        Column("first_id", INT, "1", "Smallest trade_id of the day."),
        Column("last_id", INT, "1", "Greatest trade_id of the day."),
        Column("first_time", TIME, "UTC", "When the trade first_id took place."),
        Column("last_time", TIME, "UTC", "When the trade last_id took place."),
        Column("missing_ids", INT, "1", "Ids between before_id and last_id that no row has."),
        Column("missing_ranges", INT, "1", "Stretches that they make, which the table of missing ids lists."),
        Column("refused_ids", INT, "1", "Of missing_ids, those whose rows this lake refused: the archive has them."),
        Column("repeated_ids", INT, "1", "Rows whose id is not above before_id: ids that an earlier day had reached."),
        Column(
            "removed_rows",
            INT,
            "1",
            "Rows of bronze that silver has not: duplicates and refused ones. Null where bronze lacks the day.",
            nullable=True,
        ),
        Column("before_id", INT, "1", "last_id of the day before; null where silver has none.", nullable=True),
        Column("before_time", TIME, "UTC", "last_time of the day before; null likewise.", nullable=True),
    ),
    primary_key=("symbol",),
    time_column="first_time",
)

MISSING_IDS = Schema(
    name="missing_ids",
    doc="Ranges of ids that no row has, one row each, in the partition of the day of the first row behind it:"
    " what is lost between two days is listed in the later one. A range is either refused here or missing in the"
    " archive, as a whole.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("first_missing_id", INT, "1", "First trade_id that is missing."),
        Column("last_missing_id", INT, "1", "Last trade_id of the range."),
        Column("missing_ids", INT, "1", "Ids in the range."),
        Column(
            "refused",
            FLAG,
            "true or false",
            "Whether this lake refused the rows with these ids, which the archive has: quarantine.rejected says why.",
        ),
        Column("time_before", TIME, "UTC", "Time of the row before the range."),
        Column("time_after", TIME, "UTC", "Time of the row behind it."),
    ),
    primary_key=("symbol", "first_missing_id"),
    time_column="time_after",
)
