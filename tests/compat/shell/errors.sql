.print === syntax
SELEC 1;
SELECT * FROM nowhere;
SELECT nothing;
.print === constraints
CREATE TABLE t(a UNIQUE, b CHECK(b > 0), c NOT NULL DEFAULT 1);
INSERT INTO t VALUES (1, 1, 1), (1, 2, 2);
INSERT INTO t VALUES (1, 1, 1);
INSERT INTO t VALUES (1, 1, 1);
INSERT INTO t VALUES (2, 0, 1);
INSERT INTO t VALUES (3, 1, NULL);
INSERT OR IGNORE INTO t VALUES (1, 1, 1), (4, 1, 1);
SELECT * FROM t;
.print === functions
SELECT json('{');
SELECT abs(-9223372036854775808);
SELECT randomblob(1, 2);
.print === transactions
BEGIN;
INSERT INTO t VALUES (5, 1, 1);
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (6, 1, 1);
ROLLBACK TO s;
COMMIT;
COMMIT;
ROLLBACK;
SELECT a FROM t;
.print === schema
CREATE TABLE t(a);
DROP TABLE nothing;
ALTER TABLE t RENAME a TO aa;
ALTER TABLE t DROP COLUMN nothing;
CREATE INDEX i ON t(nothing);
.schema
.print === shell
.nonsense
.open /nowhere/at/all.db
SELECT 1;
