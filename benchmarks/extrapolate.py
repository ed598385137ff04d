"""Estimates for the whole archive: rows, files, storage, requests, hours and cost, from the constants below.

``python -m benchmarks.extrapolate`` prints the tables of ``docs/specs/performance-requirements.md``. This module only
calculates: other modules measure the measured constants, and assumptions are marked as such.
"""

from __future__ import annotations

from dataclasses import dataclass

SYMBOLS = 3_600 + 830 + 270
"""spot, um and cm: symbols in the archive's listing, including delisted ones."""
DAYS = 9 * 365 + 2
SYMBOL_DAYS = 10_000_000
"""Assumed: symbols are listed and delisted, so one has about 2,130 days on average; all days would be 15.4 million."""
CHUNK_DAYS = 31
"""Partitions of a run; a run lists each symbol once."""
PARTITIONS = DAYS + 2_535 + 2_200
"""Dates of the three markets."""

LISTINGS_PER_SECOND = 1_484
"""Measured by ``benchmarks download``, one process, two cores with the server."""
DOWNLOADS_PER_SECOND = {0: 961, 100: 482}
"""Zips with their CHECKSUM per second and process, by round trip in ms: measured by ``benchmarks download``."""
CORES = (2, 16, 160)

STORAGE = 0.023
"""USD per GB and month: S3 Standard, us-east-1, first 50 TB, by AWS's price list. Assumed for all of it."""
PUT, GET = 0.005 / 1000, 0.0004 / 1000
"""USD per request: S3 Standard, by AWS's price list. Bytes into S3 cost nothing."""
CORE_HOUR = 0.05
"""USD, assumed: about the price of one core of a general-purpose machine on demand."""


@dataclass(frozen=True, slots=True)
class Table:
    """Sizes and rates of one table.

    ``zipped``, ``bronze`` and ``silver`` are bytes per row. ``rows_per_second`` is the rate of one core from zips to
    bronze and silver, including verification.
    """

    name: str
    rows_per_symbol_day: int
    zipped: float
    bronze: float
    silver: float
    rows_per_second: float

    @property
    def rows(self) -> int:
        """Rows in the whole archive."""
        return self.rows_per_symbol_day * SYMBOL_DAYS

    def hours(self, cores: int) -> float:
        """Hours to ingest all rows. Runs of different dates share nothing, so cores are assumed to scale linearly."""
        return self.rows / self.rows_per_second / cores / 3600


TABLES = (
    # Bytes: real files of FILUSDT and NEARUSDT (um) in August 2023. Rate: ``benchmarks ingest``, 865
    # files a second on two cores.
    Table("klines_1m", 1440, 32, 29.2, 28.8, 432 * 1440),
    # Bytes: a real file of BTCUSD_PERP (cm). Rows per symbol and day are assumed, from the ids of the largest pairs.
    Table("agg_trades", 20_000, 12.6, 4.6, 13.3, 1_000_000),
    # Bytes are assumed to be those of aggregate trades.
    Table("trades", 35_000, 12.6, 4.6, 13.3, 1_000_000),
)


def storage() -> list[list[str]]:
    """Rows, files and bytes by table."""
    found = [["table", "rows", "zips", "zips, TB", "bronze, TB", "silver, TB", "USD a month"]]
    for table in TABLES:
        parts = [table.rows * size / 1e12 for size in (table.zipped, table.bronze, table.silver)]
        names = [table.name, f"{table.rows / 1e9:,.1f} bn", f"{SYMBOL_DAYS / 1e6:,.0f} M"]
        found.append([*names, *(f"{part:,.2f}" for part in parts), f"{sum(parts) * 1000 * STORAGE:,.0f}"])
    return found


def requests() -> list[list[str]]:
    """Requests of one backfill of a table, to the archive and to the lake."""
    listings = sum(-(-days // CHUNK_DAYS) * count for days, count in ((DAYS, 3_600), (2_535, 830), (2_200, 270)))
    # Assumed: each partition writes bronze, silver, one gold table and the ledger; reading each takes two requests.
    puts, gets = SYMBOL_DAYS + 4 * PARTITIONS, 8 * PARTITIONS
    return [
        ["requests of a table's backfill", "number", "takes or costs"],
        ["listings", f"{listings:,}", f"{listings / LISTINGS_PER_SECOND / 60:,.0f} min in one process"],
        [
            "downloads (zip and CHECKSUM)",
            f"{2 * SYMBOL_DAYS:,}",
            " / ".join(f"{SYMBOL_DAYS / rate / 3600:,.1f} h at {ms} ms" for ms, rate in DOWNLOADS_PER_SECOND.items())
            + " in one process, small files",
        ],
        ["PUT, zips kept", f"{puts:,}", f"{puts * PUT:,.0f} USD"],
        ["PUT, zips dropped", f"{4 * PARTITIONS:,}", f"{4 * PARTITIONS * PUT:,.2f} USD"],
        ["GET and HEAD", f"{gets:,}", f"{gets * GET:,.2f} USD"],
    ]


def hours() -> list[list[str]]:
    """Hours and cost of the work by table and cores, and the load on the archive."""
    found = [["table", *(f"hours on {cores} cores" for cores in CORES), "USD for cores", "archive to 160 cores"]]
    for table in TABLES:
        need = table.rows * table.zipped / (table.hours(CORES[-1]) * 3600)
        files = SYMBOL_DAYS / (table.hours(CORES[-1]) * 3600)
        found.append(
            [
                table.name,
                *(f"{table.hours(cores):,.2f}" for cores in CORES),
                f"{table.hours(1) * CORE_HOUR:,.1f}",
                f"{need * 8 / 1e9:,.0f} Gbit/s, {2 * files:,.0f} requests/s",
            ]
        )
    return found


def markdown(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its header."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body]).replace("| --- ", "|---")


if __name__ == "__main__":
    print("\n\n".join(markdown(made()) for made in (storage, hours, requests)))
