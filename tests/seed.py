"""The page the project was born from: its request and both answers, as docs/seed.md has them."""

import re
from pathlib import Path
from typing import Final

_PAGE: Final = (Path(__file__).resolve().parents[1] / "docs/seed.md").read_text(encoding="utf-8")
_REQUESTS: Final = re.findall(r"^```bash\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
_ANSWERS: Final = re.findall(r"^```json\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)

(SAMPLE,) = _REQUESTS
"""The curl, as a newcomer pastes it into a shell; it names the host ``HOST``."""
SUCCESS, ERROR = _ANSWERS
HOST: Final = "https://api.nomba.com"
