/* The module dfmcodec.kernels._compiled: the methods of all kernels. */
#include "common.h"

void choose_way_of_host(void);

static int add_methods(PyObject *module) {
    choose_way_of_host();
    PyMethodDef *all[] = {context_methods, coder_methods,   synthesis_methods,
                          machine_methods, trellis_methods, grid_methods};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (PyModule_AddFunctions(module, all[i])) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_methods}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_compiled", "Compiled loops; see dfmcodec.kernels.", 0, NULL, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
