INSERT INTO shop_orders (reference, status, sequence) VALUES (:reference, :status, :sequence)
ON CONFLICT (reference) DO UPDATE SET status = excluded.status, sequence = excluded.sequence
WHERE shop_orders.sequence < excluded.sequence;
