/*
 * ctl_doctor_private - what the files of ctl_doctor share: rules, findings, and the sources rules read.
 */
#ifndef CTL_DOCTOR_PRIVATE_H
#define CTL_DOCTOR_PRIVATE_H

#include "base/net.h"
#include "config/config.h"
#include "ctl/ctl_doctor.h"
#include "policy/restriction_explain.h"
#include "policy/route.h"

enum {
    DOCTOR_PATH_MAX = 4096,
    DOCTOR_TABLES_MAX = 512,
    DOCTOR_FINDINGS_MAX = 2000,
    DOCTOR_ENTRIES_MAX = 20000, /* of one table: what is longer is looked at so far */
};

enum doctor_severity { DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_ERROR };

struct doctor;

/* One thing that can be wrong. gateway/doc/doctor.md has a section for each id. */
struct doctor_rule {
    const char *id;
    enum doctor_severity severity; /* the highest it gives */
    const char *rows;              /* of contract.tsv; "" */
    const char *title;
    void (*run)(struct doctor *doctor);
    const char *remedy;
    bool of_texts; /* looks at what was said only: runs without a configuration, too */
};

/* A lookup table that a setting names. Text, path and setting belong to the doctor. */
struct doctor_table {
    const struct config *view;
    int param;           /* -1: a user variable, such as a restriction class */
    const char *setting; /* its name */
    size_t order;        /* among the tables of that setting */
    char *type;          /* "hash" */
    char *name;          /* as written */
    char *path;          /* of the text it is made of; NULL where there is none */
    char *where;         /* "DIR/main.cf:12" of the word */
};

struct doctor {
    const char *directory;
    const struct config *config; /* NULL: it did not load */
    struct bytes said;           /* by loading */
    struct bytes refused;        /* what does not open */
    bool probe, outside;
    const struct doctor_rule *rule; /* the one that runs */
    enum doctor_severity severity;  /* of its next findings */
    const char *remedy;
    struct doctor_finding *findings;
    size_t finding_count;
    struct doctor_table *tables;
    size_t table_count;
    struct router *router; /* of main.cf; NULL when its tables do not open */
    struct doctor_dns *dns;
};

/* The rules of each file, ending with a NULL id. */
extern const struct doctor_rule DOCTOR_NAMES[], DOCTOR_RELAY[], DOCTOR_LISTS[], DOCTOR_TABLES[],
    DOCTOR_PATTERNS[], DOCTOR_ROUTES[], DOCTOR_MASTER[], DOCTOR_LIMITS[], DOCTOR_NETWORK[], DOCTOR_OUTSIDE[];

/* Notes a finding of the rule that runs; where: "FILE:LINE" or a file. The same finding counts once. */
void doctor_tell(struct doctor *doctor, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- sources: ctl_doctor_source.c. The returned text is the caller's to free; never NULL but for no memory
 * --- */
/* Where the parameter is set in this view; with a word, the physical line of main.cf that holds it. */
char *doctor_where(const struct config *view, enum param param, const char *word);
char *doctor_where_service(const struct doctor *doctor, const struct config_service *service);
/* "PATH:LINE". */
char *doctor_where_line(const char *path, int line);
/* Fills doctor->tables from the settings that are there. */
int doctor_find_tables(struct doctor *doctor);
void doctor_free_tables(struct doctor *doctor);
bool doctor_is_pattern(const struct doctor_table *table); /* regexp or pcre */
/* Indexed or text: lines of key and value. */
bool doctor_is_keyed(const struct doctor_table *table);

/* false ends the walk. */
typedef bool doctor_entry_visitor(void *context, struct bytes key, struct bytes value, int line);
/* The lines of a keyed table's source. What cannot be read has none. */
void doctor_entries(const char *path, doctor_entry_visitor *visit, void *context);
/* Line of a key (without regard to case) in a source; 0: not there. value_r may be NULL. */
int doctor_find_key(const char *path, struct bytes key, struct buf *value_r);

struct doctor_pattern {
    struct bytes pattern; /* between the delimiters */
    struct bytes flags;
    struct bytes result;
    bool negated;
    bool is_condition; /* "if" */
    unsigned depth;    /* of conditions around it */
    int line;
};
typedef bool doctor_pattern_visitor(void *context, const struct doctor_pattern *pattern);
/* The rules of a regexp or pcre source. */
void doctor_patterns(const char *path, doctor_pattern_visitor *visit, void *context);

/* Calls visit for main.cf's view and for that of each smtpd row with -o, once each. */
void doctor_views(struct doctor *doctor, const char *program,
                  void (*visit)(struct doctor *doctor, const struct config *view,
                                const struct config_service *service));
/* "localhost", "127.0.0.1", "[::1]": only this machine can reach it. host: column 1 before the colon, or ""
 */
bool doctor_is_loopback(const struct config *config, const char *service_name);
/* "127.0.0.1:10025" gives the port 10025, "smtp" 25; 0: none. */
unsigned doctor_port(const char *service_name);
/* The n-th word of a list (separated by commas and blanks); false behind the last. */
bool doctor_word(const char *list, size_t n, char *word_r, size_t size);
bool doctor_has_word(const char *list, const char *word);
/* Edits from one text to the other (Levenshtein), at most `limit` + 1. */
size_t doctor_distance(const char *a, const char *b, size_t limit);
/* A domain the gateway takes mail for, by the class lists. false also when it cannot be told. */
bool doctor_is_ours(struct doctor *doctor, struct bytes domain);

/* --- DNS of --probe: ctl_doctor_dns.c --- */
struct doctor_dns;
struct doctor_dns *doctor_dns_new(const struct config *config);
void doctor_dns_free(struct doctor_dns **dns);
enum doctor_dns_status { DOCTOR_DNS_UNKNOWN, DOCTOR_DNS_FOUND, DOCTOR_DNS_NOTHING };
struct doctor_dns_answer {
    enum doctor_dns_status status;
    bool by_alias; /* a CNAME led to it */
    size_t count;
    char text[16][256]; /* addresses, or names without final dot */
};
/* type: 1 A, 12 PTR, 15 MX, 28 AAAA. */
void doctor_dns_ask(struct doctor_dns *dns, const char *name, int type, struct doctor_dns_answer *answer_r);

#endif
