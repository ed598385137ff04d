"""How long after its end an exchange publishes a row, for those who follow it live.

The delays are upper bounds for a client that asks when a window ends; ``available_at`` adds them. When a file of the
archive appears is not stated here: the ledger of a lake says when it saw each file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Delay:
    """``after`` is the time from the end of a row's window, or from its event, until clients can have it."""

    after: timedelta
    reason: str


_CANDLE = Delay(timedelta(seconds=5), "The last trades of a window are counted some seconds after its end.")
_EVENT = Delay(timedelta(seconds=1), "Streams send an event in less than a second.")

DELAYS = {
    "klines": _CANDLE,
    "price_klines": _CANDLE,
    "trades": _EVENT,
    "agg_trades": _EVENT,
    "book_depth": _EVENT,
    "book_ticker": _EVENT,
    "liquidations": Delay(timedelta(seconds=2), "The stream sends at most one order per symbol and second."),
    "funding_rates": Delay(timedelta(seconds=60), "REST lists an event up to a minute after it."),
    "open_interest": Delay(timedelta(seconds=200), "REST has a point of five minutes 100 to 200 s after its end."),
    "volatility_index": _EVENT,
    "option_summaries": Delay(timedelta(minutes=1), "A summary is computed when its hour is over."),
}
"""The delay of each silver schema, by its name."""

LISTED = Delay(timedelta(0), "What is listed on a day is known when the day is over.")
"""The delay of instruments, after the end of the day."""
