.read FILL
.print === of the shell
SELECT hex(sha3(name)) FROM customer WHERE id < 3;
SELECT decimal_add('1.1', '2.2'), 'abc' REGEXP 'b+', shell_add_schema('CREATE TABLE a(b)', 's', 't');
SELECT hex(sha3_query('SELECT id, name FROM customer'));
.sha3sum
.print === parameters
.param init
.param set @low 7
.param set $name "'it''s'"
SELECT id FROM customer WHERE id BETWEEN @low AND @low + 2;
.param list
.print === trace
.trace stdout --plain
SELECT count(*) FROM customer WHERE born > 2000;
.trace off
.print === auth
.auth on
SELECT count(*) FROM young;
.auth off
.print === progress
.progress 5 --limit 3
SELECT count(*) FROM customer a, customer b;
.progress 0
.print === selftest
.selftest --init
.selftest
