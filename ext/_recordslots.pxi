# Slots of classes: where they lie in an instance, and instances made by storing straight there.

cimport cython
from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free
from libc.stdint cimport uintptr_t

ctypedef PyObject* (*ternaryfunc)(PyObject*, PyObject*, PyObject*) noexcept

cdef extern from "Python.h":
    ctypedef struct PyTypeObject "PyTypeObject":
        ternaryfunc tp_call

cdef extern from *:
    """
    #include <structmember.h>

    /* Where `descriptor` keeps its values in instances of `type`; -1 if it is no plain slot. */
    static Py_ssize_t headwater_slot(PyTypeObject *type, PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        if (member->type != T_OBJECT_EX || (member->flags & READONLY)) return -1;
        return PyType_IsSubtype(type, PyDescr_TYPE(descriptor)) ? member->offset : -1;
    }

    /* Whether an instance is its `count` slots and nothing else, and nothing sees it go. */
    static int headwater_bare(PyTypeObject *type, Py_ssize_t count) {
        if (type->tp_basicsize != (Py_ssize_t)(sizeof(PyObject) + count * sizeof(PyObject *)))
            return 0;
        if (type->tp_itemsize || type->tp_dictoffset || type->tp_weaklistoffset) return 0;
        if (type->tp_finalize || type->tp_del || !PyType_IS_GC(type)) return 0;
    #ifdef Py_TPFLAGS_MANAGED_DICT
        if (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) return 0;
    #endif
    #ifdef Py_TPFLAGS_MANAGED_WEAKREF
        if (type->tp_flags & Py_TPFLAGS_MANAGED_WEAKREF) return 0;
    #endif
        return type->tp_new == PyBaseObject_Type.tp_new;
    }

    /* Whether calls of `type` may go to its tp_vectorcall. Before 3.12, a metaclass written in
       Python has to be told so. */
    static int headwater_callable(PyTypeObject *type) {
        PyTypeObject *meta = Py_TYPE(type);
        if (meta->tp_call != PyType_Type.tp_call) return 0;
        if (meta->tp_vectorcall_offset != PyType_Type.tp_vectorcall_offset) return 0;
    #if PY_VERSION_HEX < 0x030C0000
        meta->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    #endif
        return PyType_HasFeature(meta, Py_TPFLAGS_HAVE_VECTORCALL);
    }

    static int headwater_called_plainly(PyTypeObject *type) {
        return Py_TYPE(type)->tp_call == PyType_Type.tp_call &&
               type->tp_new == PyBaseObject_Type.tp_new &&
               !(type->tp_flags & Py_TPFLAGS_IS_ABSTRACT);
    }

    static unsigned int headwater_version(PyTypeObject *type) { return type->tp_version_tag; }

    static void headwater_set_vectorcall(PyTypeObject *type, void *function) {
        type->tp_vectorcall = (vectorcallfunc)function;
    }

    #define headwater_type_call PyType_Type.tp_call

    static PyObject *headwater_method(PyTypeObject *type, void *function, PyObject *text) {
        PyMethodDef *method = PyMem_RawCalloc(1, sizeof(PyMethodDef));
        char *kept = PyMem_RawMalloc(PyBytes_GET_SIZE(text) + 1);
        if (method == NULL || kept == NULL) return PyErr_NoMemory();
        memcpy(kept, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text) + 1);
        method->ml_name = "replace";
        method->ml_meth = (PyCFunction)function;
        method->ml_flags = METH_FASTCALL | METH_KEYWORDS;
        method->ml_doc = kept;
        return PyDescr_NewMethod(type, method);
    }

    /* The exception that is set, which is taken away. */
    static PyObject *headwater_caught(void) {
    #if PY_VERSION_HEX < 0x030C0000
        PyObject *type, *error, *trace;
        PyErr_Fetch(&type, &error, &trace);
        PyErr_NormalizeException(&type, &error, &trace);
        if (trace != NULL) PyException_SetTraceback(error, trace);
        Py_XDECREF(type);
        Py_XDECREF(trace);
        return error;
    #else
        return PyErr_GetRaisedException();
    #endif
    }
    """
    Py_ssize_t slot_offset "headwater_slot"(PyTypeObject*, PyObject*)
    bint is_bare "headwater_bare"(PyTypeObject*, Py_ssize_t)
    bint allow_vectorcall "headwater_callable"(PyTypeObject*)
    bint called_plainly "headwater_called_plainly"(PyTypeObject*)
    unsigned int version_of "headwater_version"(PyTypeObject*)
    void set_vectorcall "headwater_set_vectorcall"(PyTypeObject*, void*)
    ternaryfunc type_call "headwater_type_call"
    object caught "headwater_caught"()
    object new_method "headwater_method"(PyTypeObject*, void*, object)
    PyObject* vectorcall "PyObject_Vectorcall"(PyObject*, PyObject**, size_t, PyObject*)
    PyObject* find_attribute "PyObject_GetAttrString"(PyObject*, const char*)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject* allocate "PyType_GenericAlloc"(PyTypeObject*, Py_ssize_t)
    void Py_XDECREF(PyObject*)
    void Py_DECREF(PyObject*)
    void Py_INCREF(PyObject*)
    Py_ssize_t Py_REFCNT(PyObject*)
    PyTypeObject* Py_TYPE(PyObject*)
    void PyObject_GC_Track(PyObject*)
    void PyObject_GC_UnTrack(PyObject*)
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject*)
    PyObject* raw_tuple "PyTuple_New"(Py_ssize_t)
    void PyTuple_SET_ITEM(PyObject*, Py_ssize_t, PyObject*)
    PyObject* raw_dict "PyDict_New"()
    int raw_put "PyDict_SetItem"(PyObject*, PyObject*, PyObject*)
    PyObject* call_without "PyObject_CallNoArgs"(PyObject*)
    int same_text "PyUnicode_Compare"(PyObject*, PyObject*)
    void PyErr_Clear()


