/* The Python module. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "outline.h"

extern PyType_Spec OUTLINES_SPEC;

static PyObject *key_of_texts(PyObject *module, PyObject *args)
{
    (void)module;
    const char *first, *last = NULL;
    Py_ssize_t first_length, last_length = 0;
    if (!PyArg_ParseTuple(args, "y#|z#:key", &first, &first_length, &last, &last_length))
        return NULL;
    Piece one = {(const uint8_t *)first, (size_t)first_length}, two = {(const uint8_t *)last, (size_t)last_length};
    return PyLong_FromLongLong(prompt_key(one, last ? two : one, last != NULL, false));
}

static PyObject *numbers_of(List *found, bool done)
{
    PyObject *result = done ? PyBytes_FromStringAndSize(found->numbers ? (char *)found->numbers : "",
                                                        (Py_ssize_t)(found->number * sizeof *found->numbers))
                            : PyErr_NoMemory();
    list_end(found);
    return result;
}

static size_t length_of(const Py_buffer *numbers)
{
    return (size_t)numbers->len / sizeof(int64_t);
}

static PyObject *repeated(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer keys;
    List found = {0};
    bool done;
    if (!PyArg_ParseTuple(args, "y*:repeated", &keys))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = gather_repeated(&found, keys.buf, length_of(&keys));
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&keys);
    return numbers_of(&found, done);
}

static PyObject *grouped(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer keys;
    unsigned int group, groups;
    List found = {0};
    bool done;
    if (!PyArg_ParseTuple(args, "y*II:group", &keys, &group, &groups))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = gather_group(&found, keys.buf, length_of(&keys), group, groups);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&keys);
    return numbers_of(&found, done);
}

static PyObject *places(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer keys, wanted;
    List found = {0};
    bool done;
    if (!PyArg_ParseTuple(args, "y*y*:places", &keys, &wanted))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = gather_places(&found, keys.buf, length_of(&keys), wanted.buf, length_of(&wanted));
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&keys);
    PyBuffer_Release(&wanted);
    return numbers_of(&found, done);
}

static PyObject *sizes(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer keys, lengths;
    List found = {0};
    bool done, alike;
    if (!PyArg_ParseTuple(args, "y*y*:sizes", &keys, &lengths))
        return NULL;
    alike = keys.len == lengths.len;
    Py_BEGIN_ALLOW_THREADS
    done = alike && gather_sizes(&found, keys.buf, lengths.buf, length_of(&keys));
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&keys);
    PyBuffer_Release(&lengths);
    return alike ? numbers_of(&found, done) : PyErr_Format(PyExc_ValueError, "there are not as many keys as lengths");
}

static PyObject *total_of(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer numbers;
    if (!PyArg_ParseTuple(args, "y*:total", &numbers))
        return NULL;
    int64_t sum = total(numbers.buf, length_of(&numbers));
    PyBuffer_Release(&numbers);
    return PyLong_FromLongLong(sum);
}

static PyMethodDef FUNCTIONS_OF_MODULE[] = {
    {"repeated", repeated, METH_VARARGS,
     "repeated(keys)\n--\n\nReturn the keys that stand more than once, each once, without 0. All numbers are 64-bit "
     "integers, native."},
    {"group", grouped, METH_VARARGS,
     "group(keys, group, groups)\n--\n\nReturn the keys of one of several groups, without 0; equal keys share one."},
    {"places", places, METH_VARARGS,
     "places(keys, wanted)\n--\n\nReturn where among the keys the wanted ones stand; 0 is passed over."},
    {"sizes", sizes, METH_VARARGS,
     "sizes(keys, lengths)\n--\n\nReturn the lengths whose key is not 0, each followed by a number of lines. Long lines are "
     "told one by one."},
    {"total", total_of, METH_VARARGS, "total(numbers)\n--\n\nReturn the sum of the numbers."},
    {"key", key_of_texts, METH_VARARGS,
     "key(first, last=None)\n--\n\nReturn the key of a prompt by the texts in UTF-8 that it begins and ends with.\n\n"
     "It is equal for prompts that differ only in case and white space."},
    {NULL, NULL, 0, NULL},
};

static bool fill_lower_case(void) /* as Python says; what has a capital beyond the table is passed over */
{
    static const uint16_t passed_over[] = {'i', 'I', 'k', 'K', 0xDF, 0xC5, 0xE5, 0x130, 0x307, 0x3A9, 0x3C9};
    for (int c = 1; c < CASED; c++) {
        PyObject *text = PyUnicode_FromOrdinal(c), *lower = text ? PyObject_CallMethod(text, "lower", NULL) : NULL;
        Py_XDECREF(text);
        if (!lower)
            return false;
        Py_UCS4 first = PyUnicode_ReadChar(lower, 0);
        bool rare = (first >= 0x23A && first <= 0x2AF) || first >= CASED; /* with capitals far away */
        set_lower_case(c, PyUnicode_GetLength(lower) == 1 && !is_space(c) && !rare ? (uint16_t)first : 0);
        Py_DECREF(lower);
    }
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++)
        set_lower_case(passed_over[i], 0);
    set_lower_case(0x3A3, 0x3C3); /* which sigma it is hangs on what follows */
    set_lower_case(0x3C2, 0x3C3);
    return true;
}

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_outline",
    .m_doc = "Reduce JSON lines to their outlines; see the source.",
    .m_size = -1,
    .m_methods = FUNCTIONS_OF_MODULE,
};

PyMODINIT_FUNC PyInit__outline(void)
{
    PyObject *type = PyType_FromSpec(&OUTLINES_SPEC), *module = type ? PyModule_Create(&MODULE) : NULL;
    if (!module || !fill_lower_case() || PyModule_AddObjectRef(module, "Outlines", type) < 0)
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
