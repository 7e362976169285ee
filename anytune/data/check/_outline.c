/* Read JSON lines and reduce each to its outline: the same record with stand-ins for the texts in it.

   Two lines with equal outlines differ in their texts only, so what the rules say of one holds for the other. The
   outline is JSON itself: keys, roles, types and weights stand in it as they are written; a text is "x0", "x1", ... in
   the order of the line ("" if it is empty, " " if it is blank); ids and names of functions are "n0", "n1", ..., equal
   where they are equal. No rule is known here: a line is sound, or it is left to Python. Sound is: strict JSON in UTF-8,
   an object, without keys that stand twice, numbers that may not fit 64 bits, deep nesting, NUL, lone surrogates, and
   without characters that garbled text is full of. tests/data/test_outline.py holds this and the rules together.

   Memory: nothing is read beyond a line's end; every buffer has a fixed size, and what does not fit is left to Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEEPEST = 60,            /* levels of nesting */
    MOST_KEYS = 64,          /* keys of one object */
    MOST_OPEN_KEYS = 1024,   /* keys of all open objects */
    MOST_TEXTS = 1024,       /* texts of a line */
    MOST_NAMES = 64,         /* ids and names of a line that differ */
    MOST_DIGITS = 17,
    LONGEST_LINE = 8000000,
    LONGEST_OUTLINE = 8192,
    LONGEST_ARGUMENTS = 65536,
    MOST_OUTLINES = 4096,
    MOST_OUTLINE_BYTES = 4 << 20,
    SLOTS = 4 * MOST_OUTLINES,
    CASED = 0x600,           /* characters below are folded by a table */
    SAMPLED_AT_MOST = 1 << 18,
    LATE = 72,
    EARLY = 40,              /* bytes before the end of a line that decide whether it is sampled */
    NO_PROMPT = -1,
    NO_RECORD = -2,
};

/* ---- what the keys and containers of a record mean ---- */

typedef enum {
    OTHER_KEY, CONTENT, ROLE, MESSAGES_KEY, WEIGHT, NAME, TOOL_CALL_ID, TOOL_CALLS, ID, TYPE, FUNCTION_KEY, ARGUMENTS,
    TOOLS_KEY, FUNCTIONS, TEXT, URL, DETAIL, REFUSAL, REASONING, REASONING_CONTENT, FUNCTION_CALL, INPUT_KEY,
    PREFERRED_KEY, OTHER_OUTPUT_KEY, PROMPT, COMPLETION, PARALLEL,
} Key;

static const struct { const char *name; uint8_t length; Key key; } KEYS[] = {
    {"content", 7, CONTENT}, {"role", 4, ROLE}, {"messages", 8, MESSAGES_KEY}, {"type", 4, TYPE}, {"name", 4, NAME},
    {"weight", 6, WEIGHT}, {"tool_calls", 10, TOOL_CALLS}, {"tool_call_id", 12, TOOL_CALL_ID}, {"id", 2, ID},
    {"function", 8, FUNCTION_KEY}, {"arguments", 9, ARGUMENTS}, {"tools", 5, TOOLS_KEY}, {"functions", 9, FUNCTIONS},
    {"text", 4, TEXT}, {"url", 3, URL}, {"detail", 6, DETAIL}, {"refusal", 7, REFUSAL}, {"reasoning", 9, REASONING},
    {"reasoning_content", 17, REASONING_CONTENT}, {"function_call", 13, FUNCTION_CALL}, {"input", 5, INPUT_KEY},
    {"preferred_output", 16, PREFERRED_KEY}, {"non_preferred_output", 20, OTHER_OUTPUT_KEY}, {"prompt", 6, PROMPT},
    {"completion", 10, COMPLETION}, {"parallel_tool_calls", 19, PARALLEL},
};

typedef enum {
    ELSEWHERE, RECORD, INPUT, CONVERSATION, MESSAGE, PARTS, PART, CALLS, CALL, FUNCTION, TOOLS, FOREIGN,
} Kind;

static Key key_named(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (KEYS[i].length == length && memcmp(KEYS[i].name, name, length) == 0)
            return KEYS[i].key;
    return OTHER_KEY;
}

