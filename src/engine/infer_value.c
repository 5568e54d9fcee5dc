/* engine/infer_value.c: what is known of a value, and how operators change it.
 *
 * The order, from "NULL only" up to "anything"; joining two values gives the lowest that is above both:
 *
 *     NONE < 0 or 1 < BOOLEAN < INTEGER < NUMERIC < ANY          REAL < NUMERIC
 *     NONE < TEXT, BLOB, DATE, TIME, TIMESTAMP, UUID, JSON < ANY
 *
 * A type stands for the storage classes (sqlite.org/datatype3.html) that a column declared so holds:
 *
 *     INTEGER, BOOLEAN   integer                 DATE, TIME, TIMESTAMP   integer, real, text
 *     REAL               real                    UUID                    text, blob
 *     NUMERIC            integer, real           JSON                    anything (a column declared so has NUMERIC
 *                                                                        affinity, and 3 is JSON)
 *     TEXT, BLOB         their own
 *
 * Constants are below what is not constant; the flag matters for parameters only. */
#include "engine/infer_internal.h"

static bool is_integer(infer_value value)
{
    enum sq_type type = infer_value_type(value);
    return type == SQ_TYPE_INTEGER || type == SQ_TYPE_BOOLEAN;
}

static bool is_number(infer_value value)
{
    enum sq_type type = infer_value_type(value);
    return is_integer(value) || type == SQ_TYPE_REAL || type == SQ_TYPE_NUMERIC;
}

infer_value infer_value_join(infer_value a, infer_value b)
{
    if (a == b || b == INFER_VALUE_NONE)
        return a;
    if (a == INFER_VALUE_NONE)
        return b;
    if (infer_value_is_record(a) || infer_value_is_record(b))
        return infer_value_of_type(SQ_TYPE_ANY);
    infer_value constant = (infer_value)(a & b & INFER_VALUE_CONST);
    infer_value any = (infer_value)(infer_value_of_type(SQ_TYPE_ANY) | ((a | b) & INFER_VALUE_UNTRACKED));
    enum sq_type a_type = infer_value_type(a);
    enum sq_type b_type = infer_value_type(b);
    if (a_type == SQ_TYPE_ANY || b_type == SQ_TYPE_ANY)
        return any;
    if (a_type == b_type)
        return (infer_value)(infer_value_of_type(a_type) | constant | (a & b & INFER_VALUE_BIT));
    if ((a_type == SQ_TYPE_BOOLEAN && (b & INFER_VALUE_BIT) != 0) ||
        (b_type == SQ_TYPE_BOOLEAN && (a & INFER_VALUE_BIT) != 0))
        return infer_value_of_type(SQ_TYPE_BOOLEAN);
    if (is_integer(a) && is_integer(b))
        return (infer_value)(infer_value_of_type(SQ_TYPE_INTEGER) | constant);
    if (is_number(a) && is_number(b))
        return (infer_value)(infer_value_of_type(SQ_TYPE_NUMERIC) | constant);
    return any;
}

static infer_value apply_text(infer_value value)
{
    switch (infer_value_type(value)) {
    case SQ_TYPE_INTEGER:
    case SQ_TYPE_BOOLEAN:
    case SQ_TYPE_REAL:
    case SQ_TYPE_NUMERIC:
    case SQ_TYPE_TEXT:
    case SQ_TYPE_DATE:
    case SQ_TYPE_TIME:
    case SQ_TYPE_TIMESTAMP:
        return (infer_value)(infer_value_of_type(SQ_TYPE_TEXT) | (value & INFER_VALUE_CONST));
    default:
        return (infer_value)(value & ~INFER_VALUE_BIT);
    }
}

static infer_value apply_number(infer_value value, bool is_real)
{
    switch (infer_value_type(value)) {
    case SQ_TYPE_INTEGER:
    case SQ_TYPE_BOOLEAN:
    case SQ_TYPE_NUMERIC:
        return is_real ? (infer_value)(infer_value_of_type(SQ_TYPE_REAL) | (value & INFER_VALUE_CONST)) : value;
    case SQ_TYPE_REAL:
        /* 3.0 becomes 3, 3.5 stays. */
        return is_real ? value : infer_value_of_type(SQ_TYPE_NUMERIC);
    case SQ_TYPE_BLOB:
    case SQ_TYPE_DATE:
    case SQ_TYPE_TIME:
    case SQ_TYPE_TIMESTAMP:
        return value;
    default:
        return infer_value_of_type(SQ_TYPE_ANY); /* text may look like a number, or not */
    }
}

