"""The page of all settings, generated from the settings themselves."""

from __future__ import annotations

from enum import StrEnum

from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.cli.document.markdown import markdown_table, prose
from crypto_lakehouse.settings import PREFIX, Settings

_HEAD = (
    "Settings are environment variables. Every command checks them when it starts, and names a misspelt name or a wrong"
    f" value. An empty variable counts as not set. `{command_line('config')}` prints the effective values, with secrets"
    " masked. `make docs` generates the table from `crypto_lakehouse/settings.py`: change that, not this page."
)
_OTHERS = (
    "Credentials, profile, endpoint and region of S3 are those of boto3: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,"
    " `AWS_ENDPOINT_URL_S3`, and the files of AWS. Requests to an archive use `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`"
    " and `NO_PROXY`; SOCKS proxies are refused. `DAGSTER_HOME` is the folder of `dagster.yaml` and of Dagster's"
    " records. `DAGSTER_POSTGRES_HOST`, `_USER`, `_PASSWORD`, `_DB` and `_PORT` move the records to PostgreSQL: set all"
    " (the port is 5432 by default), or none."
)


def settings_page() -> str:
    """The whole page as markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default.value if isinstance(field.default, StrEnum) else field.default
        shown = "" if default in (None, "") else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        rows.append([f"`{PREFIX}{name.upper()}`", shown, field.description or ""])
    table = markdown_table(["variable", "default", "meaning"], rows)
    return "\n".join(["# Settings\n", prose(_HEAD), table, "## Variables of others\n", prose(_OTHERS)])
