.read FILL
.print === dump
.dump
.print === dump of one table
.dump customer
.print === dump with a pattern, without schema
.dump --data-only '%o%'
.print === dump --preserve-rowids
.dump --preserve-rowids counted
