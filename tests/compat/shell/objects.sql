.print === types
CREATE TABLE v(a, b INT, c TEXT, d BLOB, e REAL, f NUMERIC);
INSERT INTO v VALUES (1, '2', 3, 4, 5, '6'), ('x', 'y', 'z', x'00ff', 'r', 'n'), (NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO v VALUES (1e999, 9223372036854775807, char(0, 65), zeroblob(3), -0.0, '1e3');
SELECT typeof(a), typeof(b), typeof(c), typeof(d), typeof(e), typeof(f) FROM v;
SELECT quote(a), quote(b), quote(c), quote(d), quote(e), quote(f) FROM v;
.print === upsert, returning
CREATE TABLE k(id INTEGER PRIMARY KEY, n INT DEFAULT 0, UNIQUE(n));
INSERT INTO k(n) VALUES (1), (2), (3) RETURNING id, n;
INSERT INTO k(id, n) VALUES (1, 9) ON CONFLICT(id) DO UPDATE SET n = excluded.n + 100 RETURNING *;
DELETE FROM k WHERE n < 3 RETURNING id;
UPDATE k SET n = n + 1 RETURNING n;
.print === window, cte
SELECT n, sum(n) OVER (ORDER BY n), rank() OVER (ORDER BY n DESC) FROM k;
WITH RECURSIVE f(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM f LIMIT 40) SELECT max(a) FROM f;
.print === json, dates
SELECT json_extract('{"a":[1,2,{"b":null}]}', '$.a[2].b', '$.a[1]'), json_group_array(n) FROM k;
SELECT value FROM json_each('[1,"two",null,{"x":3}]');
SELECT date('2024-02-29', '+1 year'), strftime('%J', '2000-01-01 12:00:00'), unixepoch('1970-01-02');
.print === rtree, fts
CREATE VIRTUAL TABLE area USING rtree(id, x0, x1);
INSERT INTO area VALUES (1, 0, 10), (2, 5, 15), (3, 20, 30);
SELECT id FROM area WHERE x1 > 4 AND x0 < 6;
CREATE VIRTUAL TABLE docs USING fts5(title, body);
INSERT INTO docs VALUES ('one', 'the quick brown fox'), ('two', 'the lazy dog');
SELECT highlight(docs, 1, '[', ']') FROM docs WHERE docs MATCH 'quick OR dog' ORDER BY rank;
.print === attach, temp
CREATE TEMP TABLE mine(x);
INSERT INTO mine SELECT n FROM k;
ATTACH 'second.db' AS second;
CREATE TABLE second.copy AS SELECT * FROM k;
SELECT count(*) FROM second.copy, temp.mine;
DETACH second;
SELECT count(*) FROM second.copy;
.print === reopened
.open x.db
SELECT count(*) FROM k;
SELECT count(*) FROM mine;
.open second.db
SELECT count(*) FROM copy;
.print === vacuum
VACUUM;
PRAGMA integrity_check;
PRAGMA user_version = 7;
PRAGMA user_version;
PRAGMA application_id = 12;
PRAGMA application_id;
