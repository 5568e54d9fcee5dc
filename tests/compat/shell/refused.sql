.print === virtual table of the shell
SELECT sum(value) FROM generate_series(1, 100);
.print === loaded extension
SELECT load_extension('nowhere');
.load nowhere
.print === settings of the connection
.dbconfig
.print === what goes on working
SELECT 1 + 1;
