"""Methods that draw; ``lake/pictures`` reads what a picture shows, and draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crypto_lakehouse.lake.reader.arguments import check_one_market
from crypto_lakehouse.lake.reader.methods.bars import BarMethods
from crypto_lakehouse.lake.reader.methods.rows import RowMethods
from crypto_lakehouse.lake.reader.times import Length, Time, time_range
from crypto_lakehouse.lake.reader.versions import AsOf

if TYPE_CHECKING:
    from crypto_lakehouse.lake.pictures.picture import Picture


class PictureMethods(RowMethods, BarMethods):
    """Pictures, drawn by Plotly or matplotlib, which are imported on first use."""

    def plot(
        self,
        symbol: str,
        bars: str = "1h",
        *,
        market: str | None = None,
        exchange: str = "binance",
        offset: str = "0m",
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        funding: bool = True,
        as_of: AsOf | None = None,
    ) -> Picture:
        """Draw candlesticks of a symbol with volume and funding rates.

        Stretches in which nothing was traded (filled) and pauses between bars are shaded.

        Parameters
        ----------
        symbol
            One symbol.
        bars
            Kind of bars, as in ``bars``.
        market
            One market; required.
        exchange
            Name of the exchange.
        offset
            As in ``bars``.
        start, end, last
            Range of open_time, as in ``bars``. Without ``start`` and ``last``: the newest 240 bars.
        funding
            Whether to draw funding rates, if the lake has any.
        as_of
            As in ``scan``.

        Returns
        -------
        Picture
            A notebook shows it as an interactive figure. ``save`` writes a ``.png`` (without a browser) or ``.html``
            file, ``png()`` returns bytes, ``figure`` is a Plotly figure, and ``data`` has the bars.

        Raises
        ------
        ValueError
            There are no bars in the range, or more than 20,000; and as in ``bars``.
        LakeError
            Plotly or matplotlib is not installed.

        Notes
        -----
        A bar is marked as filled if nothing was traded in at least half of its minutes. A pause is a ``gap`` if it
        starts a new segment (see gold.gaps), else the lake has ``no bars`` there.

        Examples
        --------
        >>> picture = lake.plot("BTCUSDT", market="um", start="2024-12-31", end="2025-01-01")
        >>> picture
        Candles('BTCUSDT, binance um, 1h, 2024-12-31 to 2024-12-31 (UTC)', 24 rows)
        >>> picture.save("chart.png").name
        'chart.png'
        """
        from crypto_lakehouse.lake.pictures.candles import candles

        return candles(self._at(as_of), symbol, bars, exchange, market, offset, time_range(start, end, last), funding)

    def plot_coverage(
        self,
        table: str = "silver.klines_1m",
        *,
        market: str,
        exchange: str = "binance",
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        as_of: AsOf | None = None,
    ) -> Picture:
        """Draw what the lake has of a table: one row per symbol, one column per day (or month), and its state.

        Parameters
        ----------
        table
            ``layer.table``. Gold tables have the states of the archive files that they are computed from.
        market
            One market.
        exchange
            Name of the exchange.
        symbols
            One symbol or several, or patterns as in LAKEHOUSE_SYMBOLS; None means all that the lake knows.
        start, end, last
            Range of UTC days, as in ``read``. Default: all that the lake knows.
        as_of
            As in ``scan``.

        Returns
        -------
        Picture
            As of ``plot``. Its ``data`` is a Polars frame with one row per symbol and partition: symbol, date (first
            UTC day of the partition), state, rows (of the archive file), filled (minutes), rejected (rows), reason.

        Raises
        ------
        KeyError
            The table, exchange or market is unknown.
        ValueError
            The table is not built from files of symbols, or the lake knows no file in the range.
        MissingLakeError
            There is no lake at this location.
        LakeError
            Plotly or matplotlib is not installed.

        Warns
        -----
        LakeWarning
            The table was never built: the warning gives the command that builds it.

        Notes
        -----
        The states are:

        - ``there``: the archive's file is in the partition.
        - ``filled``: so it is, but nothing was traded in 60 minutes of the day or more, by gold.bars_1d. Without these
          bars, minutes that are missing in the file count.
        - ``missing in the lake``: the partition was not built, or the download of the file failed.
        - ``missing in the archive``: the partition was built, and no file of the symbol was found for it, between its
          first and last file. A backfill with ``--symbols`` looks only for those symbols.
        - ``quarantined``: the file or some of its rows could not be used.

        Only the ledger, the quarantine, gold.bars_1d and the listing of the table are read. Before a symbol's first
        file and after its last one there are no rows, unless these files are of the oldest or newest partition of the
        lake.

        Examples
        --------
        >>> picture = lake.plot_coverage("silver.klines_1m", market="um")
        >>> picture.data.group_by("state").len().rows()
        [('there', 6)]
        """
        from crypto_lakehouse.lake.pictures.coverage import coverage_picture

        check_one_market("lake.plot_coverage", exchange, market)
        return coverage_picture(self._at(as_of), table, exchange, market, symbols, time_range(start, end, last))

    def plot_breadth(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str = "1d",
        *,
        market: str,
        exchange: str = "binance",
        average: int = 20,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        as_of: AsOf | None = None,
    ) -> Picture:
        """Draw the breadth of a market: how many symbols rise and fall, and are above their moving average.

        Parameters
        ----------
        symbols
            Symbols or patterns, as in ``bars``. Default: all with trades in the range, also those delisted since.
        interval
            Interval of the bars.
        market
            One market.
        exchange
            Name of the exchange.
        average
            Number of windows of the moving average.
        start, end, last
            Range of open_time, as in ``bars``. Bars before it that averages need are read, too.
        as_of
            As in ``scan``.

        Returns
        -------
        Picture
            As of ``plot``. Its ``data`` has a row for each window: open_time, symbols (with a return), advancing and
            declining (of them), averaged (symbols with a moving average), above (of them), advancing_share and
            above_share.

        Raises
        ------
        ValueError
            No symbol has two bars in a row in the range, or an argument is malformed.
        KeyError
            The exchange or market is unknown.
        LakeError
            Plotly or matplotlib is not installed.

        Warns
        -----
        LakeWarning
            As in ``bars``.

        Notes
        -----
        A return compares the close of a window with that of the window just before it, in the same segment. A symbol
        advances if its return is above 0, and declines if it is below. Its moving average is the mean of the closes of
        ``average`` windows without interruption. Windows in which a symbol was not traded interrupt its series.

        Examples
        --------
        >>> picture = lake.plot_breadth(interval="8h", market="um", average=3)
        >>> picture.data.select("open_time", "symbols", "advancing", "declining", "averaged", "above").row(-1)[1:]
        (2, 0, 2, 2, 0)
        """
        from crypto_lakehouse.lake.pictures.cross_section import breadth_picture

        times = time_range(start, end, last)
        return breadth_picture(self._at(as_of), symbols, interval, average, exchange, market, times)

    def plot_correlation(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str = "1d",
        *,
        market: str,
        exchange: str = "binance",
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        as_of: AsOf | None = None,
    ) -> Picture:
        """Draw the correlations of the returns of each two symbols.

        Parameters
        ----------
        symbols
            Symbols or patterns, as in ``bars``: at most 100 with bars. Default: all.
        interval
            Interval of the bars whose closes are compared.
        market
            One market.
        exchange
            Name of the exchange.
        start, end, last
            Range of open_time, as in ``bars``.
        as_of
            As in ``scan``.

        Returns
        -------
        Picture
            As of ``plot``. Its ``data`` has a row for each ordered pair: symbol, other, correlation, returns (how many
            windows have both).

        Raises
        ------
        ValueError
            Fewer than two symbols have bars in the range, or more than 100; or an argument is malformed.
        KeyError
            The exchange or market is unknown.
        LakeError
            Plotly or matplotlib is not installed.

        Warns
        -----
        LakeWarning
            As in ``bars``.

        Notes
        -----
        Pearson's coefficient of simple returns, over the windows in which both symbols have one; returns as in
        ``plot_breadth``. It is null for fewer than three common windows, and for a price that does not move.

        Examples
        --------
        >>> picture = lake.plot_correlation(["BTCUSDT", "ETHUSDT"], "1h", market="um")
        >>> picture.data["returns"].to_list()
        [71, 71, 71, 71]
        """
        from crypto_lakehouse.lake.pictures.cross_section import correlation_picture

        return correlation_picture(self._at(as_of), symbols, interval, exchange, market, time_range(start, end, last))
