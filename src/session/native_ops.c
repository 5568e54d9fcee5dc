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
    [NATIVE_CLOSE] = native_op_close,
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
    [NATIVE_OUTCOME] = native_op_outcome,
    [NATIVE_FUNCTION] = native_op_function,
    [NATIVE_COLLATION] = native_op_collation,
    [NATIVE_HOOKS] = native_op_hooks,
    [NATIVE_OVERLOAD] = native_op_overload,
    [NATIVE_MODULE] = native_op_module,
    [NATIVE_DROP_MODULES] = native_op_drop_modules,
    [NATIVE_DECLARE_VTAB] = native_op_declare_vtab,
    [NATIVE_VTAB_CONFIG] = native_op_vtab_config,
    [NATIVE_DISCONNECT] = native_op_disconnect,
    [NATIVE_BLOB_OPEN] = native_op_blob_open,
    [NATIVE_BLOB_READ] = native_op_blob_read,
    [NATIVE_BLOB_WRITE] = native_op_blob_write,
    [NATIVE_BLOB_REOPEN] = native_op_blob_reopen,
    [NATIVE_BLOB_CLOSE] = native_op_blob_close,
    [NATIVE_IMAGE_OPEN] = native_op_image_open,
    [NATIVE_IMAGE_READ] = native_op_image_read,
    [NATIVE_IMAGE_CLOSE] = native_op_image_close,
    [NATIVE_IMAGE_PUT] = native_op_image_put,
    [NATIVE_IMAGE_DATA] = native_op_image_data,
    [NATIVE_IMAGE_DONE] = native_op_image_done,
};

native_op *native_find_op(uint8_t number)
{
    return number < sizeof(ops) / sizeof(ops[0]) ? ops[number] : NULL;
}
