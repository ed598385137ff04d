"""S3 ListObjects V1: pages of a public bucket's listing, as objects and common prefixes.

Here belong the protocol and its XML. Retries and connections are ``download.HttpClient``'s; what the
keys mean is known to ``binance.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from crypto_lakehouse.archive.download import HttpClient, MalformedAnswerError

MAX_KEYS = 1000
"""Most keys that a server puts on one page."""

# A page of the longest keys has some 2 MB.
_MAX_BYTES = 32 * 1024**2


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object: ``last_modified`` is UTC, ``etag`` without quotes, ``size`` in bytes."""

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page; ``next_marker`` is None on the last one."""

    objects: tuple[ListedObject, ...]
    prefixes: tuple[str, ...]
    next_marker: str | None


def parse_page(body: bytes) -> ListingPage:
    """Parse a ListBucketResult. Raises MalformedAnswerError for anything else, and for any DTD or entity."""
    try:
        # Parsed from text, so that no declared encoding can hide a DTD from this check.
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise MalformedAnswerError("the listing has a DTD, which is refused")
        root = ElementTree.fromstring(text)
        if root.tag.rpartition("}")[2] != "ListBucketResult":
            raise MalformedAnswerError(f"the answer is {root.tag[:100]!r}, not a ListBucketResult")
        namespace = root.tag.removesuffix("ListBucketResult")
        objects = tuple(
            ListedObject(
                key=_text(item, f"{namespace}Key"),
                size=int(_text(item, f"{namespace}Size")),
                etag=_text(item, f"{namespace}ETag").strip('"'),
                last_modified=datetime.fromisoformat(_text(item, f"{namespace}LastModified")),
            )
            for item in root.iterfind(f"{namespace}Contents")
        )
        prefixes = tuple(_text(item, f"{namespace}Prefix") for item in root.iterfind(f"{namespace}CommonPrefixes"))
        truncated = _text(root, f"{namespace}IsTruncated").lower() == "true"
    except (ValueError, ElementTree.ParseError) as error:
        raise MalformedAnswerError(f"the listing cannot be parsed: {error}") from error
    if any(item.last_modified.tzinfo is None for item in objects):
        raise MalformedAnswerError("the listing has times without a zone")
    if not truncated:
        return ListingPage(objects, prefixes, None)
    # NextMarker comes only with a delimiter; else S3 wants the last name of the page, of either kind.
    last = max([*(item.key for item in objects), *prefixes], default="")
    marker = root.findtext(f"{namespace}NextMarker") or last
    if not marker:
        raise MalformedAnswerError("the listing says that it goes on, but not from where")
    return ListingPage(objects, prefixes, marker)


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(tag)
    if not text:
        raise MalformedAnswerError(f"the listing has no {tag.rpartition('}')[2]} in {element.tag[-60:]!r}")
    return text


async def pages(
    client: HttpClient,
    url: str,
    prefix: str,
    *,
    delimiter: str = "",
    marker: str = "",
    max_keys: int = MAX_KEYS,
) -> AsyncIterator[ListingPage]:
    """Pages of the bucket at ``url`` in key order, from the first key after ``marker``.

    Raises what the last try of a page raised: HttpError, MalformedAnswerError, aiohttp.ClientError
    or TimeoutError.
    """
    while True:
        query = {"prefix": prefix, "max-keys": str(max_keys)}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"marker": marker} if marker else {}
        async for attempt in client.attempts():
            with attempt:
                async with client.request(URL(url).with_query(query)) as response:
                    page = parse_page(await _body(response))
                if page.next_marker is not None and page.next_marker <= marker:
                    raise MalformedAnswerError(f"the listing goes back from {marker!r} to {page.next_marker!r}")
        yield page
        if page.next_marker is None:
            return
        marker = page.next_marker


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise MalformedAnswerError(f"the listing has more than {_MAX_BYTES:,} bytes on one page")
    return bytes(body)
