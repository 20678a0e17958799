/* The module dfmcodec.kernels._compiled: the methods of all kernels. */
#include "common.h"

void choose_way_of_host(void);

/* The methods that are compiled for each target, and those of the module, which call that of the chosen one. */
#define DECLARE(method)                                                                                                \
    PyObject *method##_baseline(PyObject *, PyObject *), *method##_avx2(PyObject *, PyObject *),                       \
        *method##_avx512(PyObject *, PyObject *);
METHODS_OF_TARGETS(DECLARE)

typedef struct {
#define POINTER(method) PyCFunction method;
    METHODS_OF_TARGETS(POINTER)
} MethodsOfTarget;

#define OF_BASELINE(method) method##_baseline,
#define OF_AVX2(method) method##_avx2,
#define OF_AVX512(method) method##_avx512,
static const MethodsOfTarget of_targets[TARGETS] = {
    {METHODS_OF_TARGETS(OF_BASELINE)},
#if ON_X86 && !defined(DFM_ONE_TARGET)
    {METHODS_OF_TARGETS(OF_AVX2)},
    {METHODS_OF_TARGETS(OF_AVX512)},
#endif
};
static const MethodsOfTarget *of_target = of_targets;

#define CALL(method)                                                                                                   \
    static PyObject *method(PyObject *self, PyObject *args) { return of_target->method(self, args); }
METHODS_OF_TARGETS(CALL)

#define DEFINE(method) {#method, method, METH_VARARGS, NULL},
static PyMethodDef methods_of_targets[] = {METHODS_OF_TARGETS(DEFINE){NULL, NULL, 0, NULL}};

void choose_target(enum Target most) {
    enum Target target = BASELINE;
#if ON_X86 && !defined(DFM_ONE_TARGET)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) target = FOR_AVX2;
    if (target == FOR_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        target = FOR_AVX512;
#endif
    of_target = &of_targets[target < most ? target : most];
}

static int add_methods(PyObject *module) {
    choose_way_of_host();
    PyMethodDef *all[] = {context_methods, coder_methods, synthesis_methods,
                          trellis_methods, grid_methods,  methods_of_targets};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (PyModule_AddFunctions(module, all[i])) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_methods}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_compiled", "Compiled loops; see dfmcodec.kernels.", 0, NULL, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
