CREATE TABLE customer(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    born REAL DEFAULT (1950.5),
    photo BLOB,
    credit NUMERIC CHECK(credit >= 0)
);
CREATE TABLE "an order" (
    number TEXT PRIMARY KEY,
    customer INTEGER REFERENCES customer(id) ON DELETE CASCADE,
    line INT, total AS (line * 2) STORED
) WITHOUT ROWID;
CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x ANY) STRICT;
CREATE INDEX customer_born ON customer(born DESC) WHERE born IS NOT NULL;
CREATE INDEX customer_length ON customer(length(name));
CREATE VIEW young(who) AS SELECT name FROM customer WHERE born > 1990;
CREATE TRIGGER no_delete BEFORE DELETE ON customer WHEN old.id = 1 BEGIN SELECT RAISE(ABORT, 'not the first'); END;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
INSERT INTO customer
SELECT i, 'it''s "' || char(8364, 10, 9) || i, nullif(1950.5 + i % 60, 1960.5), iif(i % 11, zeroblob(i % 7), NULL), i * 1.25 FROM n;
INSERT INTO "an order" SELECT printf('%05d', id), id, id * 3 FROM customer WHERE id % 3 = 0;
INSERT INTO counted(x) VALUES (1), (2.5), ('three'), (x'04'), (NULL), (9223372036854775807), (-1e300), (1e999);
DELETE FROM counted WHERE id = 2;
CREATE VIRTUAL TABLE words USING fts5(w);
INSERT INTO words SELECT name FROM customer WHERE id < 20;
