"""THE route table: what the API can do. Routing, decoding, encoding and OpenAPI are all made from it.

It stands alone because it knows both surfaces and all that stand below them know none.
"""

from typing import Final

from opentill.api.nomba.operations import NOMBA
from opentill.api.own.operations import OWN

OPERATIONS: Final = (*NOMBA, *OWN)
