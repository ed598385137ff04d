"""The quarantine: rejected files and rows, each with the reason. Append-only."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

REJECTED = Schema(
    name="rejected",
    doc="One row per rejected file (source_line null) or row, with the reason and the text of the row.",
    columns=(
        Column("table", TEXT, "name", "Table of the file or row."),
        Column("layer", TEXT, "name", "Layer that rejected it: bronze or silver."),
        Column("period", TEXT, "YYYY-MM-DD or YYYY-MM", "Partition of the file or row."),
        Column("symbol", TEXT, "name", "Symbol of the file."),
        Column("source_key", TEXT, "archive key", "Archive file."),
        Column("source_sha256", TEXT, "hex", "sha256 of the bytes; null if none were served.", nullable=True),
        Column("source_line", INT, "1", "Line in the CSV, from 1; null for a whole file.", nullable=True),
        Column("reason", TEXT, "code", "A short code such as checksum_mismatch or negative_price."),
        Column("detail", TEXT, "text", "The reason in words."),
        Column("raw", TEXT, "text", "Text of the row in the file; null for files.", nullable=True),
        Column("seen_at", TIME, "UTC", "When it was first rejected."),
    ),
    primary_key=("source_key", "period", "source_line", "reason", "seen_at"),
    time_column="seen_at",
)
