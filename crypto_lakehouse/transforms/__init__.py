"""Pure transforms: bytes or frames in, frames out. No Dagster, no network, no files, no clock."""
