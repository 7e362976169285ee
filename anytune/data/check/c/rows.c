/* Keys and lengths of many lines, as 64-bit integers that need not be aligned: what they have in common. */

#include "outline.h"

#include <stdlib.h>
#include <string.h>

typedef struct { int64_t *slots; size_t mask; } Table; /* a set of numbers but 0 */

static int64_t number_at(const uint8_t *numbers, size_t place)
{
    int64_t number;
    memcpy(&number, numbers + place * sizeof number, sizeof number);
    return number;
}

static bool table_begin(Table *table, size_t most)
{
    size_t size = 16;
    while (size < 2 * most)
        size *= 2;
    *table = (Table){calloc(size, sizeof *table->slots), size - 1};
    return table->slots;
}

static int64_t *slot_of(const Table *table, int64_t number)
{
    size_t at = mixed(0, (uint64_t)number) & table->mask;
    while (table->slots[at] && table->slots[at] != number)
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

static bool list_add(List *list, int64_t number)
{
    if (list->number == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        int64_t *larger = realloc(list->numbers, room * sizeof *larger);
        if (!larger)
            return false;
        list->numbers = larger;
        list->room = room;
    }
    list->numbers[list->number++] = number;
    return true;
}

void list_end(List *list)
{
    free(list->numbers);
}

/* Find the keys that stand more than once, each once, 0 left out. */
bool gather_repeated(List *found, const uint8_t *keys, size_t length)
{
    Table once, told = {0};
    bool done = table_begin(&once, length);
    for (size_t i = 0; done && i < length; i++) {
        int64_t key = number_at(keys, i), *slot = key ? slot_of(&once, key) : NULL;
        if (slot && *slot)
            done = list_add(found, key);
        else if (slot)
            *slot = key;
    }
    free(once.slots);
    done = done && table_begin(&told, found->number);
    size_t kept = 0;
    for (size_t i = 0; done && i < found->number; i++) {
        int64_t key = found->numbers[i], *slot = slot_of(&told, key);
        if (!*slot)
            found->numbers[kept++] = *slot = key;
    }
    found->number = kept;
    free(told.slots);
    return done;
}

/* Find the places of some keys, none of which is 0, among all. */
bool gather_places(List *found, const uint8_t *keys, size_t length, const uint8_t *wanted, size_t number)
{
    Table table;
    bool done = table_begin(&table, number);
    for (size_t i = 0; done && i < number; i++)
        *slot_of(&table, number_at(wanted, i)) = number_at(wanted, i);
    for (size_t i = 0; done && i < length; i++) {
        int64_t key = number_at(keys, i);
        if (key && *slot_of(&table, key))
            done = list_add(found, (int64_t)i);
    }
    free(table.slots);
    return done;
}

/* Find the keys of one of several groups, 0 left out. */
bool gather_group(List *found, const uint8_t *keys, size_t length, uint32_t group, uint32_t groups)
{
    bool done = true;
    for (size_t i = 0; done && i < length; i++) {
        int64_t key = number_at(keys, i);
        if (key && ((uint64_t)key >> 32) * groups >> 32 == group) /* for they are hashes */
            done = list_add(found, key);
    }
    return done;
}

/* Count the lengths of the lines that have a key: each short one and its number, then each long one and 1. */
bool gather_sizes(List *found, const uint8_t *keys, const uint8_t *lengths, size_t length)
{
    int64_t *counts = calloc(SHORT_LINES, sizeof *counts);
    bool done = counts;
    for (size_t i = 0; done && i < length; i++) {
        int64_t size = number_at(lengths, i);
        if (!number_at(keys, i))
            continue;
        if (size >= 0 && size < SHORT_LINES)
            counts[size]++;
        else
            done = list_add(found, size) && list_add(found, 1);
    }
    for (size_t size = 0; done && size < SHORT_LINES; size++)
        if (counts[size])
            done = list_add(found, (int64_t)size) && list_add(found, counts[size]);
    free(counts);
    return done;
}

int64_t total(const uint8_t *numbers, size_t length)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += (uint64_t)number_at(numbers, i);
    return (int64_t)sum;
}
