/* The module dfmcodec.kernels._compiled, which calls kernels with Python arguments. Only this file uses Python. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__GLIBC__)
#include <limits.h>
#include <malloc.h>
#endif

#include "kernels.h"

/* The buffers that a call uses. */
typedef struct {
    Py_buffer *buffers;
    int count;
} Held;

/* Stores the address and the number of items of an array, number n of its field, in the struct. */
static int read_array(Held *held, PyObject *object, const Field *field, ptrdiff_t n, char *to) {
    Py_buffer *buffer = &held->buffers[held->count];
    if (PyObject_GetBuffer(object, buffer, field->kind == WRITTEN_FIELD ? PyBUF_WRITABLE : PyBUF_SIMPLE)) return 0;
    held->count++;
    if (field->item_bytes && buffer->itemsize != field->item_bytes)
        return PyErr_Format(PyExc_ValueError, "%s has items of %zd bytes; %zd are needed", field->name,
                            buffer->itemsize, field->item_bytes),
               0;
    ((void **)(to + field->offset))[n] = buffer->buf;
    ((ptrdiff_t *)(to + field->count_offset))[n] = buffer->len / (field->item_bytes ? field->item_bytes : 1);
    return 1;
}

/* Reads an integer of 32 bits, or of the size of a position. */
static int read_integer(PyObject *object, const Field *field, char *to) {
    const Py_ssize_t value = PyLong_AsSsize_t(object);
    if (value == -1 && PyErr_Occurred()) return 0;
    const int is_seed = field->kind == SEED_FIELD, is_32 = is_seed || field->kind == INTEGER_FIELD;
    if (is_32 && (value < (is_seed ? 0 : INT32_MIN) || value > (is_seed ? (Py_ssize_t)UINT32_MAX : INT32_MAX)))
        return PyErr_Format(PyExc_OverflowError, "%s is beyond 32 bits", field->name), 0;
    if (is_seed)
        *(uint32_t *)to = (uint32_t)value;
    else if (is_32)
        *(int *)to = (int)value;
    else
        *(ptrdiff_t *)to = value;
    return 1;
}

static int read_field(Held *held, PyObject *object, const Field *field, char *to);

/* Reads the items of a tuple, one for each field. */
static int read_group(Held *held, PyObject *tuple, const Field *field, char *to) {
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != field->field_count)
        return PyErr_Format(PyExc_TypeError, "%s needs a named tuple of %d items", field->name, field->field_count), 0;
    for (int n = 0; n < field->field_count; n++)
        if (!read_field(held, PyTuple_GetItem(tuple, n), &field->fields[n], to)) return 0;
    return 1;
}

static int read_groups(Held *held, PyObject *sequence, const Field *field, char *to) {
    const Py_ssize_t count = PySequence_Size(sequence);
    if (count < 0) return 0;
    if (count > field->most)
        return PyErr_Format(PyExc_ValueError, "%s has too many items; %zd are possible", field->name, field->most), 0;
    *(ptrdiff_t *)(to + field->count_offset) = count;
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *item = PySequence_GetItem(sequence, n);
        const int is_read = item && read_group(held, item, field, to + field->offset + n * field->item_bytes);
        Py_XDECREF(item); /* the sequence and the buffers keep it */
        if (!is_read) return 0;
    }
    return 1;
}

static int read_arrays(Held *held, PyObject *tuple, const Field *field, char *to) {
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != field->most)
        return PyErr_Format(PyExc_TypeError, "%s needs a tuple of %zd arrays", field->name, field->most), 0;
    for (ptrdiff_t n = 0; n < field->most; n++)
        if (!read_array(held, PyTuple_GetItem(tuple, n), field, n, to)) return 0;
    return 1;
}

/* Reads an argument into the struct `to`; returns 0 after an exception. */
static int read_field(Held *held, PyObject *object, const Field *field, char *to) {
    char *place = to + field->offset;
    switch (field->kind) {
        case READ_FIELD:
        case WRITTEN_FIELD:
            return field->most > 1 ? read_arrays(held, object, field, to) : read_array(held, object, field, 0, to);
        case SIZE_FIELD:
        case INDEX_FIELD:
        case INTEGER_FIELD:
        case SEED_FIELD: return read_integer(object, field, place);
        case TRUTH_FIELD: return (*(int *)place = PyObject_IsTrue(object)) >= 0;
        case REAL_FIELD: return (*(double *)place = PyFloat_AsDouble(object)) != -1 || !PyErr_Occurred();
        case GROUP_FIELD: return read_group(held, object, field, place);
        case GROUPS_FIELD: return read_groups(held, object, field, to);
    }
    return 0;
}

/* Returns the argument with a name, which is number `guess` in most calls; NULL after an exception. */
static PyObject *argument_of(PyObject *const *values, PyObject *names, int guess, const char *name) {
    const Py_ssize_t count = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t n = 0; n < count; n++) {
        const Py_ssize_t at = (guess + n) % count;
        if (!PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, at), name)) return values[at];
    }
    return PyErr_Format(PyExc_TypeError, "argument %s is missing", name), NULL;
}

