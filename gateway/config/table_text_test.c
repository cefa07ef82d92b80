/*
 * table_text_test - lines of tables as Postfix 3.7's postmap and texthash: take them apart.
 *
 * Shows of contract.tsv: TAB10 TAB13.
 */
#include <stdio.h>
#include <string.h>

#include "config/table_text.h"

int
main(void)
{
    static const struct {
        const char *line;
        enum table_text_fault fault;
        const char *key, *value;
    } CASES[] = {
        {"key value", TABLE_TEXT_GOOD, "key", "value"},
        {"key\t  two words ", TABLE_TEXT_GOOD, "key", "two words"},
        {"key\vvalue\f", TABLE_TEXT_GOOD, "key", "value"},
        {"key", TABLE_TEXT_NO_VALUE, "key", ""},
        {"key  \t", TABLE_TEXT_NO_VALUE, "key", ""},
        {"", TABLE_TEXT_NO_VALUE, "", ""},
        {"root: admin", TABLE_TEXT_ALIAS, "root:", "admin"},
        {"\"two words\"@example.test OK", TABLE_TEXT_GOOD, "\"two words\"@example.test", "OK"},
        {"\"a b c", TABLE_TEXT_UNBALANCED, "\"a b c", ""},
        {"a\"b c", TABLE_TEXT_UNBALANCED, "a\"b c", ""},
        {"\"a\\\" b\" c", TABLE_TEXT_GOOD, "\"a\\\" b\"", "c"},
        {"a\\ b c", TABLE_TEXT_GOOD, "a\\ b", "c"},
        {"a\\", TABLE_TEXT_NO_VALUE, "a\\", ""},
        {"a \"b", TABLE_TEXT_GOOD, "a", "\"b"}, /* quotes of the value are its own */
    };
    int failures = 0;

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct bytes key, value;
        enum table_text_fault fault = table_text_split(bytes_str(CASES[i].line), &key, &value);

        if (fault != CASES[i].fault || !bytes_equal(key, bytes_str(CASES[i].key)) ||
            !bytes_equal(value, bytes_str(CASES[i].value))) {
            (void)fprintf(stderr, "[%s]: %d [%.*s] [%.*s]\n", CASES[i].line, fault, BYTES_FMT(key),
                          BYTES_FMT(value));
            failures++;
        }
    }
    return failures != 0;
}
