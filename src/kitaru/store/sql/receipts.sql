-- name: find_receipt(key)
-- What was answered to a request that has come before.
SELECT answer
FROM receipt
WHERE key = :key;

-- name: record_receipt(key, answer, created_at)!
-- What is answered to a request, in the transaction that does what it asks for.
INSERT INTO receipt (key, answer, created_at)
VALUES (:key, :answer, :created_at);

-- name: forget_receipts(before)!
-- Whoever has not asked again by now never will.
DELETE FROM receipt
WHERE created_at < :before;

-- name: claim_receipt(key, answer, created_at)!
-- Find out whether a transaction has left its receipt, after waiting for it if it is still going on.
INSERT INTO receipt (key, answer, created_at)
VALUES (:key, :answer, :created_at)
ON CONFLICT (key) DO NOTHING;