static bool is_said(Key key) /* what a message says */
{
    return key == CONTENT || key == REFUSAL || key == REASONING || key == REASONING_CONTENT || key == NAME;
}

static Kind within(Kind kind, Key key, bool list) /* what a list or object is, by where it stands */
{
    switch (kind) {
    case RECORD:
        if (key == INPUT_KEY && !list)
            return INPUT;
        if (list && (key == PREFERRED_KEY || key == OTHER_OUTPUT_KEY))
            return CONVERSATION;
        /* fall through */
    case INPUT:
        if (key == MESSAGES_KEY && list)
            return CONVERSATION;
        return key == TOOLS_KEY || key == FUNCTIONS ? TOOLS : key == OTHER_KEY ? FOREIGN : ELSEWHERE;
    case CONVERSATION:
        return list ? ELSEWHERE : MESSAGE;
    case MESSAGE:
        if (list)
            return is_said(key) ? PARTS : key == TOOL_CALLS ? CALLS : ELSEWHERE;
        return key == FUNCTION_CALL ? FUNCTION : ELSEWHERE;
    case PARTS:
        return list ? ELSEWHERE : PART;
    case CALLS:
        return list ? ELSEWHERE : CALL;
    case CALL:
        return key == FUNCTION_KEY && !list ? FUNCTION : ELSEWHERE;
    case TOOLS:
    case FOREIGN:
        return kind;
    default:
        return ELSEWHERE;
    }
}

static bool is_content(Kind kind, Key key) /* whether a string becomes tokens of a chat */
{
    return (kind == MESSAGE && is_said(key)) || (kind == PART && (key == TEXT || key == REFUSAL)) ||
           (kind == FUNCTION && (key == NAME || key == ARGUMENTS));
}

/* ---- one line ---- */

typedef struct { const uint8_t *start; size_t length; } Piece;

typedef struct { /* a string: what stands between its quotes, and its length in UTF-8, plain and as JSON */
    Piece raw;
    size_t plain, written;
    bool escaped;
} String;

typedef struct { /* room for one line */
    uint8_t outline[LONGEST_OUTLINE];
    uint8_t arguments[LONGEST_ARGUMENTS];
    Piece keys[MOST_OPEN_KEYS];
    Piece names[MOST_NAMES];
    Piece texts[MOST_TEXTS];
} Room;

typedef struct {
    const uint8_t *at, *end;
    Room *room;
    size_t length;           /* of the outline so far */
    size_t open_keys, names, texts;
    int64_t content, bare;   /* bytes of what a chat says; of a prompt, a completion, a text */
    int64_t grown;           /* bytes that the tools take more than their outline */
    int64_t outputs[2];      /* bytes of the texts of both outputs of a pair */
    int output;              /* which of them this is, 0 or 1; -1: neither */
    bool pair, quiet;        /* quiet: nothing is written, as within the arguments of a call */
    bool circumflex, euro;   /* together they may be a garbled dash or quote */
} Line;

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

static bool note(Line *line, uint32_t character) /* U+00C2, U+00C3 and U+FFFD mark garbled text, as garble.py says */
{
    line->circumflex |= character == 0xE2;
    line->euro |= character == 0x20AC;
    return character != 0 && character != 0xC2 && character != 0xC3 && character != 0xFFFD;
}

static uint32_t character_at(const uint8_t **at, const uint8_t *end) /* one beyond ASCII, 0 if it is not UTF-8 */
{
    const uint8_t *p = *at;
    size_t more = *p >= 0xF0 ? 3 : *p >= 0xE0 ? 2 : 1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (*p < 0xC2 || *p > 0xF4 || (size_t)(end - p) <= more)
        return 0;
    uint32_t found = *p & (0x3F >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        found = found << 6 | (p[i] & 0x3F);
    }
    if (found < least[more] || found > 0x10FFFF || (found >= 0xD800 && found <= 0xDFFF))
        return 0;
    *at = p + more + 1;
    return found;
}

static int64_t hex(const uint8_t *at, const uint8_t *end) /* -1 if these are no four digits */
{
    int64_t found = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            found = found << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            found = found << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return found;
}

