.print === read
.read DUMP
SELECT count(*), sum(length(text)), sum(number), min(id), max(id) FROM big;
PRAGMA integrity_check;
.print === looked up
SELECT text FROM big WHERE id IN (1, 77, 1000);
SELECT count(*) FROM big WHERE number < 100;
