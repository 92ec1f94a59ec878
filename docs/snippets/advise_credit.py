"""Tells opentill of a bank transfer.

OPENTILL_CREDIT_ADVICE_KEYS=KEY python3 advise_credit.py http://127.0.0.1:8480 '{"sessionId": ...}'
"""

import base64
import hashlib
import hmac
import os
import sys
import time
import urllib.error
import urllib.request


def advise(url, key, body):
    """Post one advice; returns the HTTP status and the answer's text."""
    timestamp = str(int(time.time()))
    signature = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Signature": base64.b64encode(signature).decode(),
    }
    request = urllib.request.Request(url + "/v1/opentill/credit-advices", body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


if __name__ == "__main__":
    newest_key = os.environ["OPENTILL_CREDIT_ADVICE_KEYS"].split(",")[-1].strip()
    status, text = advise(sys.argv[1].rstrip("/"), newest_key, sys.argv[2].encode())
    print(status, text)
    sys.exit(status != 200)
