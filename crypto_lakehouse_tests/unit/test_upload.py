"""Uploads to S3 from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from crypto_lakehouse.lake.storage import upload


@pytest.mark.requirement("T4")
def test_threads_that_upload_first_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    start = Barrier(8)

    def client(number: int) -> Any:
        start.wait()
        return upload.s3_client("http://127.0.0.1:1", f"race-{number // 8}")

    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(client, range(24)))
    assert len({id(one) for one in clients}) == 3
