# Columns of Arrow memory, read through the Arrow C data interface
# (https://arrow.apache.org/docs/format/CDataInterface.html), which polars and pyarrow both export
# without a copy. Included by the kernels; sizes of buffers are the exporter's promise, as in any
# Arrow implementation, but what a view points to is checked against its buffer (`text_at`).

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, strcmp

cdef extern from *:
    """
    #include <stdint.h>
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    struct ArrowSchema {
      const char* format; const char* name; const char* metadata; int64_t flags;
      int64_t n_children; struct ArrowSchema** children; struct ArrowSchema* dictionary;
      void (*release)(struct ArrowSchema*); void* private_data;
    };
    struct ArrowArray {
      int64_t length; int64_t null_count; int64_t offset; int64_t n_buffers; int64_t n_children;
      const void** buffers; struct ArrowArray** children; struct ArrowArray* dictionary;
      void (*release)(struct ArrowArray*); void* private_data;
    };
    #endif
    #ifndef ARROW_C_STREAM_INTERFACE
    #define ARROW_C_STREAM_INTERFACE
    struct ArrowArrayStream {
      int (*get_schema)(struct ArrowArrayStream*, struct ArrowSchema* out);
      int (*get_next)(struct ArrowArrayStream*, struct ArrowArray* out);
      const char* (*get_last_error)(struct ArrowArrayStream*);
      void (*release)(struct ArrowArrayStream*); void* private_data;
    };
    #endif
    """
    struct ArrowSchema:
        const char* format
        const char* name
        int64_t n_children
        ArrowSchema** children
        ArrowSchema* dictionary
        void (*release)(ArrowSchema*) noexcept
    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void** buffers
        ArrowArray** children
        ArrowArray* dictionary
        void (*release)(ArrowArray*) noexcept
    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream*, ArrowSchema* out) noexcept
        int (*get_next)(ArrowArrayStream*, ArrowArray* out) noexcept
        const char* (*get_last_error)(ArrowArrayStream*) noexcept


cdef struct View:
    # A column without its owner; valid as long as the `Arrow` that it was taken of.
    const char* format  # as the C data interface spells types: "l", "g", "vu", "tsu:UTC", ...
    Py_ssize_t length
    Py_ssize_t start  # of row 0, in `validity`, `values` and bits
    const uint8_t* validity  # bits, least significant first; NULL if no row is null
    const uint8_t* values  # fixed-size values, 16-byte views, or offsets
    const uint8_t* data  # what offsets point into; NULL for views
    const uint8_t** buffers  # what views point into
    const int64_t* sizes  # of each of `buffers`
    Py_ssize_t count  # of `buffers`
    ArrowArray* array
    ArrowSchema* schema


