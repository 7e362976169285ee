/* One line: whether it is sound, and its outline. */

#include "outline.h"

#include <string.h>

static bool value(Line *line, Kind kind, Key key, int depth);

static bool put(Line *line, const void *bytes, size_t length)
{
    if (line->quiet)
        return true;
    if (length > LONGEST_OUTLINE - line->length)
        return false;
    memcpy(line->room->outline + line->length, bytes, length);
    line->length += length;
    return true;
}

static bool put_numbered(Line *line, const char *before, size_t number, const char *after)
{
    char text[40];
    size_t length = 0;
    while (*before)
        text[length++] = *before++;
    for (size_t ten = number < 10 ? 1 : number < 100 ? 10 : number < 1000 ? 100 : 1000; ten; ten /= 10)
        text[length++] = (char)('0' + number / ten % 10);
    while (*after)
        text[length++] = *after++;
    return put(line, text, length);
}

static bool pass_space(Line *line) /* a lone carriage return is for Python */
{
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
    return line->at < line->end && *line->at != '\r';
}

static bool put_text(Line *line, const String *text, const char *before, const char *after)
{
    if (line->quiet)
        return true;
    if (line->texts == MOST_TEXTS)
        return false;
    line->room->texts[line->texts] = text->raw;
    return put_numbered(line, before, line->texts++, after);
}

static bool put_string(Line *line, const String *text)
{
    return put(line, "\"", 1) && put(line, text->raw.start, text->raw.length) && put(line, "\"", 1);
}

static bool put_name(Line *line, const String *name)
{
    size_t place = 0;
    Piece *names = line->room->names;
    while (place < line->names && (names[place].length != name->raw.length ||
                                   memcmp(names[place].start, name->raw.start, name->raw.length) != 0))
        place++;
    if (place == MOST_NAMES)
        return false;
    if (place == line->names)
        names[line->names++] = name->raw;
    return put_numbered(line, "\"n", place, "\"");
}

