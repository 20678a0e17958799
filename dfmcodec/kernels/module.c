/* The module dfmcodec.kernels._compiled: calls of kernels, from Python's arguments. Nothing else here knows of Python. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "kernels.h"

enum { MAX_ARGUMENTS = 512 };
typedef enum { NOTHING, SIZE, TRUTH } Gives;

/* Arguments as they are read, with the buffers that are held. */
typedef struct {
    Argument arguments[MAX_ARGUMENTS];
    Py_buffer buffers[MAX_ARGUMENTS];
    int count, buffer_count;
} Reader;

static int read_array(Reader *reader, PyObject *object, int flags, Argument *to) {
    Py_buffer *buffer = &reader->buffers[reader->buffer_count];
    if (PyObject_GetBuffer(object, buffer, flags)) return 0;
    reader->buffer_count++;
    to->buffer = (Buffer){buffer->buf, buffer->len};
    return 1;
}

static int read_integer(PyObject *object, ptrdiff_t least, ptrdiff_t most, Argument *to) {
    to->size = PyLong_AsSsize_t(object);
    if (to->size == -1 && PyErr_Occurred()) return 0;
    if (to->size >= least && to->size <= most) return 1;
    PyErr_SetString(PyExc_OverflowError, "an integer is beyond its limits");
    return 0;
}

static const char *read_all(Reader *reader, PyObject *tuple, const char *signature, char end);

/* Reads what the signature begins with; returns what follows it, or NULL after an exception. */
static const char *read_one(Reader *reader, PyObject *object, const char *signature) {
    if (*signature == '(') return read_all(reader, object, signature + 1, ')');
    if (reader->count == MAX_ARGUMENTS) return PyErr_SetString(PyExc_ValueError, "too many arguments"), NULL;
    Argument *to = &reader->arguments[reader->count++];
    int is_read = 0;
    if (*signature == 'r') is_read = read_array(reader, object, PyBUF_SIMPLE, to);
    if (*signature == 'w') is_read = read_array(reader, object, PyBUF_WRITABLE, to);
    if (*signature == 'n') is_read = read_integer(object, PY_SSIZE_T_MIN, PY_SSIZE_T_MAX, to);
    if (*signature == 'i') is_read = read_integer(object, INT32_MIN, INT32_MAX, to);
    if (*signature == 'I') is_read = read_integer(object, 0, UINT32_MAX, to);
    if (*signature == 'p') is_read = (to->size = PyObject_IsTrue(object)) >= 0;
    if (*signature == 'd') is_read = (to->real = PyFloat_AsDouble(object)) != -1 || !PyErr_Occurred();
    if (*signature != '[') return is_read ? signature + 1 : NULL;
    to->size = PySequence_Size(object);
    if (to->size < 0) return NULL;
    const char *after = strchr(signature, ']');
    for (Py_ssize_t n = 0; n < to->size; n++) {
        PyObject *item = PySequence_GetItem(object, n);
        const char *next = item ? read_one(reader, item, signature + 1) : NULL;
        Py_XDECREF(item); /* the sequence and the buffers keep it */
        if (!next) return NULL;
    }
    return after + 1;
}

/* Reads a tuple up to the end of its part of the signature; returns what follows, or NULL after an exception. */
static const char *read_all(Reader *reader, PyObject *tuple, const char *signature, char end) {
    if (!PyTuple_Check(tuple)) return PyErr_SetString(PyExc_TypeError, "a tuple is needed"), NULL;
    const Py_ssize_t items = PyTuple_Size(tuple);
    Py_ssize_t n = 0;
    for (; signature && *signature != end && n < items; n++)
        signature = read_one(reader, PyTuple_GetItem(tuple, n), signature);
    if (!signature) return NULL;
    if (*signature == end && n == items) return signature + 1;
    return PyErr_SetString(PyExc_TypeError, "a tuple, or a call, has too few or too many items"), NULL;
}

static PyObject *result_of(const Call *call, int is_done, Gives gives) {
    if (!call->has_memory) return PyErr_NoMemory();
    if (!is_done) return PyErr_SetString(PyExc_ValueError, call->error), NULL;
    if (gives == NOTHING) return Py_NewRef(Py_None);
    return gives == SIZE ? PyLong_FromSsize_t(call->result) : PyBool_FromLong(call->result != 0);
}

static PyObject *called(Kernel kernel, PyObject *args, const char *signature, Gives gives, int is_short) {
    Reader *reader = PyMem_Malloc(sizeof *reader);
    if (!reader) return PyErr_NoMemory();
    reader->count = reader->buffer_count = 0;
    PyObject *result = NULL;
    if (read_all(reader, args, signature, 0)) {
        Call call = {reader->arguments, 0, 1, 0, ""};
        int is_done;
        if (is_short) {
            is_done = kernel(&call);
        } else {
            Py_BEGIN_ALLOW_THREADS
            is_done = kernel(&call);
            Py_END_ALLOW_THREADS
        }
        result = result_of(&call, is_done, gives);
    }
    for (int n = 0; n < reader->buffer_count; n++) PyBuffer_Release(&reader->buffers[n]);
    PyMem_Free(reader);
    return result;
}

#define CALL(name, signature, gives, is_short, kernel)                                                                 \
    static PyObject *call_##name(PyObject *self, PyObject *args) {                                                     \
        (void)self;                                                                                                    \
        return called(kernel, args, signature, gives, is_short);                                                       \
    }
#define CALL_ONE(name, signature, gives, is_short) CALL(name, signature, gives, is_short, name)
#define CALL_CHOSEN(name, signature, gives, is_short) CALL(name, signature, gives, is_short, kernels->name)
KERNELS_OF_ONE_BUILD(CALL_ONE)
KERNELS_OF_TARGETS(CALL_CHOSEN)

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

/* Has all threads take memory from one place; whether that is possible. */
static PyObject *call_share_memory(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int is_shared = 0;
#if defined(__GLIBC__)
    is_shared = mallopt(M_ARENA_MAX, 1);
#endif
    return PyBool_FromLong(is_shared);
}

#define DEFINE(name, signature, gives, is_short) {#name, call_##name, METH_VARARGS, NULL},
static PyMethodDef methods[] = {
    KERNELS_OF_ONE_BUILD(DEFINE) KERNELS_OF_TARGETS(DEFINE)
    {"instruction_sets", call_instruction_sets, METH_NOARGS, NULL},
    {"chosen_instruction_set", call_chosen_instruction_set, METH_NOARGS, NULL},
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
