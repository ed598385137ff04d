"""Dagster resources: lake, archives and REST APIs, built from the settings. They have no logic of their own."""

from typing import Self

import dagster as dg

from crypto_lakehouse.archive.addresses import split_credentials
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog.exchanges import REST_APIS
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.rest.client import RestClient
from crypto_lakehouse.settings import Settings


class LakeResource(dg.ConfigurableResource):
    """The lake: a folder or an S3 prefix. It holds no credentials: boto3's chain finds them in each process."""

    uri: str
    s3_endpoint_url: str | None = None
    s3_region: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the resource that the settings describe."""
        return cls(
            uri=settings.lake_uri,
            s3_endpoint_url=settings.s3_endpoint_url,
            s3_region=settings.s3_region,
        )

    def store(self) -> LakeStore:
        """Open the lake."""
        return LakeStore.open(self.uri, s3_endpoint_url=self.s3_endpoint_url, s3_region=self.s3_region)


class ArchiveResource(dg.ConfigurableResource):
    """The archives of the enabled exchanges: their URLs, by exchange, and parallel requests, attempts and timeouts.

    The URLs hold no credentials, because Dagster stores and shows the fields of a resource. ``source`` takes them from
    the environment when it opens an archive.
    """

    archive_urls: dict[str, str]
    listing_urls: dict[str, str]
    concurrency: int
    attempts: int
    stall_timeout: float
    least_rate: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the resource that the settings describe."""
        urls = {name: settings.archive_urls(name) for name in settings.exchange_names}
        return cls(
            archive_urls={name: split_credentials(files)[0] for name, (files, _) in urls.items()},
            listing_urls={name: split_credentials(listing)[0] for name, (_, listing) in urls.items()},
            concurrency=settings.concurrency,
            attempts=settings.retries,
            stall_timeout=settings.stall_timeout,
            least_rate=settings.least_rate,
        )

    def source(self, exchange: str) -> ArchiveSource:
        """Open the archive of an enabled exchange."""
        files, listing = Settings.load().archive_urls(exchange)
        return open_source(
            exchange,
            _with_credentials(self.archive_urls[exchange], files),
            _with_credentials(self.listing_urls[exchange], listing),
            Limits(self.concurrency, self.attempts, self.stall_timeout, self.least_rate),
        )


class RestResource(dg.ConfigurableResource):
    """The REST APIs of the enabled exchanges: their hosts by exchange and role, and the share of their limits to use.

    Like those of archives, the URLs hold no credentials: ``client`` takes them from the environment.
    """

    urls: dict[str, dict[str, str]]
    share: float
    concurrency: int
    attempts: int
    stall_timeout: float
    least_rate: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the resource that the settings describe."""
        hosts = {name: settings.rest_urls_of(name) for name in settings.exchange_names if name in REST_APIS}
        return cls(
            urls={
                name: {role: split_credentials(url)[0] for role, url in of_roles.items()}
                for name, of_roles in hosts.items()
            },
            share=settings.rest_share,
            concurrency=settings.concurrency,
            attempts=settings.retries,
            stall_timeout=settings.stall_timeout,
            least_rate=settings.least_rate,
        )

    def client(self, exchange: str) -> RestClient:
        """Open the REST API of an enabled exchange that has one."""
        chosen = Settings.load().rest_urls_of(exchange)
        urls = {role: _with_credentials(url, chosen.get(role, url)) for role, url in self.urls[exchange].items()}
        limits = Limits(self.concurrency, self.attempts, self.stall_timeout, self.least_rate)
        return RestClient(exchange, urls, limits, self.share)


def _with_credentials(url: str, setting: str) -> str:
    """The URL of the setting, which may hold credentials, if it names the same place; else ``url``."""
    return setting if split_credentials(setting)[0] == url else url
