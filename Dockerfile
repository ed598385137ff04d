# The code location, webserver and daemon in one image; which of them runs is the command.
# Settings come as LAKEHOUSE_*, AWS_* and DAGSTER_POSTGRES_* variables at run time, never into the image.
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md ./
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY crypto_lakehouse ./crypto_lakehouse
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 lakehouse
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/lakehouse
RUN chown lakehouse /opt/lakehouse
COPY --chown=lakehouse dagster.yaml workspace.yaml ./
ENV PATH=/opt/venv/bin:$PATH DAGSTER_HOME=/opt/lakehouse DAGSTER_EVENT_BATCH_SIZE=1000 PYTHONUNBUFFERED=1
USER lakehouse
EXPOSE 3000
CMD ["dagster-webserver", "--host", "0.0.0.0", "--port", "3000", "--workspace", "workspace.yaml"]
