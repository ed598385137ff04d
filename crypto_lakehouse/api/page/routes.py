"""The pages. Each checks the scope, reads with ``Lakehouse`` and fills a template."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

import duckdb
import polars as pl
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.page.candles import chart_data, marks_of
from crypto_lakehouse.api.page.contents import days_with_faults, quality_rows, revisions_of, table_rows
from crypto_lakehouse.api.page.coverage import CoverageAnswers
from crypto_lakehouse.api.page.entry import COOKIE, SESSION, is_same_origin, local_path
from crypto_lakehouse.api.page.rendering import FILES, LOGIN, file_answer, html
from crypto_lakehouse.api.page.views import Day, next_days, symbol_range
from crypto_lakehouse.api.problems import KINDS, Problem, asking, without
from crypto_lakehouse.api.scopes import allowed_markets, require_all, require_table
from crypto_lakehouse.api.states import etag, is_known
from crypto_lakehouse.catalog.bars import BAR_INTERVALS

MINUTES, FUNDING, INSTRUMENTS = "gold.continuous_1m", "silver.funding_rates", "gold.instruments"
SHOWN_ROWS = 1_000
"""The most rows of a table on a page."""

Name = Annotated[str, Query(max_length=64)]
TableName = Annotated[str, Query(max_length=128)]
Text = Annotated[str, Query(max_length=200)]


def page_routes(service: Service) -> APIRouter:
    """All pages, their files and data, which OpenAPI does not list."""
    router, lake = APIRouter(include_in_schema=False), service.lake
    answers = CoverageAnswers(service)

    async def show(template: str, work: Callable[[], dict[str, Any]], section: str, is_heavy: bool = False) -> Response:
        def run() -> Response:
            values = {"problem": None, **work()}
            call, problem = CALL.get(), values["problem"]
            shared = {
                "section": section,
                "sql": service.config.sql,
                "token": call.token.name if call.token else None,
                "warnings": [without(text, service.places) for text in call.warnings],
            }
            return html(template, problem["status"] if problem else 200, **shared, **values)

        return await (service.compute_alone(run) if is_heavy else service.compute(run))

    def tried(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was read, or the problem to show within the page, next to its form."""
        try:
            with asking(*service.places):
                return read()
        except Problem as problem:
            if problem.status >= 500:
                raise
            CALL.get().outcome = problem.kind
            status, title, step = KINDS[problem.kind]
            return {"problem": {"status": status, "title": title, "detail": problem.detail, "next": step}}

    @router.get("/")
    async def home(exchange: Name = "", market: Name = "", table: TableName = "") -> Response:
        def work() -> dict[str, Any]:
            choices = [row for row in table_rows(service) if row["layer"] == "silver" and row["is_of_files"]]
            wanted = (exchange or "binance", market, table or "silver.klines_1m")
            known = [(row["exchange"], row["market"], f"silver.{row['table']}") for row in choices]
            fitting = [each for each in known if market in ("", each[1]) and each[2] == wanted[2]]
            chosen = wanted if market else next(iter(sorted(fitting, key=lambda each: each[1] != "um")), None)
            if chosen is None and known:
                chosen = known[0]
            return {"choices": known, "chosen": chosen}

        return await show("coverage.html", work, "coverage")

    @router.get("/page/data/coverage")
    async def coverage(request: Request, exchange: Name, market: Name, table: TableName) -> Response:
        def work() -> Response:
            allowed_markets(table, exchange, [market])
            CALL.get().facts.update(table=table, exchange=exchange, markets=[market])
            digest = answers.digest(table, exchange, market)
            headers = {"ETag": etag(digest), "Cache-Control": "private, no-cache"}
            if is_known(request.headers.get("if-none-match", ""), headers["ETag"]):
                return Response(status_code=304, headers=headers)
            return Response(answers.get(table, exchange, market, digest), 200, headers, "application/octet-stream")

        return await service.compute_alone(work)

    @router.get("/page/symbol")
    async def symbol(
        symbol: Name = "",
        exchange: Name = "binance",
        market: Name = "um",
        bars: Name = "",
        day: Name = "",
        start: Name = "",
        end: Name = "",
    ) -> Response:
        def work() -> dict[str, Any]:
            asked = {"symbol": symbol.strip().upper(), "exchange": exchange, "market": market}
            known = sorted({(row["exchange"], row["market"]) for row in table_rows(service)})
            asked |= {"bars": bars or ("5m" if day else "1h"), "day": day, "start": start, "end": end}
            view = {"asked": asked, "markets": known, "intervals": BAR_INTERVALS, "chart": None, "near": None}
            if day:
                # A day without bars has neighbours, too.
                view |= tried(lambda: {"near": Day.around(day, date.min, date.min)})
            return {**view, **tried(lambda: _candles(service, asked) if asked["symbol"] else {})}

        return await show("symbol.html", work, "symbol", is_heavy=True)

    @router.get("/page/tables")
    async def tables() -> Response:
        return await show("tables.html", lambda: {"rows": table_rows(service)}, "tables")

    @router.get("/page/tables/{table}")
    async def columns(table: Annotated[str, Path(max_length=128)]) -> Response:
        def work() -> dict[str, Any]:
            require_table(table)
            rows = [row for row in table_rows(service) if f"{row['layer']}.{row['table']}" == table]
            return {"table": table, "columns": lake.describe(table).to_dicts(), "rows": rows}

        return await show("columns.html", work, "tables")

    @router.get("/page/quality")
    async def quality(exchange: Name = "", market: Name = "", day: Name = "") -> Response:
        def work() -> dict[str, Any]:
            asked = {"exchange": exchange, "market": market, "day": day}
            summary, markets = quality_rows(service)
            days = days_with_faults(service, exchange or "binance", market, day) if market else None
            return {"asked": asked, "summary": summary, "markets": markets, "days": days, "most": SHOWN_ROWS}

        return await show("quality.html", work, "quality")

    @router.get("/page/universe")
    async def universe(exchange: Name = "binance", market: Name = "um", on: Name = "") -> Response:
        def work() -> dict[str, Any]:
            stored = [row for row in table_rows(service) if f"{row['layer']}.{row['table']}" == INSTRUMENTS]
            markets = [(row["exchange"], row["market"]) for row in stored]
            newest = {(row["exchange"], row["market"]): row["last"] for row in stored}
            asked = {"exchange": exchange, "market": market, "on": on or newest.get((exchange, market), "")}

            def read() -> dict[str, Any]:
                allowed_markets(INSTRUMENTS, exchange, [market])
                if not asked["on"]:
                    raise Problem("not-built", f"the lake has no {INSTRUMENTS} of {exchange}/{market}")
                listed = lake.universe(market, on=asked["on"], exchange=exchange, format="polars", settled=True)
                return {"rows": cast(pl.DataFrame, listed).to_dicts(), "near": next_days(asked["on"])}

            return {"asked": asked, "markets": markets, "rows": None, "near": None, **tried(read)}

        return await show("universe.html", work, "universe")

    @router.get("/page/sql")
    async def sql_form(query: Annotated[str, Query(max_length=20_000)] = "") -> Response:
        _require_sql(service)
        return await show("sql.html", lambda: {"query": query, "result": None}, "sql")

    @router.post("/page/sql")
    async def sql(request: Request) -> Response:
        _require_sql(service)
        fields = await _form(request)

        def work() -> dict[str, Any]:
            query = fields.get("query", "")
            return {"query": query, "result": None, **tried(lambda: {"result": _query(service, query)})}

        return await show("sql.html", work, "sql", is_heavy=True)

    @router.get(LOGIN)
    async def login(next: Text = "/") -> Response:
        return html("login.html", next=local_path(next), refused=False)

    @router.post(SESSION)
    async def start_session(request: Request) -> Response:
        fields = await _form(request)
        response = RedirectResponse(local_path(fields.get("next", "/")), 303)
        if CALL.get().token is not None:
            secure = request.headers["origin"].startswith("https://")
            token = request.headers["authorization"].removeprefix("Bearer ")
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
        return response

    @router.post("/page/logout")
    async def end_session(request: Request) -> Response:
        await _form(request)
        response = RedirectResponse(LOGIN, 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    @router.get("/page/static/{name}")
    async def file(name: str) -> Response:
        if name not in FILES:
            raise Problem("no-endpoint", "the page has no such file")
        return file_answer(name)

    return router


def _candles(service: Service, asked: dict[str, str]) -> dict[str, Any]:
    exchange, market, symbol = asked["exchange"], asked["market"], asked["symbol"]
    allowed_markets(MINUTES, exchange, [market])
    if asked["bars"] not in BAR_INTERVALS:
        raise Problem("wrong-argument", f"bars: choose one of {', '.join(BAR_INTERVALS)}")
    start, end = symbol_range(asked)
    token = CALL.get().token
    CALL.get().facts.update(table=MINUTES, exchange=exchange, markets=[market], start=start, end=end)
    picture: Any = service.lake.plot(
        symbol,
        asked["bars"],
        market=market,
        exchange=exchange,
        start=start,
        end=end,
        funding=token is None or token.allows_table(FUNDING),
    )
    marks = marks_of(picture, revisions_of(service, exchange, market, symbol))
    bars = picture.data
    CALL.get().rows += bars.height
    first, last = bars["open_time"][0], bars["close_time"][-1] + timedelta(microseconds=1)
    return {
        "chart": chart_data(picture, marks),
        "title": picture.title,
        "volume_label": picture.volume_label,
        "marks": marks,
        "bars": bars.tail(SHOWN_ROWS).to_dicts(),
        "count": bars.height,
        "funding": picture.funding.tail(SHOWN_ROWS).to_dicts(),
        "near": Day.around(asked["day"], first.date(), last.date()),
        "first": first,
        "last": last,
    }


def _query(service: Service, query: str) -> dict[str, Any]:
    try:
        result: Any = service.lake.sql(query, format="polars")
    except duckdb.Error as error:
        raise Problem("wrong-argument", without(str(error), service.places)) from None
    frame: pl.DataFrame = result
    CALL.get().rows += min(frame.height, SHOWN_ROWS)
    return {"columns": frame.columns, "rows": frame.head(SHOWN_ROWS).rows(), "count": frame.height}


def _require_sql(service: Service) -> None:
    if not service.config.sql:
        raise Problem("sql-off", "this server runs no SQL")
    require_all()


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of this server has sent."""
    if not is_same_origin(request.headers):
        raise Problem("wrong-host", "the form was not sent by a page of this server")
    body = await request.body()
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