cdef class Arrow:
    # An array or frame imported from an object with `__arrow_c_stream__` or `__arrow_c_array__`.
    # A frame is a struct: its columns are children. Raises TypeError for another object,
    # ValueError for a stream of several chunks.
    cdef ArrowSchema schema
    cdef ArrowArray array

    def __cinit__(self, source):
        self.schema.release = NULL
        self.array.release = NULL
        if hasattr(source, "__arrow_c_stream__"):
            self._read(source.__arrow_c_stream__())
        elif hasattr(source, "__arrow_c_array__"):
            schema, array = source.__arrow_c_array__()
            self._move(schema, array)
        else:
            raise TypeError(f"{type(source).__name__} is no Arrow array or frame")

    cdef int _move(self, schema, array) except -1:
        cdef ArrowSchema* s = <ArrowSchema*>PyCapsule_GetPointer(schema, b"arrow_schema")
        cdef ArrowArray* a = <ArrowArray*>PyCapsule_GetPointer(array, b"arrow_array")
        self.schema, self.array = s[0], a[0]
        s.release = NULL
        a.release = NULL
        return 0

    cdef int _read(self, capsule) except -1:
        cdef ArrowArrayStream* stream = <ArrowArrayStream*>PyCapsule_GetPointer(
            capsule, b"arrow_array_stream"
        )
        cdef ArrowArray more
        more.release = NULL
        if stream.get_schema(stream, &self.schema) or stream.get_next(stream, &self.array):
            raise ValueError(f"Arrow stream: {stream.get_last_error(stream)}")
        if self.array.release == NULL:  # no chunk at all: no rows
            self.array.length = 0
            self.array.n_children = 0
            return 0
        if stream.get_next(stream, &more):
            raise ValueError(f"Arrow stream: {stream.get_last_error(stream)}")
        if more.release != NULL:
            more.release(&more)
            raise ValueError("there are several chunks; make them one with rechunk()")
        return 0

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)
        if self.schema.release != NULL:
            self.schema.release(&self.schema)

    cdef Py_ssize_t height(self) noexcept:
        return self.array.length

    cdef Py_ssize_t width(self) noexcept:
        return self.schema.n_children

    cdef View itself(self):
        return view_of(&self.schema, &self.array, 0, self.array.length)

    cdef View column(self, Py_ssize_t number):
        # With no rows there may be no children: then the view is empty.
        if self.array.n_children == 0 or self.array.release == NULL:
            return view_of(self.schema.children[number], NULL, 0, 0)
        return view_of(
            self.schema.children[number], self.array.children[number],
            self.array.offset, self.array.length,
        )

    cdef Py_ssize_t place(self, bytes name) except -1:
        cdef Py_ssize_t number
        for number in range(self.schema.n_children):
            if strcmp(self.schema.children[number].name, <const char*>name) == 0:
                return number
        raise KeyError(name.decode())


cdef View view_of(ArrowSchema* schema, ArrowArray* array, Py_ssize_t skipped, Py_ssize_t length):
    cdef View view
    cdef Py_ssize_t fixed
    view.schema = schema
    view.array = array
    view.format = schema.format
    view.length = length
    view.start = 0
    view.validity = view.values = view.data = NULL
    view.buffers = NULL
    view.sizes = NULL
    view.count = 0
    if array == NULL or array.release == NULL:  # no rows at all
        return view
    view.start = array.offset + skipped
    # A null_count of -1 has not been counted.
    if array.null_count != 0 and array.n_buffers > 0:
        view.validity = <const uint8_t*>array.buffers[0]
    if array.n_buffers > 1:
        view.values = <const uint8_t*>array.buffers[1]
    if view.format[0] == b"v":
        view.count = array.n_buffers - 3
        view.buffers = <const uint8_t**>array.buffers + 2
        view.sizes = <const int64_t*>array.buffers[array.n_buffers - 1]
    elif array.n_buffers > 2:
        view.data = <const uint8_t*>array.buffers[2]
    return view


cdef inline bint is_valid(const View* view, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t bit = view.start + row
    return view.validity == NULL or (view.validity[bit >> 3] >> (bit & 7)) & 1


cdef inline bint bit_at(const View* view, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t bit = view.start + row
    return (view.values[bit >> 3] >> (bit & 7)) & 1


cdef inline int64_t word_at(const View* view, Py_ssize_t row) noexcept nogil:
    # Of a column of 8-byte values, also of a float's bits.
    cdef int64_t word
    memcpy(&word, view.values + 8 * (view.start + row), 8)
    return word


cdef inline double float_at(const View* view, Py_ssize_t row) noexcept nogil:
    cdef double number
    memcpy(&number, view.values + 8 * (view.start + row), 8)
    return number


cdef inline int text_at(
    const View* view, Py_ssize_t row, const uint8_t** begin, Py_ssize_t* size
) noexcept nogil:
    # Of a column of string or binary views ("vu", "vz"): 0, or -1 if the view points outside.
    cdef const uint8_t* place = view.values + 16 * (view.start + row)
    cdef int32_t parts[4]
    memcpy(parts, place, 16)
    size[0] = parts[0]
    if 0 <= parts[0] <= 12:
        begin[0] = place + 4
        return 0
    if parts[0] < 0 or not 0 <= parts[2] < view.count or parts[3] < 0:
        return -1
    if <int64_t>parts[3] + parts[0] > view.sizes[parts[2]]:
        return -1
    begin[0] = view.buffers[parts[2]] + parts[3]
    return 0
