/*
 * jail_doc_test - gateway/doc/privileges.md says what the code does: roles, chroot, rights, descriptors,
 * edges.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/jail.h"
#include "base/role.h"

static int failures;

enum { DOC_MAX = 65536, COLUMNS = 8, TEXT_MAX = 256 };

static const struct {
    unsigned bit;
    const char *word;
} RIGHTS[] = {
    {JAIL_NETWORK, "NETWORK"}, {JAIL_WRITE_FILES, "WRITE_FILES"}, {JAIL_FORK, "FORK"},
    {JAIL_CODE, "CODE"},       {JAIL_UNFILTERED, "UNFILTERED"},
};

/* The columns of the first table row whose first cells are `first` and, when not NULL, `second`. */
static bool
find_row(struct bytes doc, const char *first, const char *second, struct bytes *columns)
{
    struct bytes line;

    while (bytes_next_line(&doc, &line)) {
        size_t count = 0;
        struct bytes cell;

        while (count < COLUMNS && bytes_next_token(&line, "|", &cell)) {
            columns[count++] = bytes_trim(cell);
        }
        if (count >= 3 && bytes_equal(columns[0], bytes_str(first)) &&
            (second == NULL ? count >= 5 : bytes_equal(columns[1], bytes_str(second)))) {
            return true;
        }
    }
    return false;
}

static void
complain(const char *what, const char *name)
{
    (void)fprintf(stderr, "privileges.md: %s: %s\n", name, what);
    failures++;
}

static void
check_profile(struct bytes doc, const struct jail_profile *profile)
{
    const char *name = role_name(profile->role);
    struct bytes columns[COLUMNS], rest, word;
    char number[TEXT_MAX];
    unsigned rights = 0;

    if (!find_row(doc, name, NULL, columns)) {
        complain("no row", name);
        return;
    }
    rest = columns[3];
    while (bytes_next_token(&rest, " ", &word)) {
        bool known = bytes_equal(word, BYTES_LIT("none"));

        for (size_t i = 0; i < sizeof(RIGHTS) / sizeof(RIGHTS[0]); i++) {
            if (bytes_equal(word, bytes_str(RIGHTS[i].word))) {
                rights |= RIGHTS[i].bit;
                known = true;
            }
        }
        if (!known) {
            complain("unknown right", name);
        }
    }
    (void)snprintf(number, sizeof(number), "%u", profile->descriptors);
    if (rights != profile->rights) {
        complain("rights differ from JAIL_PROFILES", name);
    }
    if (bytes_equal(columns[2], BYTES_LIT("yes")) != profile->chroot) {
        complain("chroot differs from JAIL_PROFILES", name);
    }
    if (!bytes_equal(columns[4], bytes_str(number))) {
        complain("descriptors differ from JAIL_PROFILES", name);
    }
}

static size_t
count_edge_rows(struct bytes doc)
{
    ptrdiff_t start = bytes_find(doc, BYTES_LIT("| client | server |"));
    struct bytes rest = bytes_sub(doc, start < 0 ? doc.n : (size_t)start, doc.n), line;
    size_t count = 0;

    while (bytes_next_line(&rest, &line) && line.n > 0 && line.p[0] == '|') {
        count++;
    }
    return count >= 2 ? count - 2 : 0;
}

int
main(void)
{
    uint8_t *text = malloc(DOC_MAX);
    int fd = open("gateway/doc/privileges.md", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 || text == NULL ? -1 : read(fd, text, DOC_MAX);
    struct bytes columns[COLUMNS];
    size_t edges = 0;

    if (n <= 0) {
        (void)fprintf(stderr,
                      "gateway/doc/privileges.md cannot be read; run this from the top of the sources\n");
        return 1;
    }
    struct bytes doc = bytes_of(text, (size_t)n);
    for (const struct jail_profile *profile = JAIL_PROFILES; profile->role != ROLE_NONE; profile++) {
        check_profile(doc, profile);
    }
    for (const struct role_edge *edge = ROLE_EDGES; edge->client != ROLE_NONE; edge++, edges++) {
        if (!find_row(doc, role_name(edge->client), role_name(edge->server), columns)) {
            complain(role_name(edge->server), role_name(edge->client));
        }
    }
    if (count_edge_rows(doc) != edges) {
        complain("rows that are not in ROLE_EDGES", "edges");
    }
    (void)close(fd);
    free(text);
    return failures != 0;
}
