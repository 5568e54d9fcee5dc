/* base/declared_type.h: from a column's declared type ("VARCHAR(20)") to the class that clients see. Pure, any
 * thread. */
#ifndef SQ_BASE_DECLARED_TYPE_H
#define SQ_BASE_DECLARED_TYPE_H

#include "base/value.h"

/* The class of a declared type, as sqlite3_column_decltype() gives it; NULL or blank: SQ_TYPE_ANY. Upper and lower case
 * are the same, arguments in parentheses do not matter. Names that are not in the table follow SQLite's affinity rules
 * (sqlite.org/datatype3.html, section 3.1), but for their last: what has NUMERIC affinity only because nothing else fits
 * is SQ_TYPE_ANY. */
enum sq_type sq_type_of_declared(const char *declared);

#endif