static int64_t escape_at(const uint8_t **at, const uint8_t *end) /* behind a backslash; -1 if it is none, or half one */
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*at == end)
        return -1;
    if (**at != 'u') {
        const char *found = **at ? strchr(from, **at) : NULL;
        ++*at;
        return found ? to[found - from] : -1;
    }
    int64_t first = hex(*at + 1, end);
    *at += first < 0 ? 0 : 5;
    if (first < 0xD800 || first > 0xDFFF)
        return first;
    if (first > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    int64_t second = hex(*at + 2, end);
    *at += 6;
    return second < 0xDC00 || second > 0xDFFF ? -1 : 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

static size_t bytes_of(int64_t character)
{
    return character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
}

static size_t more_as_json(int64_t c) /* bytes that msgspec adds when it writes a character */
{
    if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
        return 1;
    return c < 0x20 ? 5 : 0;
}

static const uint8_t *pass_plain(const uint8_t *at, const uint8_t *end) /* to what is not printable ASCII, " or \ */
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        uint64_t found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word) | word) & tops;
        if (found)
            return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
#endif
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

static bool string(Line *line, String *found) /* behind the opening quote */
{
    const uint8_t *at = line->at, *end = line->end;
    size_t less = 0, more = 2;
    found->escaped = false;
    for (;;) {
        at = pass_plain(at, end);
        if (at == end || *at < 0x20)
            return false;
        if (*at == '"')
            break;
        if (*at >= 0x80) {
            uint32_t character = character_at(&at, end);
            if (!character || !note(line, character))
                return false;
            continue;
        }
        const uint8_t *start = at++;
        int64_t character = escape_at(&at, end);
        if (character < 0 || !note(line, (uint32_t)character))
            return false;
        less += (size_t)(at - start) - bytes_of(character);
        more += more_as_json(character);
        found->escaped = true;
    }
    found->raw = (Piece){line->at, (size_t)(at - line->at)};
    found->plain = found->raw.length - less;
    found->written = found->plain + more;
    line->at = at + 1;
    return true;
}

static bool is_space(int64_t c) /* as str.isspace says */
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static int64_t next_character(const uint8_t **at, const uint8_t *end, bool json) /* -1 where there is none to be read */
{
    if (**at >= 0x80) {
        uint32_t found = character_at(at, end);
        *at += found ? 0 : 1;
        return found ? (int64_t)found : -1;
    }
    uint8_t first = *(*at)++;
    return json && first == '\\' ? escape_at(at, end) : first;
}

