"""A REST API for synchronous callers: requests in, answers out, in parallel and within the limits of the exchange.

One request with its retries and pauses is in ``host.py``, the budget in ``budget.py``, requests and windows are in
``requests.py``. What is missing, and what becomes of answers, is decided in ``pipeline``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime

from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.workers import filled, in_thread, run_all
from crypto_lakehouse.catalog.rest import RestPool, rest_api
from crypto_lakehouse.rest.host import MAX_WAIT, Host, RestFailedError
from crypto_lakehouse.rest.model import RestAnswer, RestError
from crypto_lakehouse.rest.requests import RestRequest

DEFAULT_SHARE = 0.5
"""Share of the exchange's limits that is used: the rest is for other programs of the same address."""

_FAILURES_IN_A_ROW = 10
"""Number of failed requests after which a run ends, if none was answered in between."""


class RestClient:
    """The REST API of an exchange.

    Parameters
    ----------
    exchange
        Name of the exchange.
    urls
        URLs of hosts by their role (``spot``, ``um``, ``cm``), where they are not the exchange's own. Credentials in a
        URL are sent as basic authentication and never shown.
    limits
        Parallel requests (at most what the catalogue allows), attempts and timeouts.
    share
        Share of the exchange's limits that this process may use, more than 0 and at most 1.
    max_wait
        Longest pause in seconds that the exchange may ask for, summed up over one request, before a run ends.
    pools
        Pools with other limits than the catalogue's.

    Raises
    ------
    KeyError
        For an exchange without a REST API, and for an unknown role.
    ValueError
        For invalid URLs and shares.

    Examples
    --------
    >>> client = RestClient("binance", {"spot": "https://data-api.binance.vision"})
    >>> client.urls["spot"], client.urls["um"]
    ('https://data-api.binance.vision', 'https://fapi.binance.com')
    """

    def __init__(
        self,
        exchange: str,
        urls: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        share: float = DEFAULT_SHARE,
        max_wait: float = MAX_WAIT,
        pools: Iterable[RestPool] = (),
    ) -> None:
        self._api = rest_api(exchange)
        if unknown := sorted(set(urls or {}) - set(self._api.hosts)):
            raise KeyError(f"no host {unknown[0]!r} of {exchange}; there are {', '.join(self._api.hosts)}")
        if not 0 < share <= 1:
            raise ValueError(f"the share of the limits must be more than 0 and at most 1, not {share}")
        self.urls = {role: url.rstrip("/") for role, url in {**self._api.hosts, **(urls or {})}.items()}
        limits = limits or Limits()
        self._limits = replace(limits, concurrency=min(limits.concurrency, self._api.max_concurrency))
        others = {pool.name: pool for pool in pools}
        self._hosts = {
            role: Host(self._api, role, self.urls, self._limits, share, max_wait, others) for role in self._api.hosts
        }

    def server_time(self, role: str) -> datetime:
        """UTC time of a host's own clock. Raises RestError, and KeyError for an unknown role."""
        host = self._hosts[role]

        async def main(emit: Callable[[datetime], None]) -> None:
            async with host.connected() as connection:
                emit(await host.server_time(connection))

        (time,) = in_thread(main)
        return time

    def answers(self, requests: Iterable[RestRequest]) -> Iterator[RestAnswer]:
        """Yield an answer for each request, and for each page of requests by id, as they arrive.

        A request that the exchange refuses for good gives an answer that says why. Requests that fail after all
        attempts do not stop the others. Closing the iterator stops all requests.

        Raises
        ------
        RestBanError
            If the exchange asks for a longer pause than ``max_wait``.
        RestRefusedError
            If the exchange refuses this place (HTTP 403, 451), or a host does not serve the API.
        RestError
            If requests failed: at the end, or at once if nothing is answered any more.
        """

        async def main(emit: Callable[[RestAnswer], None]) -> None:
            waiting, failures = filled(requests), _Failures()
            async with AsyncExitStack() as stack:
                connections = {
                    role: await stack.enter_async_context(host.connected()) for role, host in self._hosts.items()
                }

                async def worker() -> None:
                    while (request := await waiting.get()) is not None:
                        page: RestRequest | None = request
                        role = request.endpoint.role
                        try:
                            while page is not None:
                                answer, page = await self._hosts[role].answer(connections[role], page)
                                failures.in_a_row = 0
                                emit(answer)
                        except RestFailedError as error:
                            failures.add(error)
                    # For the next worker.
                    waiting.put_nowait(None)

                await run_all(worker() for _ in range(self._limits.concurrency))
            failures.raise_if_any()

        return in_thread(main)


class _Failures:
    """The requests that failed; too many in a row are raised at once."""

    def __init__(self) -> None:
        self._errors: list[RestFailedError] = []
        self.in_a_row = 0

    def add(self, error: RestFailedError) -> None:
        self._errors.append(error)
        self.in_a_row += 1
        if self.in_a_row >= _FAILURES_IN_A_ROW:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        if not self._errors:
            return
        first, count = self._errors[0], len(self._errors)
        if count == 1:
            raise first
        raise RestError(f"{count} requests failed; the first: {first}") from first