cdef enum:
    MOST = 64  # fields of a class whose constructor is compiled


cdef struct Shape:
    # Where the fields of a class lie, in order.
    PyTypeObject* type
    Py_ssize_t count
    Py_ssize_t* offsets
    bint bare  # an instance is its fields alone, so one that nobody has can serve again
    PyObject* spare  # such an instance, empty and unknown to the collector, or NULL
    # What a call of the class means; these are kept by the Layout.
    PyObject** names
    PyObject** parameters
    PyObject** defaults  # NULL for none
    PyObject** factories
    PyObject* init
    unsigned int version  # of the class when it was last known to construct this way


cdef inline PyObject** slot_at(PyObject* record, Py_ssize_t offset) noexcept nogil:
    return <PyObject**>(<char*>record + offset)


cdef inline PyObject* new_record(Shape* shape) noexcept:
    # A record with empty slots that the collector knows; NULL with an exception.
    cdef PyObject* record = shape.spare
    if record == NULL:
        return allocate(shape.type, 0)
    shape.spare = NULL
    PyObject_GC_Track(record)
    return record


cdef inline void let_go(Shape* shape, PyObject* record) noexcept:
    # Give up a reference. If it was the last, the values go now, the record may serve again.
    cdef Py_ssize_t i
    cdef PyObject** slot
    cdef PyObject* value
    if Py_REFCNT(record) > 1 or not shape.bare or shape.spare != NULL:
        Py_DECREF(record)
        return
    PyObject_GC_UnTrack(record)
    for i in range(shape.count):
        slot = slot_at(record, shape.offsets[i])
        value = slot[0]
        slot[0] = NULL
        Py_XDECREF(value)  # may run anything
    if shape.spare == NULL:
        shape.spare = record
    else:
        Py_DECREF(record)


cdef inline void drop_spare(Shape* shape) noexcept:
    cdef PyObject* record = shape.spare
    shape.spare = NULL
    Py_XDECREF(record)


# The shapes of classes with a compiled constructor, by class: open addressing, at most half full.
cdef Shape** known = NULL
cdef size_t known_mask = 0
cdef size_t known_count = 0


cdef inline size_t place_of(PyObject* cls, size_t mask) noexcept nogil:
    return ((<uintptr_t>cls >> 4) * 0x9E3779B1U >> 8) & mask


cdef inline Shape* shape_of(PyObject* cls) noexcept nogil:
    cdef size_t place
    if known == NULL:
        return NULL
    place = place_of(cls, known_mask)
    while known[place] != NULL:
        if <PyObject*>known[place].type == cls:
            return known[place]
        place = (place + 1) & known_mask
    return NULL


cdef int know(Shape* shape) except -1:
    global known, known_mask, known_count
    cdef size_t size = 16
    cdef size_t i
    cdef Shape** table
    cdef Shape** old = known
    cdef size_t reach = known_mask + 1 if known != NULL else 0
    while size < 2 * (known_count + 1):
        size *= 2
    if size > reach:
        table = <Shape**>calloc(size, sizeof(Shape*))
        if table == NULL:
            raise MemoryError
        known, known_mask = table, size - 1
        for i in range(reach):
            if old[i] != NULL:
                enter(old[i])
        free(old)
    enter(shape)
    known_count += 1
    return 0


