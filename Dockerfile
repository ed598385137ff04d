# One image for all processes: code location, web server, daemon, workers, commands. Which of them runs is the command.
# Settings come as variables when it runs, never into the image. docs/deployment/image.md has the commands that build it,
# pin the digest of the base and attach the list of packages.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY deploy/requirements.txt ./
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY crypto_lakehouse ./crypto_lakehouse
RUN /opt/venv/bin/pip install --no-deps .

# The list of all packages (SBOM), made from the environment that the image gets.
FROM build AS sbom
RUN python -m venv /opt/sbom \
    && /opt/sbom/bin/pip install cyclonedx-bom==7.5.0 \
    && /opt/sbom/bin/cyclonedx-py environment /opt/venv --output-reproducible --output-file /sbom.cdx.json

FROM build AS installed
RUN /opt/venv/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crypto-lakehouse" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.cyclonedx.sbom="/opt/lakehouse/sbom.cdx.json"
RUN useradd --create-home --uid 10001 lakehouse \
    && mkdir -p /opt/lakehouse/one-machine/.dagster /opt/lakehouse/celery/.dagster /opt/lakehouse/ecs/.dagster \
        /opt/lakehouse/tokens \
    && chown -R lakehouse /opt/lakehouse
COPY --from=installed /opt/venv /opt/venv
COPY --from=sbom /sbom.cdx.json /opt/lakehouse/sbom.cdx.json
# Certificates of authorities, such as that of RDS, for PGSSLROOTCERT and AWS_CA_BUNDLE.
COPY deploy/certificates /etc/lakehouse/certificates
COPY deploy/dagster /opt/lakehouse
WORKDIR /opt/lakehouse
ENV PATH=/opt/venv/bin:$PATH \
    DAGSTER_HOME=/opt/lakehouse/one-machine \
    DAGSTER_EVENT_BATCH_SIZE=1000 \
    LAKEHOUSE_ENV=prod \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 3000
# The default command listens inside the container only. compose.yaml says how to publish it after a proxy with passwords.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/server_info', timeout=8)"]
CMD ["dagster-webserver", "--host", "127.0.0.1", "--port", "3000", "--module-name", "crypto_lakehouse.definitions"]