static int read_arguments(Held *held, PyObject *const *values, Py_ssize_t positional, PyObject *names,
                          const KernelEntry *entry, char *to) {
    if (positional) return PyErr_SetString(PyExc_TypeError, "a kernel takes named arguments alone"), 0;
    if (names && PyTuple_Size(names) > entry->field_count)
        return PyErr_SetString(PyExc_TypeError, "a kernel is called with an argument that it does not have"), 0;
    for (int n = 0; n < entry->field_count; n++) {
        PyObject *object = argument_of(values, names, n, entry->fields[n].name);
        if (!object || !read_field(held, object, &entry->fields[n], to)) return 0;
    }
    return 1;
}

static PyObject *result_of(const Call *call, int is_done, Returns returns) {
    if (!call->has_memory) return PyErr_NoMemory();
    if (!is_done) return PyErr_SetString(PyExc_ValueError, call->error), NULL;
    if (returns == RETURNS_NOTHING) return Py_NewRef(Py_None);
    return returns == RETURNS_SIZE ? PyLong_FromSsize_t(call->result) : PyBool_FromLong(call->result != 0);
}

static PyObject *called(const KernelEntry *entry, PyObject *const *values, Py_ssize_t positional, PyObject *names) {
    char *arguments = PyMem_Malloc(entry->bytes);
    Held held = {PyMem_Malloc((size_t)(entry->array_count + 1) * sizeof(Py_buffer)), 0};
    PyObject *result = NULL;
    if (!arguments || !held.buffers) {
        PyErr_NoMemory();
    } else if (read_arguments(&held, values, positional, names, entry, arguments)) {
        Call call = {1, 0, ""};
        int is_done;
        if (entry->is_short) {
            is_done = entry->run(&call, arguments);
        } else {
            Py_BEGIN_ALLOW_THREADS
            is_done = entry->run(&call, arguments);
            Py_END_ALLOW_THREADS
        }
        result = result_of(&call, is_done, entry->returns);
    }
    for (int n = 0; n < held.count; n++) PyBuffer_Release(&held.buffers[n]);
    PyMem_Free(held.buffers);
    PyMem_Free(arguments);
    return result;
}

#define CALL(name, Struct)                                                                                             \
    static PyObject *call_##name(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *names) {         \
        (void)self;                                                                                                    \
        return called(&name##_entry, values, count, names);                                                            \
    }
KERNELS_OF_ONE_BUILD(CALL)
KERNELS_OF_TARGETS(CALL)

static PyObject *call_instruction_sets(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyObject *names = PyList_New(0);
    for (int number = 0; names && instruction_set(number); number++) {
        PyObject *name = PyUnicode_FromString(instruction_set(number));
        if (!name || PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *call_chosen_instruction_set(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyUnicode_FromString(chosen_instruction_set());
}

static PyObject *call_use_instruction_set(PyObject *self, PyObject *text) {
    (void)self;
    const char *name = PyUnicode_AsUTF8AndSize(text, NULL);
    if (!name) return NULL;
    if (use_instruction_set(name)) Py_RETURN_NONE;
    return PyErr_Format(PyExc_ValueError, "this processor has no instruction set %s", name);
}

/* Makes all threads allocate from one arena, which keeps the memory of freed arrays of up to 32 MB; returns whether
 * the C library supports it. */
static PyObject *call_share_memory(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int is_shared = 0;
#if defined(__GLIBC__)
    is_shared = mallopt(M_ARENA_MAX, 1) && mallopt(M_MMAP_THRESHOLD, 32 << 20) && mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
    return PyBool_FromLong(is_shared);
}

/* Returns the memory of freed arrays to the operating system; returns whether the C library supports it. */
static PyObject *call_return_memory(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int is_returned = 0;
#if defined(__GLIBC__)
    is_returned = malloc_trim(0);
#endif
    return PyBool_FromLong(is_returned);
}

#define DEFINE(name, Struct) {#name, (PyCFunction)(void (*)(void))call_##name, METH_FASTCALL | METH_KEYWORDS, NULL},
static PyMethodDef methods[] = {
    KERNELS_OF_ONE_BUILD(DEFINE) KERNELS_OF_TARGETS(DEFINE)
    {"instruction_sets", call_instruction_sets, METH_NOARGS, NULL},
    {"chosen_instruction_set", call_chosen_instruction_set, METH_NOARGS, NULL},
    {"return_memory", call_return_memory, METH_NOARGS, NULL},
    {"share_memory", call_share_memory, METH_NOARGS, NULL},
    {"use_instruction_set", call_use_instruction_set, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module) {
    choose_instruction_set_of_host();
    return PyModule_AddFunctions(module, methods);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, begin},
#if defined(Py_GIL_DISABLED)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_compiled", "Compiled loops; see dfmcodec.kernels.", 0, NULL, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
