"""Receive opentill's webhooks: OPENTILL_WEBHOOK_KEY=... python3 verify_webhook.py 8000 (no packages)."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

# The signing key; during a rotation the old and the new one, with a space between them.
KEYS = os.environ["OPENTILL_WEBHOOK_KEY"].split(" ")
MAX_AGE_SECONDS = 300


def signature(key, message):
    return base64.b64encode(hmac.digest(key.encode(), message, hashlib.sha256)).decode()


def same(one, other):
    return hmac.compare_digest(one.encode(), other.encode())


def is_recent(seconds):
    return abs(time.time() - seconds) <= MAX_AGE_SECONDS


def signed_standard(raw, headers):
    """Standard Webhooks: the whole body is signed. Prefer this one."""
    sent = headers.get("webhook-timestamp", "")
    if not (sent.isdecimal() and is_recent(int(sent))):
        return False
    message = f"{headers.get('webhook-id', '')}.{sent}.".encode() + raw
    claimed = headers.get("webhook-signature", "").split(" ")
    return any(same("v1," + signature(key, message), each) for key in KEYS for each in claimed)


def nomba_message(raw, sent):
    body = json.loads(raw)
    data = body.get("data") or {}
    merchant, transaction = data.get("merchant") or {}, data.get("transaction") or {}
    code = transaction.get("responseCode")
    values = [
        body.get("event_type"),
        body.get("requestId"),
        merchant.get("userId"),
        merchant.get("walletId"),
        transaction.get("transactionId"),
        transaction.get("type"),
        transaction.get("time"),
        "" if code == "null" else code,
        sent,
    ]
    return ":".join(str(value or "") for value in values).encode()


def signed_nomba(raw, headers):
    """Nomba's way: nine values are signed, the amounts are not. Ask the API for what these do not tell."""
    sent = headers.get("nomba-timestamp", "")
    try:
        message = nomba_message(raw, sent)
        recent = is_recent(datetime.fromisoformat(sent).timestamp())
    except (ValueError, AttributeError):
        return False
    claimed = headers.get("nomba-signature", "")
    return recent and any(same(signature(key, message), claimed) for key in KEYS)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        # One of the two is enough; both are here so that either can be copied.
        genuine = signed_standard(raw, self.headers) and signed_nomba(raw, self.headers)
        if genuine:
            body = json.loads(raw)  # {} when the endpoint was just registered
            order = body.get("data", {}).get("order", {})
            print(body.get("event_type"), order.get("orderReference"), order.get("status"), flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *_):
        """Only what was verified is printed."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
