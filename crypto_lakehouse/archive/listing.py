"""S3 ListObjects V1: pages of a public bucket's listing, as objects and common prefixes.

Contains the protocol and its XML. ``http_client.HttpClient`` handles connections and retries; the layout of an
exchange (``layout.py``) interprets the keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from xml.etree import ElementTree

from yarl import URL

from crypto_lakehouse.archive.http_client import Answer, HttpClient, MalformedAnswerError

MAX_KEYS = 1000
"""Maximum number of keys on a page."""

MAX_PAGES = 1000
"""Maximum number of pages of a listing; a million keys is a hundred times more than any archive folder has."""

# A page of the longest keys has about 2 MB.
_MAX_BYTES = 32 * 1024**2


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object: ``last_modified`` is UTC, ``etag`` without quotes, ``size`` in bytes."""

    object_key: str
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
        # Parse text, not bytes, so that no declared encoding can hide a DTD from this check.
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise MalformedAnswerError("the listing has a DTD, which is refused")
        root = ElementTree.fromstring(text)
        if root.tag.rpartition("}")[2] != "ListBucketResult":
            raise MalformedAnswerError("the answer is XML, but not a ListBucketResult")
        namespace = root.tag.removesuffix("ListBucketResult")
        objects = tuple(
            ListedObject(
                object_key=_text(item, f"{namespace}Key"),
                size=int(_text(item, f"{namespace}Size")),
                etag=_text(item, f"{namespace}ETag").strip('"'),
                last_modified=datetime.fromisoformat(_text(item, f"{namespace}LastModified")),
            )
            for item in root.iterfind(f"{namespace}Contents")
        )
        prefixes = tuple(_text(item, f"{namespace}Prefix") for item in root.iterfind(f"{namespace}CommonPrefixes"))
        truncated = _text(root, f"{namespace}IsTruncated").lower() == "true"
    except ElementTree.ParseError as error:
        line, column = error.position
        raise MalformedAnswerError(f"the listing is not valid XML from line {line}, column {column} on") from None
    except ValueError:
        # The original error quotes the server's text.
        raise MalformedAnswerError("the listing has an invalid character, size or time") from None
    if any(item.last_modified.tzinfo is None for item in objects):
        raise MalformedAnswerError("the listing has times without a zone")
    if not truncated:
        return ListingPage(objects, prefixes, None)
    # S3 sends NextMarker only with a delimiter; otherwise the next marker is the last key or prefix of the page.
    last = max([*(item.object_key for item in objects), *prefixes], default="")
    marker = root.findtext(f"{namespace}NextMarker") or last
    if not marker:
        raise MalformedAnswerError("the listing says that it continues, but not from where")
    return ListingPage(objects, prefixes, marker)


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(tag)
    if not text:
        raise MalformedAnswerError(f"the listing has an entry without its {tag.rpartition('}')[2]}")
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

    Raises the RequestError of the last attempt at a page.
    """
    for _ in range(MAX_PAGES):
        query = {"prefix": prefix, "max-keys": str(max_keys)}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"marker": marker} if marker else {}
        async for attempt in client.attempts(prefix):
            with attempt:
                async with client.request(URL(url).with_query(query)) as response:
                    page = parse_page(await _body(response))
                _check_keys(page, prefix, marker)
        yield page
        if page.next_marker is None:
            return
        marker = page.next_marker
    raise MalformedAnswerError(f"the listing does not end after {MAX_PAGES:,} pages")


def _check_keys(page: ListingPage, prefix: str, marker: str) -> None:
    """Raise MalformedAnswerError unless the names of a page start with the prefix and increase, from the marker on."""
    for names in ([item.object_key for item in page.objects], list(page.prefixes)):
        if not all(name.startswith(prefix) for name in names):
            raise MalformedAnswerError("the listing has keys outside the requested prefix")
        if any(a >= b for a, b in pairwise([marker, *names])):
            raise MalformedAnswerError("the listing goes back: its keys do not increase")
    last = max([marker, *(item.object_key for item in page.objects), *page.prefixes])
    if page.next_marker is not None and (page.next_marker < last or page.next_marker == marker):
        raise MalformedAnswerError("the listing goes back: the next page starts before this one ends")


async def _body(response: Answer) -> bytes:
    body = bytearray()
    async for chunk in response.chunks():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise MalformedAnswerError(f"the listing has more than {_MAX_BYTES:,} bytes on one page")
    return bytes(body)
