"""What `make gdb` tells gdb: how to print the values of src/base that say little as they are."""
import gdb
import gdb.printing

VALUE_SHOWN_MAX = 200


class BufPrinter:
    """struct sq_buf: how full it is, and its first bytes."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        start, end = int(self.value["start"]), int(self.value["end"])
        shown = b""
        if end > start:
            address = int(self.value["data"]) + start
            memory = gdb.selected_inferior().read_memory(address, min(end - start, VALUE_SHOWN_MAX))
            shown = memory.tobytes()
        state = ", failed" if self.value["is_failed"] else ""
        return f"{end - start} of {int(self.value['max'])} bytes{state}: {shown!r}"


class ValuePrinter:
    """struct sq_value: its storage class and its value."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        kind = str(self.value["kind"])
        if kind == "SQ_VALUE_INTEGER":
            return f"INTEGER {int(self.value['integer'])}"
        if kind == "SQ_VALUE_REAL":
            return f"REAL {float(self.value['real'])}"
        if kind == "SQ_VALUE_NULL":
            return "NULL"
        length = int(self.value["bytes"]["length"])
        data = b""
        if length > 0:
            address = int(self.value["bytes"]["data"])
            data = gdb.selected_inferior().read_memory(address, min(length, VALUE_SHOWN_MAX)).tobytes()
        return f"{kind.rpartition('_')[2]} of {length} bytes: {data!r}"


class ErrorPrinter:
    """struct sq_error: on one line."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        if int(self.value["status"]) == 0:
            return "no error"
        return f"{self.value['status']} {self.value['sqlstate'].string()}: {self.value['text'].string(errors='replace')}"


def printers():
    collection = gdb.printing.RegexpCollectionPrettyPrinter("sqld")
    collection.add_printer("sq_buf", "^sq_buf$", BufPrinter)
    collection.add_printer("sq_value", "^sq_value$", ValuePrinter)
    collection.add_printer("sq_error", "^sq_error$", ErrorPrinter)
    return collection


gdb.printing.register_pretty_printer(None, printers(), replace=True)
gdb.execute("handle SIGPIPE nostop noprint pass")
