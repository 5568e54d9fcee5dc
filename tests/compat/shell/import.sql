.mode csv
.headers on
.print === into a new table
.import DATA fresh
SELECT count(*), sum(b), max(c), typeof(a) FROM fresh;
.schema fresh
.print === into a table
CREATE TABLE typed(a INTEGER PRIMARY KEY, b REAL, c TEXT);
.import --skip 1 DATA typed
SELECT count(*), sum(b), max(c), typeof(a), typeof(b) FROM typed;
.print === again: every row is refused
.import --skip 1 DATA typed
SELECT count(*) FROM typed;
.print === too few columns
CREATE TABLE wide(a, b, c, d);
.import --skip 990 DATA wide
SELECT * FROM wide WHERE a > 995;
.print === tabs, another schema
ATTACH 'second.db' AS second;
.mode tabs
.import --schema second DATA lines
SELECT count(*) FROM second.lines;
