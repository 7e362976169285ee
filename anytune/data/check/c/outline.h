/* Read JSON lines and reduce each to its outline: the same record with stand-ins for the texts in it.

   Two lines with equal outlines differ in their texts only, so what the rules say of one holds for the other. The
   outline is JSON itself: keys, roles, types and weights stand in it as they are written; a text is "x0", "x1", ... in
   the order of the line ("" if it is empty, " " if it is blank); ids and names of functions are "n0", "n1", ..., equal
   where they are equal. The outline of a blank line is empty, that of one that is cut off a brace. No rule is known here: a line is sound, or it is left to Python. Sound is: strict JSON in UTF-8,
   an object, without keys that stand twice, numbers that may not fit 64 bits, deep nesting, NUL, lone surrogates, and
   without characters that garbled text is full of. tests/data/test_outline.py holds this and the rules together.

   kind.c: what keys and containers of a record mean · text.c: strings and characters · record.c: one line ·
   prompt.c: keys of prompts · memory.c: outlines that are known, lines that are counted · rows.c: what many lines have in
   common · type.c: the Python type · module.c: the Python module.

   Memory: nothing is read beyond a line's end; every buffer has a fixed size, and what does not fit is left to Python. */

#ifndef ANYTUNE_OUTLINE_H
#define ANYTUNE_OUTLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    SHORT_LINES = 1 << 16,
    MOST_OTHERS = 64,
    EARLY = 40,              /* bytes before the end of a line that decide whether it is sampled */
    NO_PROMPT = -1,
    NO_RECORD = -2,
};

typedef enum {
    OTHER_KEY, CONTENT, ROLE, MESSAGES_KEY, WEIGHT, NAME, TOOL_CALL_ID, TOOL_CALLS, ID, TYPE, FUNCTION_KEY, ARGUMENTS,
    TOOLS_KEY, FUNCTIONS, TEXT, URL, DETAIL, REFUSAL, REASONING, REASONING_CONTENT, FUNCTION_CALL, INPUT_KEY,
    PREFERRED_KEY, OTHER_OUTPUT_KEY, PROMPT, COMPLETION, PARALLEL,
} Key;

typedef enum {
    ELSEWHERE, RECORD, INPUT, CONVERSATION, MESSAGE, PARTS, PART, CALLS, CALL, FUNCTION, TOOLS, FOREIGN,
} Kind;

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

typedef struct {
    uint64_t hash;
    uint8_t *text;
    size_t length;
    int first, last; /* the texts that its prompt begins and ends with */
    bool bare;
    int64_t count;
} Known;

typedef struct { /* the outlines that are known; for one thread at a time */
    Room *room;
    Known *known;
    uint16_t *slots; /* places in `known`, from 1 */
    size_t number, bytes;
    int64_t content;
} Memory;

typedef struct { int64_t place, start, end; uint32_t lot; bool is_new; } Spot;

typedef struct { Spot *spots; size_t number, room; } Spots;

typedef struct {
    int64_t *keys, *lengths;
    size_t number, room, read; /* lines, for how many there is room, bytes that were read */
    Spots others, sampled;
} Found;

typedef struct { int64_t *numbers; size_t number, room; } List;

/* kind.c */
Key key_named(const uint8_t *name, size_t length);
Kind within(Kind kind, Key key, bool list);
bool is_content(Kind kind, Key key);

/* text.c */
bool string(Line *line, String *found);
bool is_blank(Piece text);
bool is_space(int64_t character);
int64_t escape_at(const uint8_t **at, const uint8_t *end);
int64_t next_character(const uint8_t **at, const uint8_t *end, bool json);
size_t bytes_of(int64_t character);

/* record.c */
bool outline(Line *line, Room *room, const uint8_t *at, const uint8_t *end);

/* prompt.c */
void set_lower_case(int character, uint16_t lower);
uint64_t mixed(uint64_t hash, uint64_t word);
uint64_t hashed(uint64_t hash, const uint8_t *text, size_t length);
int64_t prompt_key(Piece first, Piece last, bool several, bool json);

/* memory.c */
bool memory_begin(Memory *memory);
void memory_end(Memory *memory);
int memory_learn(Memory *memory, const uint8_t *text, size_t length, int first, int last, bool bare);
bool count_line(Memory *memory, const Line *line, int64_t *key);
bool take_lines(Memory *memory, Found *found, const uint8_t *text, size_t length, uint32_t mask);
void found_end(Found *found);

/* rows.c */
void list_end(List *list);
bool gather_repeated(List *found, const uint8_t *keys, size_t length);
bool gather_places(List *found, const uint8_t *keys, size_t length, const uint8_t *wanted, size_t number);
bool gather_group(List *found, const uint8_t *keys, size_t length, uint32_t group, uint32_t groups);
bool gather_sizes(List *found, const uint8_t *keys, const uint8_t *lengths, size_t length);
int64_t total(const uint8_t *numbers, size_t length);

#endif
