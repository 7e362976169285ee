/* The Python type. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "outline.h"

typedef struct {
    PyObject_HEAD
    Memory memory;
    bool busy;
} Outlines;

static PyObject *others_of(const Found *found)
{
    PyObject *list = PyList_New((Py_ssize_t)found->others.number);
    for (size_t i = 0; list && i < found->others.number; i++) {
        Spot spot = found->others.spots[i];
        PyObject *item = Py_BuildValue("LLLO", (long long)spot.place, (long long)spot.start, (long long)spot.end,
                                       spot.is_new ? Py_True : Py_False);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *sampled_of(const Found *found, const char *text)
{
    PyObject *list = PyList_New((Py_ssize_t)found->sampled.number);
    for (size_t i = 0; list && i < found->sampled.number; i++) {
        Spot spot = found->sampled.spots[i];
        PyObject *item = Py_BuildValue("ky#", (unsigned long)spot.lot, text + spot.start,
                                       (Py_ssize_t)(spot.end - spot.start));
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static bool begin(Outlines *self)
{
    if (self->busy)
        PyErr_SetString(PyExc_RuntimeError, "outlines are read by one thread at a time");
    return !self->busy;
}

static PyObject *outlines_scan(Outlines *self, PyObject *args)
{
    Py_buffer text;
    unsigned long mask;
    if (!PyArg_ParseTuple(args, "y*k:scan", &text, &mask))
        return NULL;
    if (!begin(self)) {
        PyBuffer_Release(&text);
        return NULL;
    }
    Found found = {0};
    bool done;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    done = take_lines(&self->memory, &found, text.buf, (size_t)text.len, (uint32_t)mask);
    Py_END_ALLOW_THREADS
    self->busy = false;
    Py_ssize_t size = (Py_ssize_t)(found.number * sizeof *found.keys);
    PyObject *result = done ? Py_BuildValue("ny#y#NN", (Py_ssize_t)found.read, found.keys ? (char *)found.keys : "", size,
                                            found.lengths ? (char *)found.lengths : "", size, others_of(&found),
                                            sampled_of(&found, text.buf))
                            : PyErr_NoMemory();
    found_end(&found);
    PyBuffer_Release(&text);
    return result;
}

static PyObject *outlines_find(Outlines *self, PyObject *args)
{
    const char *text;
    Py_ssize_t length;
    Line line;
    int64_t key;
    if (!PyArg_ParseTuple(args, "y#:find", &text, &length) || !begin(self))
        return NULL;
    const uint8_t *start = (const uint8_t *)text;
    if (!outline(&line, self->memory.room, start, start + length) || !count_line(&self->memory, &line, &key))
        Py_RETURN_NONE;
    return PyLong_FromLongLong(key);
}

static PyObject *outlines_outline(Outlines *self, PyObject *args)
{
    const char *text;
    Py_ssize_t length;
    Line line;
    if (!PyArg_ParseTuple(args, "y#:outline", &text, &length) || !begin(self))
        return NULL;
    const uint8_t *start = (const uint8_t *)text;
    if (!outline(&line, self->memory.room, start, start + length))
        Py_RETURN_NONE;
    PyObject *texts = PyList_New((Py_ssize_t)line.texts);
    for (size_t i = 0; texts && i < line.texts; i++) {
        Piece piece = self->memory.room->texts[i];
        PyObject *item = PyBytes_FromStringAndSize((const char *)piece.start, (Py_ssize_t)piece.length);
        if (!item || PyList_SetItem(texts, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(texts);
    }
    return texts ? Py_BuildValue("y#LLN", (char *)self->memory.room->outline, (Py_ssize_t)line.length, (long long)line.content,
                                 (long long)line.bare, texts)
                 : NULL;
}

static PyObject *outlines_learn(Outlines *self, PyObject *args)
{
    const char *text;
    Py_ssize_t length;
    int first, last, bare;
    if (!PyArg_ParseTuple(args, "y#iip:learn", &text, &length, &first, &last, &bare) || !begin(self))
        return NULL;
    if (first < NO_RECORD || last < NO_RECORD || (first < 0) != (last < 0) || length > LONGEST_OUTLINE)
        return PyErr_Format(PyExc_ValueError, "no outline has such texts");
    int done = memory_learn(&self->memory, (const uint8_t *)text, (size_t)length, first, last, bare);
    return done < 0 ? PyErr_NoMemory() : PyBool_FromLong(done);
}

static PyObject *outlines_counts(Outlines *self, PyObject *unused)
{
    (void)unused;
    PyObject *list = PyList_New((Py_ssize_t)self->memory.number);
    for (size_t i = 0; list && i < self->memory.number; i++) {
        PyObject *item = PyLong_FromLongLong(self->memory.known[i].count);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *outlines_content(Outlines *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLongLong(self->memory.content);
}

static PyObject *outlines_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    if (!PyArg_ParseTuple(args, ":Outlines") || (keywords && PyDict_Size(keywords)))
        return keywords && !PyErr_Occurred() ? PyErr_Format(PyExc_TypeError, "Outlines() takes no keywords") : NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Outlines *self = (Outlines *)allocate(type, 0);
    if (!self)
        return NULL;
    if (!memory_begin(&self->memory)) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void outlines_free(Outlines *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    memory_end(&self->memory);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef METHODS[] = {
    {"scan", (PyCFunction)outlines_scan, METH_VARARGS,
     "scan(text, mask)\n--\n\nCount the lines of a block whose outlines are known, up to the end of the block or until "
     "enough others\nwere met. Return how many bytes were read, the keys of all prompts and the lengths of all lines (as "
     "64-bit\nintegers, native), the other lines as (place, start, end, whether it is sound), and those whose lot shares\n"
     "no bit with the mask as (lot, line)."},
    {"find", (PyCFunction)outlines_find, METH_VARARGS,
     "find(line)\n--\n\nCount a line whose outline is known and return the key of its prompt, else return None."},
    {"outline", (PyCFunction)outlines_outline, METH_VARARGS,
     "outline(line)\n--\n\nReturn the outline of a sound line, the UTF-8 bytes of what it says as a chat and as plain\n"
     "text, and its texts as they are written between their quotes; None if the line is not sound."},
    {"learn", (PyCFunction)outlines_learn, METH_VARARGS,
     "learn(outline, first, last, bare)\n--\n\nRemember an outline, with the places of the texts that its prompt begins "
     "and ends with (-1: no prompt,\n-2: no record). Return False if it is known, or there is no room."},
    {"counts", (PyCFunction)outlines_counts, METH_NOARGS,
     "counts()\n--\n\nReturn how many lines were counted for each outline, in the order in which they were learnt."},
    {"content", (PyCFunction)outlines_content, METH_NOARGS,
     "content()\n--\n\nReturn the UTF-8 bytes of what all counted lines say."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SLOTS_OF_TYPE[] = {
    {Py_tp_new, outlines_new},
    {Py_tp_dealloc, outlines_free},
    {Py_tp_methods, METHODS},
    {Py_tp_doc, "Remember outlines of JSON lines, and count the lines that have them."},
    {0, NULL},
};

PyType_Spec OUTLINES_SPEC = {"anytune.data.check._outline.Outlines", sizeof(Outlines), 0, Py_TPFLAGS_DEFAULT,
                           SLOTS_OF_TYPE};
