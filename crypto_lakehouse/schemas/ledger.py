"""The ledger: what became of every archive file that was ever seen. Append-only."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

FILES = Schema(
    name="files",
    doc="One row per archive file and change of its state; the newest ingested_at of a key is its present state.",
    columns=(
        Column("table", TEXT, "name", "Table that the file feeds."),
        Column("key", TEXT, "archive key", "Key of the file in the archive."),
        Column("symbol", TEXT, "name", "Symbol of the file."),
        Column("period", TEXT, "YYYY-MM-DD or YYYY-MM", "Day or month in the file's name."),
        Column("size", INT, "bytes", "Size in the listing; null where none is.", nullable=True),
        Column("etag", TEXT, "name", "ETag in the listing; null where none is.", nullable=True),
        Column("last_modified", TIME, "UTC", "LastModified in the listing; null where none is.", nullable=True),
        Column("sha256", TEXT, "hex", "sha256 of the bytes served; null where none were.", nullable=True),
        Column("rows", INT, "1", "Rows that went to bronze."),
        Column("rejected_rows", INT, "1", "Rows that went to quarantine while parsing."),
        Column("status", TEXT, "name", "ingested, quarantined, failed, or no_file (nothing listed for the period)."),
        Column("reason", TEXT, "code", "Why, where the status is not ingested.", nullable=True),
        Column("detail", TEXT, "text", "The same for people.", nullable=True),
        Column("first_seen", TIME, "UTC", "When this key was first listed to us."),
        Column("ingested_at", TIME, "UTC", "When this row was written."),
    ),
    primary_key=("key", "ingested_at"),
    time_column="ingested_at",
)
