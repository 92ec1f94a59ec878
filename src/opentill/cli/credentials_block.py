"""The blocks to copy from that ``serve`` and ``merchants create`` print."""

from pathlib import Path
from typing import Final

from opentill.keys.provisioning import Credentials
from opentill.settings import Settings

SANDBOX_ENV_FILE: Final = "sandbox.env"
SEED_REFERENCE: Final = "OD-69923-2e102708-ee34-4a29-b713-a826ca928a12"
"""The order of Nomba's page on cancelling, which our sandbox can create and cancel by its very name."""

_CREATE: Final = """\
curl --request POST \\
  --url {url}/v1/checkout/order \\
  --header 'Content-Type: application/json' \\
  --data '{{
    "order": {{
      "orderReference": "{reference}",
      "amount": "10000.00",
      "currency": "NGN",
      "customerEmail": "customer@example.com"
    }}
  }}'"""
_CANCEL: Final = """\
curl --request POST \\
  --url {url}/v1/checkout/order/cancel \\
  --header 'Content-Type: application/json' \\
  --data '{{
    "orderReference": "{reference}"
  }}'"""


def sandbox_block(credentials: Credentials, env_file: Path, payer_link: str) -> str:
    """Write what ``serve`` prints once requests are answered."""
    create = _CREATE.format(url=credentials.url, reference=SEED_REFERENCE)
    cancel = _CANCEL.format(url=credentials.url, reference=SEED_REFERENCE)
    return (
        f"opentill sandbox at {credentials.url} - made-up money, open to whoever reaches it.\n\n"
        f"{credentials.env_lines()}\n"
        f"The same lines are in {env_file}.\n\n"
        f"Create an order:\n\n{create}\n\n"
        f"Cancel it:\n\n{cancel}\n\n"
        f"A page for a payer: {payer_link}\n"
    )


def merchant_block(name: str, credentials: Credentials) -> str:
    """Write what ``merchants create`` prints."""
    return (
        f"{name} can work with {credentials.url}. Keep what follows secret.\n\n"
        f"{credentials.env_lines()}\n"
        f"Tokens come from POST {credentials.url}/v1/auth/token/issue with the header accountId."
    )


def served_url(settings: Settings) -> str:
    """Return the URL of the server of this data folder: as set, else as it was last started."""
    file = settings.data_dir / SANDBOX_ENV_FILE
    if settings.url_follows_port and file.exists():
        first, _, _ = file.read_text(encoding="utf-8").partition("\n")
        return first.partition("=")[2] or settings.public_url
    return settings.public_url
