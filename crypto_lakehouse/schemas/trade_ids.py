"""Gold tables of trade ids: the number of rows and ids of a symbol on a day, and the missing ids."""

from crypto_lakehouse.schemas.model import FLAG, INT, TEXT, TIME, Column, Schema

ID_CONTINUITY = Schema(
    name="id_continuity",
    doc="One row per symbol and day with rows in silver: its ids, and which are missing, repeated or removed. Ids are"
    " compared with those of the day before, if silver has that day; a symbol without rows on it starts over.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("rows", INT, "1", "Rows in silver."),
        Column("first_id", INT, "1", "Smallest trade_id of the day."),
        Column("last_id", INT, "1", "Greatest trade_id of the day."),
        Column("first_time", TIME, "UTC", "Time of the trade first_id."),
        Column("last_time", TIME, "UTC", "Time of the trade last_id."),
        Column("missing_ids", INT, "1", "Ids between before_id and last_id without a row."),
        Column("missing_ranges", INT, "1", "Ranges of missing_ids; the table of missing ids lists them."),
        Column("refused_ids", INT, "1", "Ids of missing_ids whose rows this lake rejected: the archive has them."),
        Column("repeated_ids", INT, "1", "Rows whose id is not above before_id: an earlier day already reached it."),
        Column(
            "removed_rows",
            INT,
            "1",
            "Rows of bronze that are not in silver: duplicates and rejected rows. Null if bronze has no such day.",
            nullable=True,
        ),
        Column("before_id", INT, "1", "last_id of the day before; null if silver has none.", nullable=True),
        Column("before_time", TIME, "UTC", "last_time of the day before; null if silver has none.", nullable=True),
    ),
    primary_key=("symbol",),
    time_column="first_time",
)

MISSING_IDS = Schema(
    name="missing_ids",
    doc="Ranges of ids without a row, one row each, in the partition of the day of the first row after the range: ids"
    " lost between two days are listed in the later one. A whole range is either rejected by this lake or missing in"
    " the archive.",
    columns=(
        Column("symbol", TEXT, "name", "Symbol as the exchange writes it."),
        Column("first_missing_id", INT, "1", "First trade_id that is missing."),
        Column("last_missing_id", INT, "1", "Last trade_id of the range."),
        Column("missing_ids", INT, "1", "Ids in the range."),
        Column(
            "refused",
            FLAG,
            "true or false",
            "Whether this lake rejected the rows with these ids, which the archive has: quarantine.rejected has the"
            " reasons.",
        ),
        Column("time_before", TIME, "UTC", "Time of the row before the range."),
        Column("time_after", TIME, "UTC", "Time of the row after the range."),
    ),
    primary_key=("symbol", "first_missing_id"),
    time_column="time_after",
)
