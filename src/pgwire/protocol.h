/* pgwire/protocol.h: the numbers of the PostgreSQL protocol, version 3 (PostgreSQL manual, "Frontend/Backend
 * Protocol", section "Message Formats"): versions, request codes, message types, limits. */
#ifndef SQ_PGWIRE_PROTOCOL_H
#define SQ_PGWIRE_PROTOCOL_H

#include <stdint.h>

/* A protocol version is major << 16 | minor. The request codes of the first packet have "major" 1234, which no real
 * version will have. */
#define PGWIRE_VERSION(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))
#define PGWIRE_VERSION_MAJOR(version) ((uint16_t)((uint32_t)(version) >> 16))
#define PGWIRE_VERSION_MINOR(version) ((uint16_t)((uint32_t)(version)&0xffffu))
#define PGWIRE_VERSION_3_0 PGWIRE_VERSION(3, 0)
#define PGWIRE_VERSION_3_2 PGWIRE_VERSION(3, 2)
#define PGWIRE_CANCEL_REQUEST_CODE PGWIRE_VERSION(1234, 5678)
#define PGWIRE_SSL_REQUEST_CODE PGWIRE_VERSION(1234, 5679)
#define PGWIRE_GSSENC_REQUEST_CODE PGWIRE_VERSION(1234, 5680)

/* Start-up parameters whose names begin so ask for protocol extensions. */
#define PGWIRE_OPTION_PREFIX "_pq_."

enum {
    PGWIRE_STARTUP_BYTES_MAX = 65536, /* the whole first packet, with its length word */
    PGWIRE_STARTUP_BYTES_MIN = 8,     /* length word and code */
    PGWIRE_HEADER_BYTES = 5,          /* type byte and length word */
    PGWIRE_LENGTH_BYTES_MIN = 4,      /* the length word counts itself, but not the type byte */
    PGWIRE_LIST_COUNT_MAX = 65535,    /* parameters, columns: an unsigned 16-bit count, as PostgreSQL reads it */
    PGWIRE_SECRET_BYTES_MIN = 4,      /* cancel secret: exactly 4 bytes in 3.0, … */
    PGWIRE_SECRET_BYTES_MAX = 256,    /* … up to 256 in 3.2 */
};

/* Format codes of parameters, columns and COPY. */
enum {
    PGWIRE_FORMAT_TEXT = 0,
    PGWIRE_FORMAT_BINARY = 1,
};

/* Messages from the client. */
enum pgwire_frontend_type {
    PGWIRE_BIND = 'B',
    PGWIRE_CLOSE = 'C',
    PGWIRE_DESCRIBE = 'D',
    PGWIRE_EXECUTE = 'E',
    PGWIRE_FUNCTION_CALL = 'F',
    PGWIRE_FLUSH = 'H',
    PGWIRE_PARSE = 'P',
    PGWIRE_QUERY = 'Q',
    PGWIRE_SYNC = 'S',
    PGWIRE_TERMINATE = 'X',
    PGWIRE_COPY_FAIL = 'f',
    PGWIRE_PASSWORD = 'p', /* PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse: by state */
};

/* Messages of either side. */
enum pgwire_copy_type {
    PGWIRE_COPY_DONE = 'c',
    PGWIRE_COPY_DATA = 'd',
};

/* Of either side, and not PostgreSQL's: native mode (docs/protocol.md), once both have agreed on it. */
enum pgwire_native_type {
    PGWIRE_NATIVE_CALL = 'r',
    PGWIRE_NATIVE = 'y',
};

/* Messages from the server. */
enum pgwire_backend_type {
    PGWIRE_PARSE_COMPLETE = '1',
    PGWIRE_BIND_COMPLETE = '2',
    PGWIRE_CLOSE_COMPLETE = '3',
    PGWIRE_NOTIFICATION_RESPONSE = 'A',
    PGWIRE_COMMAND_COMPLETE = 'C',
    PGWIRE_DATA_ROW = 'D',
    PGWIRE_ERROR_RESPONSE = 'E',
    PGWIRE_COPY_IN_RESPONSE = 'G',
    PGWIRE_COPY_OUT_RESPONSE = 'H',
    PGWIRE_EMPTY_QUERY_RESPONSE = 'I',
    PGWIRE_BACKEND_KEY_DATA = 'K',
    PGWIRE_NOTICE_RESPONSE = 'N',
    PGWIRE_AUTHENTICATION = 'R',
    PGWIRE_PARAMETER_STATUS = 'S',
    PGWIRE_ROW_DESCRIPTION = 'T',
    PGWIRE_FUNCTION_CALL_RESPONSE = 'V',
    PGWIRE_COPY_BOTH_RESPONSE = 'W',
    PGWIRE_READY_FOR_QUERY = 'Z',
    PGWIRE_NO_DATA = 'n',
    PGWIRE_PORTAL_SUSPENDED = 's',
    PGWIRE_PARAMETER_DESCRIPTION = 't',
    PGWIRE_NEGOTIATE_PROTOCOL_VERSION = 'v',
};

/* First word of an Authentication message. */
enum pgwire_authentication_code {
    PGWIRE_AUTHENTICATION_OK = 0,
    PGWIRE_AUTHENTICATION_KERBEROS_V5 = 2,
    PGWIRE_AUTHENTICATION_CLEARTEXT_PASSWORD = 3,
    PGWIRE_AUTHENTICATION_MD5_PASSWORD = 5,
    PGWIRE_AUTHENTICATION_GSS = 7,
    PGWIRE_AUTHENTICATION_GSS_CONTINUE = 8,
    PGWIRE_AUTHENTICATION_SSPI = 9,
    PGWIRE_AUTHENTICATION_SASL = 10,
    PGWIRE_AUTHENTICATION_SASL_CONTINUE = 11,
    PGWIRE_AUTHENTICATION_SASL_FINAL = 12,
};

/* ReadyForQuery's status. */
enum pgwire_transaction_status {
    PGWIRE_TRANSACTION_IDLE = 'I',
    PGWIRE_TRANSACTION_OPEN = 'T',
    PGWIRE_TRANSACTION_FAILED = 'E',
};

/* What Describe and Close name. */
enum pgwire_target {
    PGWIRE_TARGET_STATEMENT = 'S',
    PGWIRE_TARGET_PORTAL = 'P',
};

#endif
