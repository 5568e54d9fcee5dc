.read FILL
DROP TABLE words;
.print === clone
.clone copy.db
.print === the copy
.open copy.db
.tables
SELECT count(*), sum(credit), group_concat(typeof(photo)) FROM customer WHERE id < 30;
SELECT * FROM counted;
SELECT * FROM young ORDER BY 1 LIMIT 3;
DELETE FROM customer WHERE id = 1;
PRAGMA integrity_check;
.schema
