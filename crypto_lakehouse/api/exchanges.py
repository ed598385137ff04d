"""The endpoints that speak an exchange's own language, by exchange: what the application adds if they are on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.binance_errors import BinanceErrors
from crypto_lakehouse.api.binance_routes import add_binance
from crypto_lakehouse.api.config import ServeConfig

_ROUTES: Mapping[str, Callable[[FastAPI, Service], None]] = {"binance": add_binance}
_ERRORS: Mapping[str, Callable[[ASGIApp], ASGIApp]] = {"binance": BinanceErrors}


def register(app: FastAPI, service: Service) -> None:
    """Add the endpoints of the exchange that the configuration names, if it names one."""
    if service.config.exchange_api:
        _ROUTES[service.config.exchange_api](app, service)


def in_the_words_of_exchanges(app: ASGIApp, config: ServeConfig) -> ASGIApp:
    """The application with problems of these endpoints as the exchange's errors."""
    return _ERRORS[config.exchange_api](app) if config.exchange_api else app
