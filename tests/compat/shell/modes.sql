.read FILL
.headers on
.print === ascii
.mode ascii
SELECT id, name, born, hex(photo), credit FROM customer WHERE id < 15;
.print === box
.mode box
SELECT id, name, born, hex(photo), credit FROM customer WHERE id < 15;
.print === column
.mode column
SELECT id, name, born, hex(photo), credit FROM customer WHERE id < 15;
.print === csv
.mode csv
SELECT id, name, born, photo, credit FROM customer WHERE id < 15;
.print === html
.mode html
SELECT id, name, born, photo, credit FROM customer WHERE id < 15;
.print === insert
.mode insert customer
SELECT id, name, born, photo, credit FROM customer WHERE id < 15;
.print === json
.mode json
SELECT id, name, born, photo, credit FROM customer WHERE id < 15;
SELECT * FROM counted;
.print === line
.mode line
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === list
.mode list
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === markdown
.mode markdown
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === quote
.mode quote
SELECT id, name, born, photo, credit FROM customer WHERE id < 15;
SELECT * FROM counted;
.print === table
.mode table
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === tabs
.mode tabs
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === tcl
.mode tcl
SELECT id, name, born, credit FROM customer WHERE id < 15;
.print === explain query plan
.mode list
.eqp on
SELECT c.name FROM customer c JOIN "an order" o ON o.customer = c.id WHERE c.born > 2000 ORDER BY 1;
.eqp off
.print === nullvalue, width, separator
.nullvalue NULL
.separator " ; "
SELECT id, photo FROM customer WHERE photo IS NULL ORDER BY id LIMIT 3;
.print === output to a file
.output out.txt
SELECT count(*) FROM customer;
.output stdout
SELECT readfile('out.txt');
.print === once
.once out.txt
SELECT max(id) FROM customer;
.import out.txt imported
SELECT * FROM imported;
