"""THE route table: what the API can do. Routing, decoding, encoding and OpenAPI are all made from it."""

from typing import Final

from opentill.api.nomba.operations import NOMBA
from opentill.api.own.operations import OWN

OPERATIONS: Final = (*NOMBA, *OWN)
