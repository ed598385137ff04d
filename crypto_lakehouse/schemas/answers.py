"""The ledger of answers: what an exchange's REST interface was asked, and what it answered. Append-only."""

from crypto_lakehouse.schemas.model import INT, TEXT, TIME, Column, Schema

ANSWERS = Schema(
    name="answers",
    doc="One row per request and partition that it is about. Of several rows about the same time, the newest"
    " fetched_at is the present state.",
    columns=(
        Column("table", TEXT, "name", "Table that the answer completes."),
        Column("request", TEXT, "path and query", "The request without the host, its parameters sorted."),
        Column("symbol", TEXT, "name", "Symbol that was asked for, as the archive writes it."),
        Column(
            "period",
            TEXT,
            "YYYY-MM-DD or YYYY-MM",
            "Partition that this row is about; for the first row of a symbol, the first partition of the table.",
        ),
        Column(
            "start",
            TIME,
            "UTC",
            "First instant of the time that the answer settles: the exchange has no other rows of it. Within the"
            " partition, but for requests for the first row of a symbol.",
        ),
        Column("end", TIME, "UTC", "End of that time, exclusive."),
        Column(
            "status",
            TEXT,
            "name",
            "answered (the exchange has rows of this time), empty (it confirmed that it has none), or refused.",
        ),
        Column("rows", INT, "1", "Rows of this time in the answer."),
        Column("sha256", TEXT, "hex", "sha256 of the body; null unless the status is answered.", nullable=True),
        Column("fetched_at", TIME, "UTC", "When the answer came, by the clock of this machine."),
        Column("server_time", TIME, "UTC", "Time of the exchange before the request.", nullable=True),
        Column("reason", TEXT, "code", "Code of a refusal.", nullable=True),
        Column("detail", TEXT, "text", "The refusal in words.", nullable=True),
    ),
    primary_key=("request", "period", "fetched_at"),
    time_column="fetched_at",
)
