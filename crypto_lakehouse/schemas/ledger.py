"""The ledger: the state of every archive file ever seen. Append-only."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

FILES = Schema(
    name="files",
    doc="One row per archive file, partition and change of its state; of a key and period, the row with the newest"
    " ingested_at is the current state.",
    columns=(
        Column("table", TEXT, "name", "Table that the file feeds."),
        Column("key", TEXT, "archive key", "Key of the file in the archive."),
        Column("symbol", TEXT, "name", "Symbol of the file."),
        Column(
            "period",
            TEXT,
            "YYYY-MM-DD or YYYY-MM",
            "Partition: the day or month in the file's name, or a day of a monthly file.",
        ),
        Column("size", INT, "bytes", "Size in the listing; null without a listing.", nullable=True),
        Column("etag", TEXT, "name", "ETag in the listing; null without a listing.", nullable=True),
        Column("last_modified", TIME, "UTC", "LastModified in the listing; null without a listing.", nullable=True),
        Column("sha256", TEXT, "hex", "sha256 of the bytes served; null if none were served.", nullable=True),
        Column("rows", INT, "1", "Rows that went to bronze."),
        Column("rejected_rows", INT, "1", "Rows that went to quarantine while parsing."),
        Column(
            "status",
            TEXT,
            "name",
            "ingested, quarantined, failed, superseded (the daily file is used instead), or no_file (nothing listed for"
            " the period, or no row of it in a monthly file).",
        ),
        Column("reason", TEXT, "code", "Code of the reason, if the status is not ingested.", nullable=True),
        Column("detail", TEXT, "text", "The reason in words.", nullable=True),
        Column("first_seen", TIME, "UTC", "When a listing first contained this key."),
        Column("ingested_at", TIME, "UTC", "When this row was written."),
    ),
    primary_key=("key", "period", "ingested_at"),
    time_column="ingested_at",
)