cdef void enter(Shape* shape) noexcept:
    cdef size_t place = place_of(<PyObject*>shape.type, known_mask)
    while known[place] != NULL:
        place = (place + 1) & known_mask
    known[place] = shape


cdef void forget(Shape* shape) noexcept:
    # What follows in the table is entered again, so that no gap hides it.
    global known_count
    cdef size_t place = place_of(<PyObject*>shape.type, known_mask)
    cdef Shape* moved
    while known[place] != shape:
        if known[place] == NULL:
            return
        place = (place + 1) & known_mask
    known[place] = NULL
    known_count -= 1
    place = (place + 1) & known_mask
    while known[place] != NULL:
        moved = known[place]
        known[place] = NULL
        enter(moved)
        place = (place + 1) & known_mask


@cython.no_gc_clear  # a class that is being collected can still be called
cdef class Layout:
    # The shape of a class, and what it points to.
    cdef Shape shape
    cdef object cls
    cdef tuple kept

    def __cinit__(self, cls, names):
        cdef Py_ssize_t i
        cdef Shape* shape = &self.shape
        self.cls = cls
        shape.type = <PyTypeObject*>cls
        shape.count = len(names)
        shape.offsets = <Py_ssize_t*>calloc(shape.count + 1, sizeof(Py_ssize_t))
        shape.names = <PyObject**>calloc(4 * shape.count + 1, sizeof(PyObject*))
        if shape.offsets == NULL or shape.names == NULL:
            raise MemoryError
        shape.parameters = shape.names + shape.count
        shape.defaults = shape.parameters + shape.count
        shape.factories = shape.defaults + shape.count
        for i, name in enumerate(names):
            descriptor = getattr_static(cls, name)
            shape.offsets[i] = slot_offset(shape.type, <PyObject*>descriptor)
            if shape.offsets[i] < 0:
                raise TypeError(f"{cls.__name__}.{name} is no slot")
        shape.bare = is_bare(shape.type, shape.count)

    def __dealloc__(self):
        if known != NULL:
            forget(&self.shape)
        drop_spare(&self.shape)
        free(self.shape.offsets)
        free(self.shape.names)


def install_constructor(cls, parameters, defaults, factories):
    cdef Layout layout
    cdef Shape* shape
    cdef Py_ssize_t i
    try:
        layout = Layout(cls, tuple(parameters))
    except TypeError:
        return False
    shape = &layout.shape
    if shape.count > MOST or not allow_vectorcall(shape.type):
        return False
    names = tuple([sys.intern(name) for name in parameters])
    words = tuple([sys.intern(word) for word in parameters.values()])
    layout.kept = names, words, dict(defaults), dict(factories), cls.__init__
    for i, name in enumerate(parameters):
        shape.names[i] = PyTuple_GET_ITEM(<PyObject*>names, i)
        shape.parameters[i] = PyTuple_GET_ITEM(<PyObject*>words, i)
        if name in factories:
            shape.factories[i] = <PyObject*>factories[name]
        elif name in defaults:
            shape.defaults[i] = <PyObject*>defaults[name]
    shape.init = <PyObject*>layout.kept[4]
    know(shape)
    cls.__record_layout__ = layout
    set_vectorcall(shape.type, <void*>construct)
    return True


cdef bint constructs(Shape* shape) noexcept:
    # Whether a call of the class still means what it meant when its `__init__` was generated.
    cdef PyObject* init
    cdef unsigned int version = version_of(shape.type)
    if version != 0 and version == shape.version:
        return True
    init = find_attribute(<PyObject*>shape.type, b"__init__")
    if init == NULL:
        PyErr_Clear()
        return False
    Py_DECREF(init)
    if init != shape.init or not called_plainly(shape.type):
        return False
    shape.version = version_of(shape.type)
    return True


cdef PyObject* construct(
    PyObject* cls, PyObject** args, size_t flagged, PyObject* words
) noexcept:
    cdef Shape* shape = shape_of(cls)
    cdef PyObject* record
    cdef PyObject* value
    cdef PyObject** given
    cdef Py_ssize_t i
    cdef PyObject* values[MOST]
    if (
        shape == NULL or words == NULL or flagged & ~PY_VECTORCALL_ARGUMENTS_OFFSET
        or Py_TYPE(cls).tp_call != type_call or not constructs(shape)
    ):
        return call_slowly(cls, args, flagged & ~PY_VECTORCALL_ARGUMENTS_OFFSET, words)
    given = args
    if not in_order(shape, words):
        if not sorted_out(shape, args, words, values):
            return call_slowly(cls, args, 0, words)
        given = values
    record = new_record(shape)
    if record == NULL:
        return NULL
    for i in range(shape.count):
        value = given[i]
        if value == NULL:
            value = call_without(shape.factories[i])
            if value == NULL:
                Py_DECREF(record)
                return NULL
        else:
            Py_INCREF(value)
        slot_at(record, shape.offsets[i])[0] = value
    return record


