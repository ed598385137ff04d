"""The ledger: the state of every archive file ever seen, and what replaced partitions changed. Append-only."""

from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

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

REVISIONS = Schema(
    name="revisions",
    doc="One row per symbol of a silver partition that was replaced by other rows: what the replacement changed.",
    columns=(
        Column("table", TEXT, "name", "Table of the partition."),
        Column("symbol", TEXT, "name", "Symbol whose rows differ."),
        Column("period", TEXT, "YYYY-MM-DD or YYYY-MM", "Partition."),
        Column("added", INT, "1", "Rows that only the new version has."),
        Column("removed", INT, "1", "Rows that only the old version had."),
        Column("changed", INT, "1", "Rows of both versions with other values."),
        Column(
            "largest_price_move",
            FLOAT,
            "1",
            "Greatest change of a price, relative to the old one; null if no price changed.",
            nullable=True,
        ),
        Column(
            "old_sha256",
            TEXT,
            "hex",
            "sha256 of the archive files and REST answers of the old version, with commas; null if unknown.",
            nullable=True,
        ),
        Column(
            "new_sha256",
            TEXT,
            "hex",
            "sha256 of the archive files and REST answers of the new version, with commas; null if unknown.",
            nullable=True,
        ),
        Column("known_from", TIME, "UTC", "Since when the lake held the old version."),
        Column("known_to", TIME, "UTC", "When the lake replaced it."),
    ),
    primary_key=("symbol", "period", "known_to"),
    time_column="known_to",
)