static bool is_blank(Piece text)
{
    const uint8_t *at = text.start, *end = at + text.length;
    while (at < end)
        if (!is_space(next_character(&at, end, true)))
            return false;
    return true;
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

static bool outline(Line *line, Room *room, const uint8_t *at, const uint8_t *end) /* false: it is left to Python */
{
    while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    *line = (Line){.at = at, .end = end, .room = room, .output = -1};
    if (at == end)
        return true; /* blank: its outline is empty */
    if (*at != '{' || end - at > LONGEST_LINE || !value(line, ELSEWHERE, OTHER_KEY, 1) || line->at < end)
        return false;
    if (line->circumflex && line->euro)
        return false;
    return !line->pair || line->outputs[0] != line->outputs[1]; /* else they may be equal */
}

/* ---- keys of prompts ---- */

static uint16_t lower_case[CASED]; /* 0: passed over */
static uint8_t lower_ascii[128], is_kept[128]; /* the same, for a loop without branches */

static uint32_t folded(int64_t c)
{
    if (c < 0)
        return 0;
    if (c < CASED)
        return lower_case[c];
    bool caseless = c < 0x10A0 || (c > 0x3000 && c < 0xA640) || (c >= 0xAC00 && c < 0xD800);
    return caseless ? (uint32_t)c : 0;
}

static uint64_t mixed(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static uint64_t hashed(uint64_t hash, const uint8_t *text, size_t length)
{
    uint64_t word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = mixed(hash, word);
    }
    word = length;
    memcpy(&word, text, length);
    return mixed(hash, word ^ (uint64_t)length << 56);
}

static uint64_t loosely(uint64_t hash, Piece text, bool json) /* case, white space and some characters aside */
{
    enum { ROOM = 256 };
    uint8_t kept[ROOM + 4];
    size_t number = 0;
    const uint8_t *at = text.start, *end = at + text.length;
    while (at < end) {
        while (at < end && *at < 0x80 && *at != '\\' && number < ROOM) {
            kept[number] = lower_ascii[*at];
            number += is_kept[*at++];
        }
        if (at < end && number < ROOM) {
            uint32_t unit = folded(next_character(&at, end, json));
            if (unit > 0xFF)
                kept[number++] = (uint8_t)(unit >> 8);
            if (unit)
                kept[number++] = (uint8_t)unit;
        }
        if (number >= ROOM) {
            hash = hashed(hash, kept, ROOM);
            memmove(kept, kept + ROOM, number -= ROOM);
        }
    }
    return hashed(hash, kept, number);
}

static int64_t prompt_key(Piece first, Piece last, bool several, bool json)
{
    uint64_t hash = loosely(0, first, json);
    if (several)
        hash = loosely(hash, last, json);
    return hash < 2 ? 2 : (int64_t)hash; /* 0: no record, 1: no prompt */
}

/* ---- the outlines that are known ---- */

typedef struct {
    uint64_t hash;
    uint8_t *text;
    size_t length;
    int first, last; /* the texts that its prompt begins and ends with */
    bool bare;
    int64_t count;
} Known;

typedef struct {
    PyObject_HEAD
    Room *room;
    Known *known;
    uint16_t *slots; /* places in `known`, from 1 */
    size_t number, bytes;
    int64_t content;
    bool busy;
} Outlines;

static uint16_t *slot_of(Outlines *self, const uint8_t *text, size_t length, uint64_t hash)
{
    size_t at = hash % SLOTS;
    while (self->slots[at]) {
        Known *known = &self->known[self->slots[at] - 1];
        if (known->hash == hash && known->length == length && memcmp(known->text, text, length) == 0)
            break;
        at = (at + 1) % SLOTS;
    }
    return &self->slots[at];
}

static bool count(Outlines *self, const Line *line, int64_t *key) /* a line whose outline is known */
{
    const uint8_t *text = self->room->outline;
    uint16_t place = *slot_of(self, text, line->length, hashed(line->length, text, line->length));
    if (!place)
        return false;
    Known *known = &self->known[place - 1];
    const Piece *texts = self->room->texts;
    if (known->first >= (int)line->texts || known->last >= (int)line->texts)
        return false;
    known->count++;
    self->content += known->bare ? line->bare : line->content;
    if (known->first < 0)
        *key = known->first == NO_PROMPT;
    else
        *key = prompt_key(texts[known->first], texts[known->last], known->first != known->last, true);
    return true;
}

/* ---- a block of lines ---- */

typedef struct { int64_t place, start, end; uint32_t lot; bool is_new; } Spot;

typedef struct { Spot *spots; size_t number, room; } Spots;

typedef struct {
    int64_t *keys, *lengths;
    size_t number, room;
    Spots others, sampled;
} Found;

static uint32_t crc_table[256];

static uint32_t crc32(uint32_t crc, const uint8_t *at, const uint8_t *end) /* as zlib's */
{
    crc = ~crc;
    while (at < end)
        crc = crc_table[(crc ^ *at++) & 0xFF] ^ crc >> 8;
    return ~crc;
}

static bool add_spot(Spots *spots, Spot spot)
{
    if (spots->number == spots->room) {
        size_t room = spots->room ? 2 * spots->room : 64;
        Spot *larger = realloc(spots->spots, room * sizeof *larger);
        if (!larger)
            return false;
        spots->spots = larger;
        spots->room = room;
    }
    spots->spots[spots->number++] = spot;
    return true;
}

static bool make_room(Found *found)
{
    if (found->number < found->room)
        return true;
    size_t room = found->room ? 2 * found->room : 256;
    int64_t *keys = realloc(found->keys, room * sizeof *keys);
    if (keys)
        found->keys = keys;
    int64_t *lengths = realloc(found->lengths, room * sizeof *lengths);
    if (lengths)
        found->lengths = lengths;
    found->room = keys && lengths ? room : found->room;
    return keys && lengths;
}

static bool take_line(Outlines *self, Found *found, const uint8_t *text, const uint8_t *at, const uint8_t *end, uint32_t mask)
{
    Line line;
    int64_t key = 0, length = end - at;
    Spot spot = {(int64_t)found->number, at - text, end - text, 0, false};
    if (!make_room(found))
        return false;
    bool sound = outline(&line, self->room, at, end);
    if (!sound || !count(self, &line, &key)) {
        spot.is_new = sound;
        if (!add_spot(&found->others, spot))
            return false;
    }
    found->keys[found->number] = key;
    found->lengths[found->number++] = length;
    if (length <= 1 || length > SAMPLED_AT_MOST)
        return true;
    const uint8_t *from = length > LATE ? end - LATE : at, *to = length > EARLY ? end - EARLY : at;
    spot.lot = crc32((uint32_t)length, from, to);
    return (spot.lot & mask) || add_spot(&found->sampled, spot);
}

static bool take_lines(Outlines *self, Found *found, const uint8_t *text, size_t length, uint32_t mask)
{
    const uint8_t *at = text, *end = text + length;
    while (at < end) {
        const uint8_t *line_feed = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = line_feed ? line_feed : end;
        if (!take_line(self, found, text, at, stop, mask))
            return false;
        at = stop + 1;
    }
    return true;
}

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
    const char *text;
    Py_ssize_t length;
    unsigned long mask;
    if (!PyArg_ParseTuple(args, "y#k:scan", &text, &length, &mask) || !begin(self))
        return NULL;
    Found found = {0};
    bool done;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    done = take_lines(self, &found, (const uint8_t *)text, (size_t)length, (uint32_t)mask);
    Py_END_ALLOW_THREADS
    self->busy = false;
    Py_ssize_t size = (Py_ssize_t)(found.number * sizeof *found.keys);
    PyObject *result = done ? Py_BuildValue("y#y#N N", found.keys ? (char *)found.keys : "", size,
                                            found.lengths ? (char *)found.lengths : "", size, others_of(&found),
                                            sampled_of(&found, text))
                            : PyErr_NoMemory();
    free(found.keys);
    free(found.lengths);
    free(found.others.spots);
    free(found.sampled.spots);
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
    if (!outline(&line, self->room, start, start + length) || !count(self, &line, &key))
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
    if (!outline(&line, self->room, start, start + length))
        Py_RETURN_NONE;
    PyObject *texts = PyList_New((Py_ssize_t)line.texts);
    for (size_t i = 0; texts && i < line.texts; i++) {
        Piece piece = self->room->texts[i];
        PyObject *item = PyBytes_FromStringAndSize((const char *)piece.start, (Py_ssize_t)piece.length);
        if (!item || PyList_SetItem(texts, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(texts);
    }
    return texts ? Py_BuildValue("y#LLN", (char *)self->room->outline, (Py_ssize_t)line.length, (long long)line.content,
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
    if (self->number == MOST_OUTLINES || self->bytes + (size_t)length > MOST_OUTLINE_BYTES)
        Py_RETURN_FALSE;
    uint64_t hash = hashed((uint64_t)length, (const uint8_t *)text, (size_t)length);
    uint16_t *slot = slot_of(self, (const uint8_t *)text, (size_t)length, hash);
    if (*slot)
        Py_RETURN_FALSE;
    uint8_t *own = malloc((size_t)length + 1);
    if (!own)
        return PyErr_NoMemory();
    memcpy(own, text, (size_t)length);
    self->known[self->number] = (Known){hash, own, (size_t)length, first, last, bare, 0};
    self->bytes += (size_t)length;
    *slot = (uint16_t)++self->number;
    Py_RETURN_TRUE;
}

static PyObject *outlines_counts(Outlines *self, PyObject *unused)
{
    (void)unused;
    PyObject *list = PyList_New((Py_ssize_t)self->number);
    for (size_t i = 0; list && i < self->number; i++) {
        PyObject *item = PyLong_FromLongLong(self->known[i].count);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *outlines_content(Outlines *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLongLong(self->content);
}

static PyObject *outlines_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    if (!PyArg_ParseTuple(args, ":Outlines") || (keywords && PyDict_Size(keywords)))
        return keywords && !PyErr_Occurred() ? PyErr_Format(PyExc_TypeError, "Outlines() takes no keywords") : NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Outlines *self = (Outlines *)allocate(type, 0);
    if (!self)
        return NULL;
    self->room = malloc(sizeof *self->room);
    self->known = malloc(MOST_OUTLINES * sizeof *self->known);
    self->slots = calloc(SLOTS, sizeof *self->slots);
    if (!self->room || !self->known || !self->slots) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void outlines_free(Outlines *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    for (size_t i = 0; i < self->number; i++)
        free(self->known[i].text);
    free(self->room);
    free(self->known);
    free(self->slots);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef METHODS[] = {
    {"scan", (PyCFunction)outlines_scan, METH_VARARGS,
     "scan(text, mask)\n--\n\nCount the lines of a block whose outlines are known.\n\n"
     "Return the keys of all prompts and the lengths of all lines (as 64-bit integers, native), the other lines as\n"
     "(place, start, end, whether it is sound), and those whose lot shares no bit with the mask as (lot, line)."},
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

static PyType_Spec SPEC = {"anytune.data.check._outline.Outlines", sizeof(Outlines), 0, Py_TPFLAGS_DEFAULT,
                           SLOTS_OF_TYPE};

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

/* Put the numbers that stand more than once among some at their beginning, each once, 0 left out; -1: no memory. */
static Py_ssize_t gather_repeated(int64_t *numbers, size_t length)
{
    size_t size = 16, found = 0;
    while (size < 2 * length)
        size *= 2;
    int64_t *table = calloc(size, sizeof *table);
    bool *told = calloc(size, sizeof *told);
    for (size_t i = 0; table && told && i < length; i++) {
        int64_t number = numbers[i];
        size_t at = mixed(0, (uint64_t)number) & (size - 1);
        while (table[at] && table[at] != number)
            at = (at + 1) & (size - 1);
        if (number && table[at] && !told[at]) {
            told[at] = true;
            numbers[found++] = number;
        }
        table[at] = number;
    }
    bool done = table && told;
    free(table);
    free(told);
    return done ? (Py_ssize_t)found : -1;
}

static PyObject *repeated(PyObject *module, PyObject *args)
{
    (void)module;
    const char *given;
    Py_ssize_t length, found = -1;
    if (!PyArg_ParseTuple(args, "y#:repeated", &given, &length))
        return NULL;
    int64_t *numbers = malloc((size_t)length + 1);
    if (!numbers)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    memcpy(numbers, given, (size_t)length);
    found = gather_repeated(numbers, (size_t)length / sizeof *numbers);
    Py_END_ALLOW_THREADS
    PyObject *result = found < 0 ? PyErr_NoMemory()
                                 : PyBytes_FromStringAndSize((char *)numbers, found * (Py_ssize_t)sizeof *numbers);
    free(numbers);
    return result;
}

static PyMethodDef FUNCTIONS_OF_MODULE[] = {
    {"repeated", repeated, METH_VARARGS,
     "repeated(numbers)\n--\n\nReturn those of some 64-bit integers that stand more than once, each once, without 0."},
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
        lower_case[c] = PyUnicode_GetLength(lower) == 1 && !is_space(c) && !rare ? (uint16_t)first : 0;
        Py_DECREF(lower);
    }
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++)
        lower_case[passed_over[i]] = 0;
    lower_case[0x3C2] = lower_case[0x3A3] = 0x3C3; /* which sigma it is hangs on what follows */
    for (int c = 0; c < 128; c++) {
        lower_ascii[c] = (uint8_t)lower_case[c];
        is_kept[c] = lower_case[c] != 0;
    }
    return true;
}

static void fill_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        crc_table[i] = crc;
    }
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
    PyObject *type = PyType_FromSpec(&SPEC), *module = type ? PyModule_Create(&MODULE) : NULL;
    fill_crc_table();
    if (!module || !fill_lower_case() || PyModule_AddObjectRef(module, "Outlines", type) < 0)
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
