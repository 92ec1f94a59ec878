// Receive opentill's webhooks: OPENTILL_WEBHOOK_KEY=... node verify_webhook.mjs 8000 (no packages)
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

// The signing key; during a rotation the old and the new one, with a space between them.
const KEYS = process.env.OPENTILL_WEBHOOK_KEY.split(" ");
const MAX_AGE_SECONDS = 300;

const signature = (key, message) => createHmac("sha256", key).update(message).digest("base64");
const isRecent = (seconds) => Math.abs(Date.now() / 1000 - seconds) <= MAX_AGE_SECONDS; // false for NaN

function same(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

// Standard Webhooks: the whole body is signed. Prefer this one.
function signedStandard(raw, headers) {
  const sent = headers["webhook-timestamp"] ?? "";
  if (!/^\d+$/.test(sent) || !isRecent(Number(sent))) return false;
  const message = Buffer.concat([Buffer.from(`${headers["webhook-id"] ?? ""}.${sent}.`), raw]);
  const claimed = (headers["webhook-signature"] ?? "").split(" ");
  return KEYS.some((key) => claimed.some((each) => same(`v1,${signature(key, message)}`, each)));
}

// Nomba's way: nine values are signed, the amounts are not. Ask the API for what these do not tell.
function signedNomba(raw, headers) {
  const sent = headers["nomba-timestamp"] ?? "";
  let body;
  try {
    body = JSON.parse(raw);
  } catch {
    return false;
  }
  const { merchant, transaction } = body?.data ?? {};
  const code = transaction?.responseCode;
  const message = [
    body?.event_type,
    body?.requestId,
    merchant?.userId,
    merchant?.walletId,
    transaction?.transactionId,
    transaction?.type,
    transaction?.time,
    code === "null" ? "" : code,
    sent,
  ]
    .map((value) => value ?? "")
    .join(":");
  const claimed = headers["nomba-signature"] ?? "";
  return isRecent(Date.parse(sent) / 1000) && KEYS.some((key) => same(signature(key, message), claimed));
}

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const raw = Buffer.concat(chunks);
    // One of the two is enough; both are here so that either can be copied.
    const genuine = signedStandard(raw, request.headers) && signedNomba(raw, request.headers);
    if (genuine) {
      const body = JSON.parse(raw); // {} when the endpoint was just registered
      console.log(body.event_type, body.data?.order?.orderReference, body.data?.order?.status);
    }
    response.writeHead(genuine ? 204 : 401).end();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
