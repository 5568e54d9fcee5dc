.read FILL
.print === backup
.backup copy.db
DROP VIEW young;
DELETE FROM customer WHERE id > 100;
SELECT count(*) FROM customer;
.print === restore
.restore copy.db
SELECT count(*) FROM customer;
SELECT count(*) FROM young;
PRAGMA integrity_check;
.print === the copy
.open copy.db
SELECT count(*), sum(credit) FROM customer;
SELECT w FROM words WHERE words MATCH '7';
.schema
.print === save over it
DELETE FROM customer WHERE id > 50;
.save third.db
.open third.db
SELECT count(*) FROM customer;
.print === backup of an attached database
ATTACH 'copy.db' AS other;
.backup other fourth.db
.open fourth.db
SELECT count(*) FROM customer;
.print === VACUUM INTO
VACUUM INTO 'fifth.db';
.open fifth.db
SELECT count(*) FROM customer;
.print === from and to memory
.open :memory:
.restore fifth.db
SELECT count(*) FROM customer;
INSERT INTO customer(name) VALUES ('from memory');
.backup sixth.db
.open sixth.db
SELECT count(*), max(name) FROM customer;
