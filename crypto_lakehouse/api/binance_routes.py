"""The endpoints below ``/binance``: the exchange's own paths, parameters and answers, over the rows of the lake.

Parameters, errors, order and shapes are in ``exchange_api``, rows in ``binance_rows.py``, problems in
``binance_errors.py``. What differs from the exchange is in ``docs/api/exchange-compatible.md``.
"""

from __future__ import annotations

import json
import time
from datetime import date, timedelta
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.binance_errors import PREFIX
from crypto_lakehouse.api.binance_listing import LakeListing
from crypto_lakehouse.api.binance_rows import LakeRows
from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.exchange_api.binance_answers import ExchangeApi
from crypto_lakehouse.exchange_api.binance_info import DERIVED, PLACEHOLDERS
from crypto_lakehouse.exchange_api.binance_parameters import TIME_UNIT, ApiError, paths
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.versions import open_as_of

_UNKNOWN_VOLUMES = "/futures/data/takerBuySellVol"


def add_binance(app: FastAPI, service: Service) -> None:
    """Add the endpoints of the exchange."""
    config = service.config
    lake, store = service.lake, service.store
    if config.exchange_as_of is not None:
        lake = Lakehouse(config.lake_uri, s3_endpoint_url=config.s3_endpoint_url, as_of=config.exchange_as_of)
        store = open_as_of(store, config.exchange_as_of)
    universe = None if config.exchange_universe is None else date.fromisoformat(config.exchange_universe)
    notes = {
        "lake": {
            "derivedFromDecimals": list(DERIVED),
            "placeholders": list(PLACEHOLDERS),
            "universe": config.exchange_universe,
            "asOf": config.exchange_as_of,
        }
    }
    rows = LakeRows(LakeListing(lake, store, universe))
    api = ExchangeApi(rows, lambda: time.time_ns() // 1_000_000, timedelta(0), has_reach=False, notes=notes)

    async def answer(request: Request) -> Response:
        path, query = request.url.path.removeprefix(PREFIX), dict(request.query_params)
        unit = request.headers.get(TIME_UNIT, "")

        def work() -> Any:
            if path == _UNKNOWN_VOLUMES:
                raise ApiError(-1000, "The lake has the ratio of taker volumes, and not the volumes.", 501)
            return api.answer(path, query, unit)

        try:
            body = await service.compute(work)
        except ApiError as error:
            CALL.get().outcome = f"code {error.code}"
            return answered(error.body, error.status)
        CALL.get().rows = len(body) if isinstance(body, list) else 1
        return answered(body, 200)

    for path in paths():
        app.add_api_route(f"{PREFIX}{path}", answer, methods=["GET"], include_in_schema=False)


def answered(body: Any, status: int) -> Response:
    """An answer as compact JSON."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    headers = {"Cache-Control": "private, no-cache"}
    return Response(text, status, headers, "application/json;charset=UTF-8")
