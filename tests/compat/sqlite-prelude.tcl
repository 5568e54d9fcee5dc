# Lets SQLite's own test scripts (test/*.test of its source) run under a stock tclsh with the packaged Tcl binding, that
# is with the libsqlite3 that the dynamic linker finds, instead of SQLite's "testfixture", which has it built in.
#
#     COMPAT_RESULTS=FILE tclsh sqlite-prelude.tcl DIR/NAME.test
#
# 1. ::sqlite_options, which testfixture sets from its compiler flags, is answered from PRAGMA compile_options and from
#    what this prelude can do: features that need testfixture's own C code are "not there", and the scripts then leave
#    out what needs them.
# 2. The commands of testfixture that tester.tcl calls for every script do nothing here, or what the binding can do.
#    Others do not exist: a script that calls one fails there, with either library.
# 3. What became of each test is written to $COMPAT_RESULTS, a line for each: "ok", NAME or "fail", NAME, OUTPUT, with
#    tabs between them; and "end" if the script came to its end.

package require sqlite3

# --- 1: features ---

# Not in the packaged library or binding, whatever its options: testfixture's faults, its own VFSes, its memory checks.
array set sqlite_options {
    builtin_test 0 memdebug 0 debug 0 mem3 0 mem5 0 memorymanage 0 crashtest 0 codec 0 icu 0 lfs 1 rowid32 0
    casesensitivelike 0 default_autovacuum 0 default_ckptfullfsync 0 8_3_names 0 atomicwrite 0 direct_read 0 fts1 0
    fts2 0 yytrackmaxstackdepth 0 cursorhints 0 hiddencolumns 0 null_trim 0 oversize_cell_check 0 sqllog 0 userauth 0
    normalize 0 scanstatus 0 offset_sql_func 0 fast_secure_delete 0 configslower 1.0
}
# Optional ones, by the name that PRAGMA compile_options has for them.
array set option_names {
    stat4 ENABLE_STAT4 fts3 ENABLE_FTS3 fts4 ENABLE_FTS4 fts5 ENABLE_FTS5 rtree ENABLE_RTREE
    columnmetadata ENABLE_COLUMN_METADATA unlock_notify ENABLE_UNLOCK_NOTIFY preupdate ENABLE_PREUPDATE_HOOK
    session ENABLE_SESSION stmtvtab ENABLE_STMTVTAB dbstat_vtab ENABLE_DBSTAT_VTAB dbpage_vtab ENABLE_DBPAGE_VTAB
    update_delete_limit ENABLE_UPDATE_DELETE_LIMIT mathlib ENABLE_MATH_FUNCTIONS secure_delete SECURE_DELETE
    geopoly ENABLE_GEOPOLY soundex SOUNDEX
}

sqlite3 prelude_db :memory: -vfs unix
set compile_options [prelude_db eval {PRAGMA compile_options}]
prelude_db close
foreach {feature option} [array get option_names] {
    set sqlite_options($feature) [expr {[lsearch $compile_options $option] >= 0}]
}
foreach {feature option} {like_match_blobs LIKE_DOESNT_MATCH_BLOBS lookaside OMIT_LOOKASIDE} {
    set sqlite_options($feature) [expr {[lsearch $compile_options $option] < 0}]
}
# Everything else is there: a library without it says OMIT_… .
proc prelude_option {array_name feature operation} {
    if {![info exists ::sqlite_options($feature)]} {
        set omitted OMIT_[string toupper $feature]
        set ::sqlite_options($feature) [expr {[lsearch $::compile_options $omitted] < 0}]
    }
}
trace add variable sqlite_options read prelude_option

# --- 2: testfixture's commands ---

foreach command {
    sqlite3_test_control_pending_byte sqlite3_shutdown sqlite3_initialize install_malloc_faultsim
    autoinstall_test_functions sqlite3_config_memstatus sqlite3_memdebug_settitle sqlite3_reset_auto_extension
    vfs_unlink_test database_never_corrupt database_may_be_corrupt extra_schema_checks save_prng_state
    restore_prng_state reset_prng_state sqlite3_crash_enable optimization_control breakpoint
} {
    proc $command {args} {}
}
foreach command {
    sqlite3_soft_heap_limit64 sqlite3_hard_heap_limit64 sqlite3_soft_heap_limit sqlite3_memory_used
    sqlite3_memory_highwater sqlite3_enable_shared_cache
} {
    proc $command {args} { return 0 }
}
proc sqlite3_status {args} { return {0 0 0} }
proc sqlite3_connection_pointer {db} { return $db }
proc working_64bit_int {} { return 1 }
proc sqlite3_changes {db} { $db changes }
proc sqlite3_total_changes {db} { $db total_changes }
proc sqlite3_extended_errcode {db} { $db errorcode }
set sqlite_open_file_count 0
set sqlite_pending_byte 0x40000000
set bitmask_size 64
foreach {limit value} {
    LENGTH 1000000000 SQL_LENGTH 1000000000 COLUMN 2000 EXPR_DEPTH 1000 COMPOUND_SELECT 500 VDBE_OP 250000000
    FUNCTION_ARG 127 ATTACHED 10 LIKE_PATTERN_LENGTH 50000 VARIABLE_NUMBER 250000 TRIGGER_DEPTH 1000
} {
    set SQLITE_MAX_$limit $value
}
foreach option $compile_options {
    if {[regexp {^(MAX_\w+|DEFAULT_\w+)=(.*)$} $option all name value]} {
        set SQLITE_$name $value
    }
}

# --- 3: results ---

set prelude_results [open $env(COMPAT_RESULTS) w]
fconfigure $prelude_results -buffering line -encoding utf-8

proc prelude_note {args} {
    puts_real $::prelude_results [join [string map {\\ \\\\ \n \\n \r \\r \t \\t} $args] \t]
}

proc prelude_before_test {command operation} {
    lappend ::prelude_failures [llength $::TC(fail_list)]
    set ::prelude_output ""
}

# The name is the one that tester.tcl counts it under.
proc prelude_after_test {command code result operation} {
    set before [lindex $::prelude_failures end]
    set ::prelude_failures [lrange $::prelude_failures 0 end-1]
    set name [lindex $command 1]
    fix_testname name
    if {$code != 0} {
        prelude_note fail $name "do_test itself: $result"
    } elseif {[llength $::TC(fail_list)] > $before} {
        prelude_note fail $name $::prelude_output
    } else {
        prelude_note ok $name
    }
}

# tester.tcl's [puts] goes through this one.
rename puts puts_real
proc puts {args} {
    append ::prelude_output [lindex $args end] \n
    uplevel 1 puts_real $args
}

rename source source_real
proc source {args} {
    set code [catch {uplevel 1 [list source_real {*}$args]} result options]
    if {[file tail [lindex $args end]] eq "tester.tcl" && [trace info execution do_test] eq ""} {
        trace add execution do_test enter prelude_before_test
        trace add execution do_test leave prelude_after_test
        rename finalize_testing finalize_testing_real
        proc finalize_testing {} {
            prelude_note end
            finalize_testing_real
        }
    }
    return -options $options $result
}

set argv0 [lindex $argv 0]
set argv [lrange $argv 1 end]
source_real $argv0