/* The letters of sqlite.org/opcode.html, Affinity: 'A' BLOB, 'B' TEXT, 'C' NUMERIC, 'D' INTEGER, 'E' REAL; '@' none. */
infer_value infer_value_apply_affinity(infer_value value, char affinity)
{
    if (value == INFER_VALUE_NONE || affinity == 'A' || affinity == '@')
        return value;
    if (infer_value_is_record(value))
        return infer_value_of_type(SQ_TYPE_ANY);
    switch (affinity) {
    case 'B':
        return apply_text(value);
    case 'C':
    case 'D':
        return apply_number(value, false);
    case 'E':
        return apply_number(value, true);
    default:
        return infer_value_of_type(SQ_TYPE_ANY);
    }
}

infer_value infer_value_cast(int affinity)
{
    switch (affinity) {
    case 'A':
        return infer_value_of_type(SQ_TYPE_BLOB);
    case 'B':
        return infer_value_of_type(SQ_TYPE_TEXT);
    case 'C':
        return infer_value_of_type(SQ_TYPE_NUMERIC);
    case 'D':
        return infer_value_of_type(SQ_TYPE_INTEGER);
    case 'E':
        return infer_value_of_type(SQ_TYPE_REAL);
    default:
        return infer_value_of_type(SQ_TYPE_ANY);
    }
}

infer_value infer_value_make_real(infer_value value)
{
    if (!is_number(value))
        return infer_value_is_record(value) ? infer_value_of_type(SQ_TYPE_ANY) : value;
    return (infer_value)(infer_value_of_type(SQ_TYPE_REAL) | (value & INFER_VALUE_CONST));
}

infer_value infer_value_arithmetic(infer_value a, infer_value b)
{
    if (a == INFER_VALUE_NONE || b == INFER_VALUE_NONE)
        return INFER_VALUE_NONE; /* NULL */
    if (infer_value_is_record(a) || infer_value_is_record(b))
        return infer_value_of_type(SQ_TYPE_ANY);
    if (is_integer(a) && is_integer(b))
        return infer_value_of_type(SQ_TYPE_INTEGER);
    if (infer_value_type(a) == SQ_TYPE_REAL || infer_value_type(b) == SQ_TYPE_REAL)
        return infer_value_of_type(SQ_TYPE_REAL);
    return infer_value_of_type(SQ_TYPE_ANY);
}

static infer_value substring_of(infer_value value)
{
    infer_value text = apply_text(value);
    enum sq_type type = infer_value_type(text);
    if (value == INFER_VALUE_NONE)
        return value;
    return type == SQ_TYPE_TEXT || type == SQ_TYPE_BLOB ? text : infer_value_of_type(SQ_TYPE_ANY);
}

infer_value infer_value_call(const struct infer_function *function, const infer_value *args, size_t arg_count)
{
    infer_value first = arg_count > 0 ? args[0] : infer_value_of_type(SQ_TYPE_ANY);
    if (infer_value_is_record(first))
        first = infer_value_of_type(SQ_TYPE_ANY);
    infer_value result = infer_value_of_type(SQ_TYPE_ANY);
    switch (function->rule) {
    case INFER_RULE_FIXED:
        return infer_value_of_type(function->type);
    case INFER_RULE_SAME:
        result = first;
        break;
    case INFER_RULE_UNION:
        result = first;
        for (size_t i = 1; i < arg_count; i++)
            result = infer_value_join(result, args[i]);
        break;
    case INFER_RULE_NUMBER:
        if (first == INFER_VALUE_NONE || infer_value_type(first) == SQ_TYPE_REAL)
            result = first;
        else if (is_integer(first))
            result = infer_value_of_type(SQ_TYPE_INTEGER);
        break;
    case INFER_RULE_SUBSTRING:
        result = substring_of(first);
        break;
    case INFER_RULE_TEXT:
        if (first == INFER_VALUE_NONE || infer_value_type(first) == SQ_TYPE_TEXT)
            result = first;
        break;
    case INFER_RULE_NOTHING:
        result = INFER_VALUE_NONE;
        break;
    default:
        break;
    }
    return infer_value_is_record(result) ? infer_value_of_type(SQ_TYPE_ANY) : result;
}