cdef inline bint in_order(Shape* shape, PyObject* words) noexcept:
    # Whether the words are the parameters, all of them and as they were declared.
    cdef Py_ssize_t i
    if PyTuple_GET_SIZE(words) != shape.count:
        return False
    for i in range(shape.count):
        if PyTuple_GET_ITEM(words, i) != shape.parameters[i]:
            return False
    return True


cdef bint sorted_out(
    Shape* shape, PyObject** args, PyObject* words, PyObject** values
) noexcept:
    # Set the value of each field, NULL where a factory has to make it; False if the words do not
    # fit the parameters.
    cdef Py_ssize_t i, place
    cdef Py_ssize_t count = shape.count
    for i in range(count):
        values[i] = NULL
    place = 0
    for i in range(PyTuple_GET_SIZE(words)):
        place = placed(shape.parameters, shape.count, PyTuple_GET_ITEM(words, i), place)
        if place < 0 or values[place] != NULL:
            return False
        values[place] = args[i]
        place += 1
    for i in range(count):
        if values[i] == NULL:
            values[i] = shape.defaults[i]
            if values[i] == NULL and shape.factories[i] == NULL:
                return False
    return True


cdef Py_ssize_t placed(
    PyObject** names, Py_ssize_t count, PyObject* name, Py_ssize_t likely
) noexcept:
    # Where the name stands, or -1.
    cdef Py_ssize_t i
    for i in range(likely, count):
        if names[i] == name:
            return i
    for i in range(likely):
        if names[i] == name:
            return i
    for i in range(count):
        if same_text(names[i], name) == 0:
            return i
    return -1


cdef PyObject* call_slowly(
    PyObject* cls, PyObject** args, Py_ssize_t count, PyObject* words
) noexcept:
    # By way of `__init__`.
    cdef Py_ssize_t i
    cdef PyObject* found = NULL
    cdef PyObject* named = NULL
    cdef PyObject* listed = raw_tuple(count)
    if listed == NULL:
        return NULL
    for i in range(count):
        Py_INCREF(args[i])
        PyTuple_SET_ITEM(listed, i, args[i])
    if words != NULL:
        named = raw_dict()
        if named == NULL:
            Py_DECREF(listed)
            return NULL
        for i in range(PyTuple_GET_SIZE(words)):
            if raw_put(named, PyTuple_GET_ITEM(words, i), args[count + i]) < 0:
                Py_DECREF(listed)
                Py_DECREF(named)
                return NULL
    found = type_call(cls, listed, named)
    Py_DECREF(listed)
    Py_XDECREF(named)
    return found


def install_replace(cls):
    slowly = cls.replace
    text = f"replace($self, /, **changes)\n--\n\n{slowly.__doc__}".encode()
    # Methods are there as long as the process.
    cls.replace = new_method(<PyTypeObject*>cls, <void*>replaced, text)
    cls.__record_replace__ = slowly
    return True


cdef PyObject* replaced(
    PyObject* record, PyObject** args, Py_ssize_t count, PyObject* words
) noexcept:
    # A copy with some fields changed.
    cdef Shape* shape = shape_of(<PyObject*>Py_TYPE(record))
    cdef PyObject* values[MOST]
    cdef PyObject* copy
    cdef Py_ssize_t i
    cdef Py_ssize_t place = 0
    if shape == NULL or count or not constructs(shape):
        return replaced_slowly(record, args, count, words)
    copy = new_record(shape)
    if copy == NULL:
        return NULL
    for i in range(shape.count):
        values[i] = slot_at(record, shape.offsets[i])[0]
    for i in range(PyTuple_GET_SIZE(words) if words != NULL else 0):
        place = placed(shape.names, shape.count, PyTuple_GET_ITEM(words, i), place)
        if place < 0:
            break
        values[place] = args[i]
    for i in range(shape.count):
        if values[i] == NULL or place < 0:
            Py_DECREF(copy)
            return replaced_slowly(record, args, 0, words)
        Py_INCREF(values[i])
        slot_at(copy, shape.offsets[i])[0] = values[i]
    return copy


cdef PyObject* replaced_slowly(
    PyObject* record, PyObject** args, Py_ssize_t count, PyObject* words
) noexcept:
    # By the method that was there before.
    cdef PyObject* found
    cdef PyObject* method = find_attribute(record, b"__record_replace__")
    if method == NULL:
        return NULL
    found = vectorcall(method, args, count, words)
    Py_DECREF(method)
    return found
