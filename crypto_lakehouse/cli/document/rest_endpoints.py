"""The page of REST APIs, generated from the catalogue: hosts, limits, endpoints, and how the client obeys them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.catalog.exchanges import REST_APIS
from crypto_lakehouse.catalog.rest import Paging, RestApi, RestCost, RestEndpoint, RestPool
from crypto_lakehouse.cli.document.markdown import markdown_table, prose

_HEAD = (
    "The lake can request rows that an archive does not have from the REST API of its exchange. `make docs` generates"
    " this page from the catalogue: change `crypto_lakehouse/catalog/binance_rest.py`, not this page. It also has"
    " the source of the facts of each endpoint."
)
_HOSTS = (
    "`LAKEHOUSE_REST_URLS` names other hosts: `LAKEHOUSE_REST_URLS=spot=https://data-api.binance.vision` serves market"
    " data of spot from places where the usual host answers HTTP 451. Futures have no such host. Requests use"
    " `HTTPS_PROXY` as those to an archive do."
)
_LIMITS = (
    "Limits count the weights of all requests of an address, of all programs together. `LAKEHOUSE_REST_SHARE` is the"
    " share that the lake uses, half by default: the rest is for other programs, and for what several processes of the"
    " lake send at the same moment."
)
_BUDGET = (
    "A weight is charged before its request is sent, once for all workers of a process, and counts until a whole window"
    " has passed since the answer. So no minute of the server's clock, wherever it starts, holds more than the budget,"
    " and the clocks of the two machines need not agree.",
    "Other processes and programs are seen in the header of answers, which raises the charge and never lowers it. Pools"
    " without a header do not show them: with more than two processes that fetch funding rates or statistics at the"
    " same time, lower `LAKEHOUSE_REST_SHARE`.",
    "After HTTP 429 no request goes to the pool until Retry-After, or until the time in the body where that header is"
    " missing, or for two minutes. HTTP 418 stops all requests to the host. A run waits for at most ten minutes; if the"
    " exchange wants more, it ends with an error that names the time.",
    "HTTP 403 and 451 end a run at once, because further requests would only be refused too. HTTP 408 and 5xx,"
    " interrupted connections, and bodies that are not JSON are retried `LAKEHOUSE_RETRIES` times. A request that"
    " fails for good stops no other: the run ends with an error, and the next run requests what is missing again.",
)
_ENDPOINTS = (
    "A long range is cut into windows that never hold more rows than their limit, so it does not matter which end of a"
    " longer answer is cut off. Aggregate trades are paged by id: pages by time lose trades of the same millisecond."
    " `rows` is the limit that the lake sends, the one with the most rows for its weight."
)
_SERVER = (
    f"`{command_line('archive', 'serve-api', 'DIR')}` serves a folder in the archive's format under these paths, for"
    " tests and trials without a network. It has the exchange's parameters, defaults, bounds, order, limits and error"
    " codes, and prints the setting that uses it. Serve a whole folder as the API and a folder with holes as the"
    " archive to see the holes filled."
)


def rest_page() -> str:
    """The whole page as markdown."""
    parts = ["# REST APIs\n", prose(_HEAD)]
    for api in REST_APIS.values():
        hosts = [
            [role, f"`{url}`", f"`{api.alternatives[role]}`" if role in api.alternatives else ""]
            for role, url in api.hosts.items()
        ]
        endpoints = [_row(endpoint) for endpoint in _endpoints(api)]
        parts += [
            f"## Hosts of {api.exchange}\n",
            markdown_table(["role", "host", "other host"], hosts),
            prose(_HOSTS),
            f"## Limits of {api.exchange}\n",
            markdown_table(["pool", "weight", "header", "source"], [_pool(pool) for pool in _pools(api)]),
            prose(_LIMITS),
            f"## Endpoints of {api.exchange}\n",
            markdown_table(["host", "path", "symbol", "rows", "weight", "cut", "reach, span"], endpoints),
            prose(_ENDPOINTS),
        ]
    parts += ["## Budget, pauses and errors\n", *map(prose, _BUDGET), "## A local API\n", prose(_SERVER)]
    return "\n".join(parts)


def _endpoints(api: RestApi) -> Iterator[RestEndpoint]:
    for group in api.endpoints.values():
        yield from group


def _pools(api: RestApi) -> list[RestPool]:
    costs = [cost for endpoint in _endpoints(api) for cost in endpoint.costs]
    return list({cost.pool.name: cost.pool for cost in costs}.values())


def _pool(pool: RestPool) -> list[str]:
    return [
        pool.name,
        f"{pool.limit:,} in {_length(pool.window)}",
        f"`{pool.header}`" if pool.header else "",
        pool.source,
    ]


def _row(endpoint: RestEndpoint) -> list[str]:
    suffix = f" of `*{endpoint.symbol_suffix}`" if endpoint.symbol_suffix else ""
    bounds = [f"last {_length(endpoint.reach)}"] if endpoint.reach else []
    if endpoint.max_span:
        bounds.append(f"{_length(endpoint.max_span)} a request{' by time' if endpoint.paging is Paging.ID else ''}")
    return [
        endpoint.role,
        f"`{endpoint.path}`",
        f"`{endpoint.symbol_parameter}`{suffix}",
        str(endpoint.best_limit),
        "; ".join(_weight(cost, endpoint.max_limit) for cost in endpoint.costs),
        str(endpoint.overflow),
        ", ".join(bounds),
    ]


def _weight(cost: RestCost, most: int) -> str:
    """``1 to 99 rows, 2 to 499, ... of futures``."""
    steps = [f"{weight} to {min(rows, most)}" for rows, weight in cost.weights]
    text = ", ".join(steps) if len(steps) > 1 else str(cost.weights[0][1])
    return f"{text} of {cost.pool.name}"


def _length(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    if not hours:
        return f"{length // timedelta(minutes=1)} min"
    return f"{hours} h" if hours <= 48 else f"{length.days} days"
