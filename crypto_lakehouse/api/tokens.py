"""Tokens: who may read what. A file holds their names, scopes and hashes, never the tokens themselves.

A token has 256 random bits, so one round of SHA-256 protects it as well as a slow hash would. The file is replaced
whole, and only its owner may read it. Where tokens are checked is ``access.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

OPEN = "local"
"""The name of clients of an open server; no token has it."""

PREFIX = "clh_"
PATTERN = re.compile(r"clh_[A-Za-z0-9_\-]{8,}")
"""What looks like a token; logs mask it wherever it stands."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_TABLE = re.compile(r"[a-z0-9_*]+\.[a-z0-9_*]+")
_MARKET = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?")


class TokenError(Exception):
    """The tokens cannot be used or changed. The message says why and what to do, without a secret."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token as the file holds it. Times are ISO 8601 in UTC; without ``expires`` it is valid until revoked.

    ``tables`` are patterns such as ``gold.*``, ``markets`` names such as ``um`` or ``binance/um``; None allows all.
    """

    name: str
    sha256: str
    created: str
    expires: str | None = None
    revoked: str | None = None
    tables: tuple[str, ...] | None = None
    markets: tuple[str, ...] | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether the token is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < datetime.fromisoformat(self.expires))

    def allows_table(self, table: str) -> bool:
        """Whether the token may read ``layer.table``."""
        return self.tables is None or any(fnmatchcase(table, pattern) for pattern in self.tables)

    def allows_market(self, exchange: str, market: str) -> bool:
        """Whether the token may read a market."""
        return self.markets is None or market in self.markets or f"{exchange}/{market}" in self.markets

    @property
    def is_limited(self) -> bool:
        """Whether the token may not read all tables of all markets."""
        return self.tables is not None or self.markets is not None


class TokenFile:
    """The file of tokens. A change is seen at the next check, in all processes that serve."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._state: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, those that are revoked or expired too. Raises TokenError if the file cannot be read."""
        try:
            status = self.path.stat()
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
            if state != self._state:
                self._tokens, self._state = _parsed(self.path.read_text(encoding="utf-8")), state
        except FileNotFoundError:
            self._tokens, self._state = (), None
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a file of tokens"
            raise TokenError(
                f"cannot read the tokens in {self.path}: {reason}. Restore the file, or remove it and add tokens"
            ) from None
        return self._tokens

    def find(self, secret: str, now: datetime) -> Token | None:
        """The valid token that a client has sent; None if it is not valid. Takes the same time for every token."""
        digest, match = _digest(secret), None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256, digest):
                match = token
        return match if match is not None and match.is_valid(now) else None

    def add(
        self,
        name: str,
        *,
        expires: datetime | None = None,
        tables: Sequence[str] | None = None,
        markets: Sequence[str] | None = None,
    ) -> str:
        """Add a token and return it: this is the only time that it can be seen. Raises TokenError."""
        _check(name, tables, markets)
        now = datetime.now(UTC)
        if any(token.name == name and token.is_valid(now) for token in self.tokens()):
            raise TokenError(f"there is a token {name!r}: choose another name, or revoke it first")
        secret = f"{PREFIX}{secrets.token_urlsafe(32)}"
        token = Token(
            name,
            _digest(secret),
            now.isoformat(timespec="seconds"),
            None if expires is None else expires.astimezone(UTC).isoformat(timespec="seconds"),
            tables=tuple(tables) if tables else None,
            markets=tuple(markets) if markets else None,
        )
        self._write([*self.tokens(), token])
        return secret

    def revoke(self, name: str) -> None:
        """Make a token invalid. It stays in the file, so that a server does not open when its last token is revoked.

        Raises TokenError if no valid token has this name.
        """
        now = datetime.now(UTC)
        tokens = self.tokens()
        if not any(token.name == name and token.is_valid(now) for token in tokens):
            names = ", ".join(sorted(token.name for token in tokens if token.is_valid(now))) or "none"
            raise TokenError(f"there is no valid token {name!r}; valid are: {names}")
        stamp = now.isoformat(timespec="seconds")
        self._write(
            [replace(token, revoked=stamp) if token.name == name and not token.revoked else token for token in tokens]
        )

    def _write(self, tokens: Sequence[Token]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made with mode 0600, in the same folder, so that the rename replaces the file whole.
            handle, draft = tempfile.mkstemp(dir=self.path.parent, prefix=".tokens-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"version": 1, "tokens": [asdict(token) for token in tokens]}, file, indent=2)
                Path(draft).replace(self.path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise TokenError(f"cannot write the tokens to {self.path}: {error.strerror}. Set another file") from None


def _parsed(text: str) -> tuple[Token, ...]:
    content = json.loads(text)
    if content["version"] != 1:
        raise ValueError
    tokens = []
    for entry in content["tokens"]:
        lists = {name: tuple(entry[name]) for name in ("tables", "markets") if entry.get(name) is not None}
        token = Token(**{**entry, **lists})
        if not isinstance(token.sha256, str) or (token.expires and not datetime.fromisoformat(token.expires).tzinfo):
            raise ValueError
        tokens.append(token)
    return tuple(tokens)


def _check(name: str, tables: Sequence[str] | None, markets: Sequence[str] | None) -> None:
    if name == OPEN:
        raise TokenError(f"the log calls clients without a token {OPEN!r}: choose another name")
    if not _NAME.fullmatch(name):
        raise TokenError(f"{name!r} is not a name for a token: use letters, digits and _ . -, at most 64")
    for table in tables or ():
        if not _TABLE.fullmatch(table):
            raise TokenError(f"{table!r} is not a table such as gold.bars_1h, or a pattern such as gold.*")
    for market in markets or ():
        if not _MARKET.fullmatch(market):
            raise TokenError(f"{market!r} is not a market such as um or binance/um")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
