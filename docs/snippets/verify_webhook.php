<?php
// Receive opentill's webhooks: OPENTILL_WEBHOOK_KEY=... php -S 127.0.0.1:8000 verify_webhook.php (no packages)

const MAX_AGE_SECONDS = 300;
// The signing key; during a rotation the old and the new one, with a space between them.
$keys = explode(' ', getenv('OPENTILL_WEBHOOK_KEY'));

function signature(string $key, string $message): string
{
    return base64_encode(hash_hmac('sha256', $message, $key, true));
}

function received(string $header): string
{
    return $_SERVER['HTTP_' . strtoupper(strtr($header, '-', '_'))] ?? '';
}

function is_recent(int|false $seconds): bool
{
    return $seconds !== false && abs(time() - $seconds) <= MAX_AGE_SECONDS;
}

// Standard Webhooks: the whole body is signed. Prefer this one.
function signed_standard(string $raw, array $keys): bool
{
    $sent = received('webhook-timestamp');
    if (!ctype_digit($sent) || !is_recent((int) $sent)) {
        return false;
    }
    $message = received('webhook-id') . ".$sent.$raw";
    foreach ($keys as $key) {
        foreach (explode(' ', received('webhook-signature')) as $claimed) {
            if (hash_equals('v1,' . signature($key, $message), $claimed)) {
                return true;
            }
        }
    }
    return false;
}

// Nomba's way: nine values are signed, the amounts are not. Ask the API for what these do not tell.
function signed_nomba(string $raw, array $keys): bool
{
    $body = json_decode($raw, true);
    $sent = received('nomba-timestamp');
    if (!is_array($body) || !is_recent(strtotime($sent))) {
        return false;
    }
    $merchant = $body['data']['merchant'] ?? [];
    $transaction = $body['data']['transaction'] ?? [];
    $code = $transaction['responseCode'] ?? '';
    $message = implode(':', [
        $body['event_type'] ?? '',
        $body['requestId'] ?? '',
        $merchant['userId'] ?? '',
        $merchant['walletId'] ?? '',
        $transaction['transactionId'] ?? '',
        $transaction['type'] ?? '',
        $transaction['time'] ?? '',
        $code === 'null' ? '' : $code,
        $sent,
    ]);
    foreach ($keys as $key) {
        if (hash_equals(signature($key, $message), received('nomba-signature'))) {
            return true;
        }
    }
    return false;
}

$raw = file_get_contents('php://input');
// One of the two is enough; both are here so that either can be copied.
$genuine = signed_standard($raw, $keys) && signed_nomba($raw, $keys);
if ($genuine) {
    $body = json_decode($raw, true); // [] when the endpoint was just registered
    $order = $body['data']['order'] ?? [];
    error_log(($body['event_type'] ?? '') . ' ' . ($order['orderReference'] ?? '') . ' ' . ($order['status'] ?? ''));
}
http_response_code($genuine ? 204 : 401);
