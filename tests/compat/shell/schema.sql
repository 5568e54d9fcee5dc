.read FILL
.print === tables
.tables
.tables cust%
.print === schema
.schema
.schema --indent customer
.schema --nosys
.print === indexes
.indexes
.indexes customer
.print === fullschema
ANALYZE;
.fullschema
.print === databases
ATTACH 'second.db' AS second;
CREATE TABLE second.other(a, b);
.tables
.schema second.other
.print === pragmas
SELECT * FROM pragma_table_xinfo('an order');
SELECT * FROM pragma_index_list('customer');
SELECT * FROM pragma_foreign_key_list('an order');
PRAGMA integrity_check;
PRAGMA foreign_key_check;
.print === changes, limits
.changes on
INSERT INTO counted(x) VALUES ('more');
UPDATE customer SET credit = credit + 1 WHERE id < 10;
.limit
.print === lint
.lint fkey-indexes
