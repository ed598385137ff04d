"""Dagster's logs of what steps print, on S3, with the endpoint, region, credentials and options of the lake."""

from __future__ import annotations

from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from crypto_lakehouse.lake.storage.identity import IdentityError
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.lake.storage.upload import s3_client
from crypto_lakehouse.orchestration.home import HomeError
from crypto_lakehouse.orchestration.private_dagster import ConfigurableClassData
from crypto_lakehouse.settings import Settings

# Logs of a run that still runs appear in the UI after this many seconds.
_UPLOAD_SECONDS = 30


class LogsOnS3(S3ComputeLogManager):
    """Dagster's own log manager for S3, but with the client that writes the lake."""

    def __init__(self, store: LakeStore, folder: str, inst_data: ConfigurableClassData | None = None) -> None:
        client = s3_client(store.s3_endpoint_url, str(store.s3_region))
        bucket, _, prefix = store.root.partition("/")
        super().__init__(
            bucket,
            local_dir=folder,
            inst_data=inst_data,
            prefix=prefix,
            endpoint_url=store.s3_endpoint_url,
            region=store.s3_region,
            skip_empty_files=True,
            upload_interval=_UPLOAD_SECONDS,
        )
        # Its own client would search for a host named after the bucket, and has neither timeouts nor our attempts.
        self._s3_session = client


def open_logs(settings: Settings, folder: str, inst_data: ConfigurableClassData | None) -> LogsOnS3:
    """Open the logs at ``settings.compute_logs_uri``; ``folder`` holds those of running steps. Raises HomeError."""
    uri = settings.compute_logs_uri
    try:
        store = LakeStore.open(uri, settings.s3_endpoint_url, settings.s3_region)
        return LogsOnS3(store, folder, inst_data)
    except (LakeError, IdentityError) as error:
        raise HomeError(f"logs of runs cannot be stored in {uri}: {error}") from None
