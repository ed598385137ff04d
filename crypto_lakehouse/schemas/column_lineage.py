"""From which columns of their inputs the columns of gold tables are made.

A column that is not listed is made of the column of the same name in the first input that has one. Silver needs no
list: ``transforms/column_lineage.py`` reads it from the cleaners.
"""

from __future__ import annotations

from collections.abc import Mapping

from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.gold import LISTING, GoldTable, split_name

_BARS = {
    "offset": (),
    "close_time": ("open_time",),
    "open": ("open", "open_time"),
    "close": ("close", "open_time"),
    "vwap": ("quote_volume", "base_volume", "low", "high"),
    "first_minute": ("open_time", "is_filled"),
    "last_minute": ("open_time", "is_filled"),
    "n_minutes": ("open_time",),
    "n_filled": ("is_filled",),
    "complete": ("in_archive",),
    "funding_rate": ("funding_rate", "open_time"),
    "funding_price": ("funding_rate", "open"),
    "funding_time": ("funding_rate", "open_time"),
    "funding_sum": ("funding_rate",),
    "funding_count": ("has_funding",),
}
_GAP = ("open_time", "open", "close")
_LAST_CLOSE = ("close",)
_IDS = ("trade_id",)

MADE_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "continuous": {
        "segment": _GAP,
        **{name: (name, *_LAST_CLOSE) for name in ("open", "high", "low")},
        "vwap": ("quote_volume", "base_volume", "low", "high", "close"),
        "is_filled": ("base_volume",),
        "in_archive": ("open_time",),
        "funding_rate": ("funding_rate", "funding_time"),
        "has_funding": ("funding_time",),
    },
    "gaps": {
        "gap_begin": ("open_time",),
        "gap_end": ("open_time",),
        "silence": ("open_time",),
        "close_before": ("close",),
        "open_after": ("open",),
        "price_change": ("open", "close"),
        "tier": _GAP,
        "segment": _GAP,
        "reason": _GAP,
        "missing_days": ("open_time",),
    },
    "symbol_states": {
        "segment": _GAP,
        "first_time": ("open_time",),
        "last_time": ("open_time",),
        "last_close": ("close",),
        "missing_days": ("open_time",),
        "has_ended": ("open_time",),
        "prior": (),
    },
    "bars": _BARS,
    "activity_bars": {
        **_BARS,
        "open_time": ("open_time", "quote_volume", "base_volume", "trade_count"),
        "close_time": ("open_time", "quote_volume", "base_volume", "trade_count"),
        "complete": ("in_archive", "quote_volume", "base_volume", "trade_count"),
    },
    "id_continuity": {
        "rows": _IDS,
        "first_id": _IDS,
        "last_id": _IDS,
        "first_time": (*_IDS, "time"),
        "last_time": (*_IDS, "time"),
        "missing_ids": _IDS,
        "missing_ranges": _IDS,
        "refused_ids": _IDS,
        "repeated_ids": _IDS,
        "removed_rows": (),
        "before_id": _IDS,
        "before_time": (*_IDS, "time"),
    },
    "missing_ids": {
        "first_missing_id": _IDS,
        "last_missing_id": _IDS,
        "missing_ids": _IDS,
        "refused": _IDS,
        "refused_ids": _IDS,
        "time_before": (*_IDS, "time"),
        "time_after": (*_IDS, "time"),
    },
    "missing_minutes": dict.fromkeys(("start", "end", "minutes", "reason", "evidence"), ("open_time",)),
}
"""By the name of the schema: the names of columns in the inputs."""


def gold_columns(entry: GoldTable) -> dict[str, list[tuple[str, str]]]:
    """Each column of a gold table with the (``layer.table``, column) that it is made of; none for constants.

    >>> from crypto_lakehouse.schemas.gold import find_gold_table
    >>> gold_columns(find_gold_table("bars_1h"))["n_filled"]
    [('gold.continuous_1m', 'is_filled')]
    """
    inputs = [name for name in (*entry.inputs, *entry.optional) if split_name(name)[0] != LISTING]
    known = {name: schema_of(*split_name(name)).column_names for name in inputs}
    made_of = MADE_OF.get(entry.schema.name, {})
    return {
        column: [
            (name, source)
            for source in made_of.get(column, (column,))
            for name in [next((each for each in inputs if source in known[each]), "")]
            if name
        ]
        for column in entry.schema.column_names
    }