static bool is_name(Piece text) /* of a function */
{
    if (text.length < 1 || text.length > 64)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.start[i], low = c | 0x20;
        if (!((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool arguments(Line *line, const String *text) /* they are an object, written as a string */
{
    Room *room = line->room;
    if (text->plain > LONGEST_ARGUMENTS)
        return false;
    const uint8_t *at = text->raw.start, *end = at + text->raw.length;
    size_t length = 0;
    while (at < end) {
        if (length > LONGEST_ARGUMENTS - 4) /* no more than is said, unless the text changes meanwhile */
            return false;
        if (*at != '\\') {
            room->arguments[length++] = *at++;
            continue;
        }
        at++;
        int64_t c = escape_at(&at, end);
        size_t bytes = bytes_of(c);
        if (bytes == 1)
            room->arguments[length++] = (uint8_t)c;
        else {
            room->arguments[length++] = (uint8_t)((0xF00 >> bytes) | (c >> 6 * (bytes - 1)));
            for (size_t i = bytes - 1; i-- > 0;)
                room->arguments[length++] = (uint8_t)(0x80 | (c >> 6 * i & 0x3F));
        }
    }
    Line inner = *line;
    inner.at = room->arguments;
    inner.end = inner.at + length;
    inner.quiet = true;
    if (!pass_space(&inner) || *inner.at != '{' || !value(&inner, ELSEWHERE, OTHER_KEY, 1))
        return false;
    if (pass_space(&inner) || inner.at < inner.end)
        return false;
    return put_text(line, text, "\"{\\\"x", "\\\":0}\"");
}

static bool put_value(Line *line, Kind kind, Key key, const String *text)
{
    if (kind == FUNCTION && key == ARGUMENTS)
        return arguments(line, text);
    if (kind == MESSAGE || kind == CALL || kind == FUNCTION || kind == TOOLS || kind == PART || kind == ELSEWHERE) {
        if ((key == ID || key == TOOL_CALL_ID) && !text->escaped)
            return put_name(line, text);
        if (key == NAME && is_name(text->raw))
            return put_name(line, text);
        if (key == NAME || key == ID || key == TOOL_CALL_ID || key == ROLE || key == TYPE || key == URL || key == DETAIL)
            return put_string(line, text);
    }
    if (text->raw.length == 0)
        return put(line, "\"\"", 2);
    uint8_t first = *text->raw.start;
    if ((first <= ' ' || first >= 0x80 || first == '\\') && is_blank(text->raw))
        return put(line, "\" \"", 3);
    return put_text(line, text, "\"x", "\"");
}

static bool string_value(Line *line, Kind kind, Key key)
{
    String text;
    size_t before = line->length;
    if (!string(line, &text) || !put_value(line, kind, key, &text))
        return false;
    if (line->quiet)
        return true;
    int64_t plain = (int64_t)text.plain;
    if (is_content(kind, key))
        line->content += plain;
    else if (kind == RECORD && (key == PROMPT || key == COMPLETION || key == TEXT))
        line->bare += plain;
    if (kind == TOOLS)
        line->grown += (int64_t)text.written - (int64_t)(line->length - before);
    if (line->output >= 0)
        line->outputs[line->output] += plain;
    return true;
}

static size_t digits(Line *line)
{
    const uint8_t *start = line->at;
    while (line->at < line->end && *line->at >= '0' && *line->at <= '9')
        line->at++;
    return (size_t)(line->at - start);
}

static bool number(Line *line, Kind kind, Key key)
{
    const uint8_t *start = line->at;
    bool whole = true;
    line->at += *line->at == '-';
    const uint8_t *first = line->at;
    size_t count = digits(line);
    if (count == 0 || count > MOST_DIGITS || (count > 1 && *first == '0'))
        return false;
    if (line->at < line->end && *line->at == '.') {
        line->at++;
        whole = false;
        count = digits(line);
        if (count == 0 || count > MOST_DIGITS)
            return false;
    }
    if (line->at < line->end && (*line->at | 0x20) == 'e')
        return false;
    if (kind == TOOLS && (!whole || *start == '-')) /* msgspec may write it otherwise */
        return false;
    if (kind == FOREIGN || (kind == RECORD && key == OTHER_KEY))
        return put(line, "0.5", whole ? 1 : 3);
    return put(line, start, (size_t)(line->at - start));
}

static bool literal(Line *line)
{
    static const char *const words[] = {"null", "true", "false"};
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(line->end - line->at) >= length && memcmp(line->at, words[i], length) == 0) {
            line->at += length;
            return put(line, words[i], length);
        }
    }
    return false;
}

static bool new_key(Line *line, const String *name, size_t first) /* of an object whose keys begin at `first` */
{
    Piece *keys = line->room->keys;
    if (name->escaped || line->open_keys == MOST_OPEN_KEYS || line->open_keys - first == MOST_KEYS)
        return false;
    for (size_t i = first; i < line->open_keys; i++)
        if (keys[i].length == name->raw.length && memcmp(keys[i].start, name->raw.start, name->raw.length) == 0)
            return false;
    keys[line->open_keys++] = name->raw;
    return true;
}

static bool member(Line *line, Kind kind, int depth, size_t first)
{
    String name;
    if (*line->at++ != '"' || !string(line, &name) || !new_key(line, &name, first) || !pass_space(line))
        return false;
    if (*line->at++ != ':' || !put_string(line, &name) || !put(line, ":", 1))
        return false;
    Key key = line->quiet ? OTHER_KEY : key_named(name.raw.start, name.raw.length);
    if (kind == RECORD && (key == PREFERRED_KEY || key == OTHER_OUTPUT_KEY)) {
        line->output = key == OTHER_OUTPUT_KEY;
        line->pair = true;
    }
    bool sound = value(line, kind, key, depth);
    if (kind == RECORD)
        line->output = -1;
    return sound;
}

static bool container(Line *line, Kind kind, Key key, int depth)
{
    bool list = *line->at == '[';
    Kind own = line->quiet ? ELSEWHERE : depth == 1 ? RECORD : within(kind, key, list);
    size_t first = line->open_keys, before = line->length;
    int64_t grown = line->grown;
    char closing = list ? ']' : '}';
    if (depth > DEEPEST || !put(line, line->at++, 1) || !pass_space(line))
        return false;
    bool empty = *line->at == closing;
    while (!empty) {
        if (!(list ? value(line, own, OTHER_KEY, depth + 1) : member(line, own, depth + 1, first)) || !pass_space(line))
            return false;
        if (*line->at == closing)
            break;
        if (*line->at++ != ',' || !put(line, ",", 1) || !pass_space(line))
            return false;
    }
    line->at++;
    line->open_keys = first;
    if (!put(line, &closing, 1))
        return false;
    if (own == TOOLS && kind != TOOLS && !empty)
        line->content += (int64_t)(line->length - before) + line->grown - grown;
    return true;
}

static bool value(Line *line, Kind kind, Key key, int depth)
{
    if (!pass_space(line))
        return false;
    switch (*line->at) {
    case '"':
        line->at++;
        return string_value(line, kind, key);
    case '{':
    case '[':
        return container(line, kind, key, depth);
    case 't':
    case 'f':
    case 'n':
        return literal(line);
    default:
        return number(line, kind, key);
    }
}

static bool is_sound(Line *line)
{
    if (*line->at != '{' || !value(line, ELSEWHERE, OTHER_KEY, 1) || line->at < line->end)
        return false;
    if (line->circumflex && line->euro)
        return false;
    return !line->pair || line->outputs[0] != line->outputs[1]; /* else they may be equal */
}

static bool is_cut_off(const uint8_t *at, const uint8_t *end) /* an object begins and does not end, as line.py says */
{
    size_t brackets = 0;
    if (*at != '{' || end[-1] == '}' || end[-1] == ',' || end[-1] <= ' ')
        return false;
    for (; at < end; at++) {
        if (*at >= 0x80 || *at == '\r')
            return false;
        brackets += *at == '{' || *at == '[';
    }
    return brackets <= DEEPEST;
}

bool outline(Line *line, Room *room, const uint8_t *at, const uint8_t *end) /* false: it is left to Python */
{
    while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    *line = (Line){.at = at, .end = end, .room = room, .output = -1};
    if (at == end)
        return true; /* blank: its outline is empty */
    if (end - at > LONGEST_LINE)
        return false;
    if (is_sound(line))
        return true;
    *line = (Line){.at = end, .end = end, .room = room, .output = -1};
    return is_cut_off(at, end) && put(line, "{", 1); /* of all that are cut off nothing else is told */
}
