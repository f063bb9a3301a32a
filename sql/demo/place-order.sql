-- Two parameters: about which customer, and when in milliseconds. Places an order in either store.
INSERT INTO purchase(customer, placed_ms)
VALUES ((SELECT id FROM customer WHERE id >= ? ORDER BY id LIMIT 1), ?)
RETURNING id;
