/* What the keys and containers of a record mean. */

#include "outline.h"

#include <string.h>

static const struct { const char *name; uint8_t length; Key key; } KEYS[] = {
    {"content", 7, CONTENT}, {"role", 4, ROLE}, {"messages", 8, MESSAGES_KEY}, {"type", 4, TYPE}, {"name", 4, NAME},
    {"weight", 6, WEIGHT}, {"tool_calls", 10, TOOL_CALLS}, {"tool_call_id", 12, TOOL_CALL_ID}, {"id", 2, ID},
    {"function", 8, FUNCTION_KEY}, {"arguments", 9, ARGUMENTS}, {"tools", 5, TOOLS_KEY}, {"functions", 9, FUNCTIONS},
    {"text", 4, TEXT}, {"url", 3, URL}, {"detail", 6, DETAIL}, {"refusal", 7, REFUSAL}, {"reasoning", 9, REASONING},
    {"reasoning_content", 17, REASONING_CONTENT}, {"function_call", 13, FUNCTION_CALL}, {"input", 5, INPUT_KEY},
    {"preferred_output", 16, PREFERRED_KEY}, {"non_preferred_output", 20, OTHER_OUTPUT_KEY}, {"prompt", 6, PROMPT},
    {"completion", 10, COMPLETION}, {"parallel_tool_calls", 19, PARALLEL},
};

Key key_named(const uint8_t *name, size_t length)
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

Kind within(Kind kind, Key key, bool list) /* what a list or object is, by where it stands */
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

bool is_content(Kind kind, Key key) /* whether a string becomes tokens of a chat */
{
    return (kind == MESSAGE && is_said(key)) || (kind == PART && (key == TEXT || key == REFUSAL)) ||
           (kind == FUNCTION && (key == NAME || key == ARGUMENTS));
}
