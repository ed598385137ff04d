"""The quarantine: rejected files and rows, each with the reason. Append-only."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

REJECTED = Schema(
    name="rejected",
    doc="One row per rejected file (source_line null) or row, with the reason and the text of the row.",
    columns=(
        Column("table", TEXT, "name", "Table that the file or row was meant for."),
        Column("layer", TEXT, "name", "Layer that refused it: bronze or silver."),
        Column("period", TEXT, "YYYY-MM-DD or YYYY-MM", "Partition that it was meant for."),
        Column("symbol", TEXT, "name", "Symbol of the file."),
        Column("source_key", TEXT, "archive key", "Archive file."),
        Column("source_sha256", TEXT, "hex", "sha256 of the bytes, where any were served.", nullable=True),
        Column("source_line", INT, "1", "Line in the CSV, from 1; null where the whole file is meant.", nullable=True),
        Column("reason", TEXT, "code", "A short code such as checksum_mismatch or negative_price."),
        Column("detail", TEXT, "text", "What was found, for people."),
        Column("raw", TEXT, "text", "The row as it was read; null for files.", nullable=True),
        Column("seen_at", TIME, "UTC", "When it was first refused."),
    ),
    primary_key=("source_key", "source_line", "reason", "seen_at"),
    time_column="seen_at",
)
