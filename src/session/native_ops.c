/* session/native_ops.c: the operations of native mode by their numbers (docs/protocol.md, "Requests"). */
#include "session/native_internal.h"

static native_op *const ops[] = {
    [NATIVE_PREPARE] = native_op_prepare,
    [NATIVE_STEP] = native_op_step,
    [NATIVE_PREPARE_STEP] = native_op_prepare_step,
    [NATIVE_RESET] = native_op_reset,
    [NATIVE_FINALIZE] = native_op_finalize,
    [NATIVE_EXPAND] = native_op_expand,
    [NATIVE_STMT_STATUS] = native_op_stmt_status,
    [NATIVE_RESET_ASYNC] = native_op_reset_async,
    [NATIVE_COLUMN_METADATA] = native_op_column_metadata,
    [NATIVE_TXN_STATE] = native_op_txn_state,
    [NATIVE_SET_ROWID] = native_op_set_rowid,
    [NATIVE_LIMIT] = native_op_limit,
    [NATIVE_DB_CONFIG] = native_op_db_config,
    [NATIVE_DB_STATUS] = native_op_db_status,
    [NATIVE_CHECKPOINT] = native_op_checkpoint,
    [NATIVE_BUSY_TIMEOUT] = native_op_busy_timeout,
    [NATIVE_DATABASES] = native_op_databases,
    [NATIVE_ATTACH] = native_op_attach,
    [NATIVE_RELEASE_MEMORY] = native_op_release_memory,
    [NATIVE_DATA_VERSION] = native_op_data_version,
    [NATIVE_INTERRUPT_CLEAR] = native_op_interrupt_clear,
    /* 0x20 to 0x45 come with native_call.c, native_blob.c and native_image.c. */
};

native_op *native_find_op(uint8_t number)
{
    return number < sizeof(ops) / sizeof(ops[0]) ? ops[number] : NULL;
}
