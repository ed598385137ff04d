"""Configuration of Celery workers. dagster_celery imports it by this name, so its folder must be in PYTHONPATH."""

from __future__ import annotations

import os

broker_url = os.environ["DAGSTER_CELERY_BROKER_URL"]
result_backend = os.environ["DAGSTER_CELERY_BACKEND_URL"]

# A worker takes no run that it cannot start at once.
worker_prefetch_multiplier = 1
# Each run has a process of its own, so that its memory is free after it.
worker_max_tasks_per_child = 1
# What steps print goes to the logs of their run, not to those of the worker.
worker_redirect_stdouts = False
# As in dagster.yaml: longer than any run.
broker_transport_options = {"visibility_timeout": 604800}
result_expires = 604800
broker_connection_retry_on_startup = True
