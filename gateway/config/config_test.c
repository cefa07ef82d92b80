/*
 * config_test - main.cf and master.cf from text to values: grammar, expansion, types, errors with their line,
 * views of services, warnings, and the packed form. Every case runs on files in a directory of its own.
 *
 * Shows of contract.tsv: D7 PAR2 PAR9 PAR23 PAR27 PAR96 PAR103 CFG4 CFG6 CFG1 CFG2 CFG3 CFG7 CFG11 MST1 MST5
 * MST9.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"
#include "config/expand.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static const char MASTER[] = "smtp inet n - n - - smtpd\n";

static char directory[] = "/tmp/config_test.XXXXXX";

static void
write_file(const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static struct config *
load(const char *main_cf, const char *master_cf, struct buf *why)
{
    struct config *config = NULL;

    write_file("main.cf", main_cf);
    write_file("master.cf", master_cf);
    buf_clear(why);
    int r = config_load(directory, &config, why);
    if ((r == 0) != (config != NULL)) {
        failures++;
    }
    return config;
}

static void
check_text(const char *main_cf, enum param param, const char *expected)
{
    struct buf why;

    buf_init(&why, 1 << 20);
    struct config *config = load(main_cf, MASTER, &why);
    if (config == NULL || strcmp(config_str(config, param), expected) != 0) {
        (void)fprintf(stderr, "[%s] %s: \"%s\" instead of \"%s\" %s\n", main_cf, PARAMS[param].name,
                      config == NULL ? "(none)" : config_str(config, param), expected, buf_str(&why));
        failures++;
    }
    config_free(&config);
    buf_free(&why);
}

static void
test_grammar(void)
{
    static const struct {
        const char *main_cf;
        enum param param;
        const char *expected;
    } CASES[] = {
        {"relayhost = [a]\n", P_relayhost, "[a]"},
        {"relayhost=[a]", P_relayhost, "[a]"},
        {"  relayhost = [a]\n b\nmynetworks = c\n", P_relayhost, ""}, /* it would continue a line */
        {"x = 1\n \v relayhost = [a]\nrelayhost = b\n", P_relayhost, "b"},
        {"# c\nrelayhost = [a]\r\n", P_relayhost, "[a]"},
        {"relayhost = a\nrelayhost = b\n", P_relayhost, "b"},
        {"mynetworks = a\n b\n\n# c\n\tc\n  # d\n d\n", P_mynetworks, "a b\tc d"},
        {"mynetworks = \n  a\n", P_mynetworks, "a"},
        {"relayhost =\nmynetworks = x\n", P_relayhost, ""},
        {"relayhost = a=b = c\n", P_relayhost, "a=b = c"},
        /* a comment ends with its line: what follows is not lost */
        {"relayhost = a # b\n", P_relayhost, "a"},
        {"relayhost = a#b\n", P_relayhost, "a#b"},
        {"relayhost = # b\n", P_relayhost, ""},
        {"mynetworks = a, # b\n c,\t# d\n  # e\n d # f", P_mynetworks, "a,  c,\t d"},
        {"smtpd_banner = a # b\n", P_smtpd_banner, "a # b"},
        {"header_checks = regexp:{ { /a # b/ REJECT } } # c\n", P_header_checks,
         "regexp:{ { /a # b/ REJECT } }"},
        {"mydomain = b.test\nmyorigin = $ mydomain\n", P_myorigin, "b.test"},
        {"relayhost = $$ x\n", P_relayhost, "$ x"},
        {"myhostname = mx.example.com\n", P_mydomain, "example.com"},
        {"myhostname = mx.example.com\n", P_myorigin, "mx.example.com"},
        {"myhostname = mx.example.com\nmydomain = example.org\n", P_mydomain, "example.org"},
        {"x = mx.example.com\nmyhostname = $x\n", P_mydomain, "example.com"},
        {"mydomain = x.test\nmyhostname = gw.$mydomain\n", P_myhostname, "gw.x.test"},
        {"mydomain = x.test\nmyorigin = $mydomain\n", P_myorigin, "x.test"},
        {"x = 1\nrelayhost = $x$x ${x} $(x)!\n", P_relayhost, "11 1 1!"},
        {"x = a\nrelayhost = $$x $nosuch.\n", P_relayhost, "$x ."},
        {"x = a\nrelayhost = ${x?yes}${x:no}${y?yes}${y:no}\n", P_relayhost, "yesno"},
        {"x = a\nrelayhost = ${x?{yes}:{no}}-${y?{yes}:{no}}\n", P_relayhost, "yes-no"},
        {"x = a\nrelayhost = ${ x ? {$x b} : {no} }\n", P_relayhost, "a b"},
        {"x = a\nrelayhost = [${x?{ a }}${{ a }=={a}}${{a}=={a}}]\n", P_relayhost, "[ a true]"},
        {"relayhost = ${{-1} > {-2} ? {text} : {number}}\n", P_relayhost, "number"},
        {"x = 10\nrelayhost = ${{$x} > {9} ? {more} : {less}}\n", P_relayhost, "more"},
        {"x = b\nrelayhost = ${{$x} == {b} ? {same} : {other}}\n", P_relayhost, "same"},
        {"x = b\nrelayhost = ${{$x} != {b} ? {other}}\n", P_relayhost, ""},
        {"x = ${y}\ny = ${z}\nz = deep\nrelayhost = $x\n", P_relayhost, "deep"},
        {"compatibility_level = 3.10\nrelayhost = ${{$compatibility_level} >=level {3.9} ? {new} : {old}}\n",
         P_relayhost, "new"},
        {"compatibility_level = 3.6\n", P_append_dot_mydomain, "no"},
        {"", P_append_dot_mydomain, "yes"},
        {"mydestination = a\n", P_relay_domains, "a"},
        {"compatibility_level = 3.6\nmydestination = a\n", P_relay_domains, ""},
        {"default_rbl_reply = $rbl_code x\n", P_default_rbl_reply, "$rbl_code x"},
        {"smtpd_client_restriction = permit\n", P_smtpd_client_restrictions, "permit"},
        /* PAR27: as older guides misspell them */
        {"smtpd_sender_restriction = permit\n", P_smtpd_sender_restrictions, "permit"},
        {"queue_message_active_limit = 77\n", P_qmgr_message_active_limit, "77"},
        {"deliver_lock_attemps = 7\n", P_deliver_lock_attempts, "7"},
        /* PAR96 PAR103 */
        {"program_directory=/usr/libexec/postfix\n", P_daemon_directory, "/usr/libexec/postfix"},
        {"daemon_directory = /x\nrelayhost = $program_directory\n", P_relayhost, "/x"},
        {"command_line_limit = 7s\n", P_command_time_limit, "7s"},
        {"command_time_limit = 7s\nrelayhost = $command_line_limit\n", P_relayhost, "7s"},
        {"header_checks = regexp:/a\nmime_header_checks = pcre:/b\n", P_nested_header_checks, "regexp:/a"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        check_text(CASES[i].main_cf, CASES[i].param, CASES[i].expected);
    }
}

static void
test_numbers(void)
{
    static const struct {
        const char *main_cf;
        enum param param;
        int64_t expected;
    } CASES[] = {
        {"", P_smtpd_timeout, 300},
        {"smtpd_timeout = 20\n", P_smtpd_timeout, 20},
        {"smtpd_timeout = 2m\n", P_smtpd_timeout, 120},
        {"smtpd_timeout = 1h\n", P_smtpd_timeout, 3600},
        {"", P_maximal_queue_lifetime, 432000},
        {"maximal_queue_lifetime = 2\n", P_maximal_queue_lifetime, 172800}, /* the default's unit: days */
        {"maximal_queue_lifetime = 1w\n", P_maximal_queue_lifetime, 604800},
        {"maximal_queue_lifetime = 0\n", P_maximal_queue_lifetime, 0},
        {"message_size_limit = 0\nmailbox_size_limit = 0\nvirtual_mailbox_limit = 0\n", P_message_size_limit,
         0},
        {"message_size_limit = 51200000\nvirtual_mailbox_limit = 0\n", P_message_size_limit, 51200000},
        {"smtpd_timeout =\n", P_smtpd_timeout, 300},
        {"", P_scan_time_limit, 60},
    };
    struct buf why;

    buf_init(&why, 1 << 20);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct config *config = load(CASES[i].main_cf, MASTER, &why);

        if (config == NULL || config_int(config, CASES[i].param) != CASES[i].expected) {
            (void)fprintf(stderr, "[%s]: %lld instead of %lld %s\n", CASES[i].main_cf,
                          config == NULL ? -1 : (long long)config_int(config, CASES[i].param),
                          (long long)CASES[i].expected, buf_str(&why));
            failures++;
        }
        config_free(&config);
    }
    struct config *config = load("smtpd_helo_required = YES\nsmtpd_sasl_auth_enable =\n", MASTER, &why);
    CHECK(config != NULL && config_bool(config, P_smtpd_helo_required));
    CHECK(config != NULL && !config_bool(config, P_smtpd_sasl_auth_enable));
    config_free(&config);
    buf_free(&why);
}

/* Whatever is wrong is told with its file and line, and nothing is loaded. */
static void
test_errors(void)
{
    static const struct {
        const char *main_cf, *master_cf, *told;
    } CASES[] = {
        {"relayhost = a\nfoo bar\n", MASTER, "main.cf:2: missing '=' after attribute name: \"foo bar\""},
        {"= a\n", MASTER, "main.cf:1: missing attribute name"},
        {"relayhost = ${x?{y}z}\n", MASTER, "main.cf:1: relayhost = ${x?{y}z}: \":\" expected at: "},
        {"relayhost = ${{1}}\n", MASTER, "expected at: \"...{1}>>>"},
        {"two words = a\n", MASTER, "main.cf:1: missing '='"},
        {"smtpd_timeout = soon\n", MASTER, "main.cf:1: smtpd_timeout = soon: not a time"},
        {"\nsmtpd_timeout = 3y\n", MASTER, "main.cf:2: smtpd_timeout = 3y: not a time"},
        {"smtpd_timeout = -1\n", MASTER, "not a time"},
        {"smtpd_timeout = 99999999999999999999\n", MASTER, "not a time"},
        {"message_size_limit = 10k\n", MASTER, "not a number"},
        {"smtpd_helo_required = maybe\n", MASTER, "main.cf:1: smtpd_helo_required = maybe: not a yes or no"},
        {"scan_threads = 1000\n", MASTER, "out of bounds; write a value from 1 to 64"},
        {"relayhost = ${x\n", MASTER, "main.cf:1: relayhost = ${x:"},
        {"relayhost = $\n", MASTER, "main.cf:1: relayhost"},
        {"relayhost = ${{a} ~ {b} ? {c}}\n", MASTER, "main.cf:1: relayhost"},
        {"relayhost = $myorigin\nmyorigin = $relayhost\n", MASTER, "refers to itself"},
        {"a = $b\nb = $a\nrelayhost = $a\n", MASTER, "main.cf:"},
        {"", "smtp inet n - n - smtpd\n", "master.cf:1: a row needs eight columns"},
        {"", "#\nsmtp inet n - n - - smtpd\nx inot n - n - - smtpd\n",
         "master.cf:3: bad service type \"inot\""},
        {"", "smtp inet n - maybe - - smtpd\n", "master.cf:1: bad yes/no column"},
        {"", "smtp inet n - n x - smtpd\n", "master.cf:1: bad numeric column"},
        {"", "smtp inet y - n - - smtpd\n", "master.cf:1: inet service with bad \"private\" column"},
        {"", "smtp inet n - n - - smtpd -o\n", "master.cf:1: nothing after"},
        {"", "smtp inet n - n - - smtpd -o x\n", "master.cf:1: missing '=' in -o"},
        {"", "smtp inet n - n - - smtpd\n  -o smtpd_timeout=x\n", "master.cf:1: smtpd_timeout = x"},
    };
    struct buf why;

    buf_init(&why, 1 << 20);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct config *config = load(CASES[i].main_cf, CASES[i].master_cf, &why);

        if (config != NULL || strstr(buf_str(&why), CASES[i].told) == NULL) {
            (void)fprintf(stderr, "[%s][%s]: told \"%s\" instead of \"%s\"\n", CASES[i].main_cf,
                          CASES[i].master_cf, buf_str(&why), CASES[i].told);
            failures++;
        }
        config_free(&config);
    }
    struct config *config;
    buf_clear(&why);
    CHECK(config_load("/nonexistent", &config, &why) != 0 &&
          strstr(buf_str(&why), "/nonexistent/main.cf") != NULL);
    buf_free(&why);
}

static void
test_warnings(void)
{
    static const struct {
        const char *main_cf, *told; /* NULL: nothing */
    } CASES[] = {
        {"compatibility_level = 3.6\n", NULL},
        {"compatibility_level = 3.6\nx = 1\nrelayhost = $x\n", NULL},
        {"compatibility_level = 3.6\nsmtp_destination_concurrency_limit = 2\n", NULL},
        {"compatibility_level = 3.6\nsmtpd_restriction_classes = strict\nstrict = reject\n", NULL},
        {"compatibility_level = 3.6\nsmtpd_tmieout = 1\n",
         "main.cf:2: warning: unused parameter: smtpd_tmieout=1; did you mean smtpd_timeout?"},
        {"compatibility_level = 3.6\nrelayhost = a\nrelayhost = b\n",
         "main.cf:3: warning: overriding earlier entry: relayhost=a"},
        {"compatibility_level = 3.6\nmyhostname =\n", "main.cf:2: warning: myhostname is blank"},
        {"compatibility_level = 3.6\ninet_interfaces = all # every one\n",
         "main.cf:2: warning: inet_interfaces: #comment"},
        {"compatibility_level = 3.6\nmyorigin = $ myhostname\n",
         "main.cf:2: warning: myorigin: a blank between $ and a name is left out"},
        {"compatibility_level = 3.6\nservice_name = x\n",
         "main.cf:2: warning: read-only parameter assignment: service_name=x"},
        {"  compatibility_level = 3.6\n", "main.cf:1: warning: logical line must not start with whitespace"},
        {"compatibility_level = 3.6\nprogram_directory = /x\n",
         "main.cf:2: warning: unused parameter: program_directory; taken as daemon_directory"},
        {"compatibility_level = 3.6\nfork_attemps = 5\n", "taken as fork_attempts"},
        {"compatibility_level = 3.6\nberkeley_db_read_buffer_size = 1\n",
         "main.cf: warning: accepted without effect in this version: berkeley_db_read_buffer_size\n"},
        {"compatibility_level = 3.6\nsmtpd_milters = inet:127.0.0.1:8891\n",
         "main.cf:2: warning: smtpd_milters protects nothing here"},
        {"compatibility_level = 3.6\nsmtpd_milters =\nsmtpd_tls_req_ccert = no\n", NULL},
        {"", "no compatibility_level"},
    };
    struct buf why;

    buf_init(&why, 1 << 20);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct config *config = load(CASES[i].main_cf, "smtp unix - - n - - smtp\n", &why);

        if (config == NULL ||
            (CASES[i].told == NULL ? why.n > 0 : strstr(buf_str(&why), CASES[i].told) == NULL)) {
            (void)fprintf(stderr, "[%s]: told \"%s\"\n", CASES[i].main_cf, buf_str(&why));
            failures++;
        }
        config_free(&config);
    }
    buf_free(&why);
}

/* CFG6: "nombre_servicio" stands for the name of each service that runs commands. */
static void
test_time_limit(void)
{
    struct buf why;

    buf_init(&why, 1 << 20);
    struct config *config =
        load("command_line_limit = 9s\nb_time_limit = 5\n"
             "nombre_servicio_time_limit = $command_line_limit\n",
             "a unix - n n - - pipe user=x argv=y\nb unix - n n - - /x/pipe user=x argv=y\n"
             "c unix - - n - - smtp\n",
             &why);
    CHECK(config != NULL && strstr(buf_str(&why), "nombre_servicio_time_limit; taken as") != NULL);
    if (config != NULL) {
        CHECK(strcmp(config_user(config, "a_time_limit"), "9s") == 0);
        CHECK(strcmp(config_user(config, "b_time_limit"), "5") == 0);
        CHECK(config_user(config, "c_time_limit") == NULL);
    }
    config_free(&config);
    buf_free(&why);
}

static const char SERVICES[] = "# comment\n"
                               "smtp      inet  n       -       n       -       1       postscreen\n"
                               "127.0.0.1:10026 inet n  n       y       60      0       smtpd -v\n"
                               "  -o content_filter= -o mynetworks=127.0.0.0/8\n"
                               "# inside\n"
                               "  -o { smtpd_banner = two words } -osmtpd_timeout=7\n"
                               "flush     fifo  -       -       -       1000?   -       flush\n"
                               "pipe      unix  -       n       n       -       10      pipe\n"
                               "  flags=Rq user=vmail argv=/bin/x -f ${sender} {a b}\n";

static void
check_services(const struct config *config)
{
    CHECK(config_service_count(config) == 4);
    if (config_service_count(config) != 4) {
        return;
    }
    const struct config_service *a = config_service(config, 0), *b = config_service(config, 1),
                                *c = config_service(config, 2), *d = config_service(config, 3);
    CHECK(strcmp(a->name, "smtp") == 0 && strcmp(a->type, "inet") == 0 &&
          strcmp(a->program, "postscreen") == 0);
    CHECK(!a->is_private && a->unprivileged && !a->chroot && a->wakeup_s == 0 && a->max_processes == 1 &&
          a->line == 2);
    CHECK(!b->is_private && !b->unprivileged && b->chroot && b->wakeup_s == 60 && b->max_processes == 0);
    CHECK(b->override_count == 4 && strcmp(b->arguments[0], "-v") == 0 && b->arguments[1] == NULL &&
          b->line == 3);
    CHECK(c->is_private && c->wakeup_s == 1000 && c->max_processes == -1);
    CHECK(strcmp(d->arguments[4], "${sender}") == 0 && strcmp(d->arguments[5], "a b") == 0);
    const struct config *view = config_view(config, 1);
    CHECK(config_view(config, 0) == config);
    CHECK(strcmp(config_str(view, P_content_filter), "") == 0 && config_is_set(view, P_content_filter));
    CHECK(strcmp(config_str(view, P_smtpd_banner), "two words") == 0);
    CHECK(config_int(view, P_smtpd_timeout) == 7 && config_int(config, P_smtpd_timeout) == 300);
    CHECK(strcmp(config_str(view, P_mynetworks), "127.0.0.0/8") == 0);
    CHECK(strcmp(config_str(view, P_relayhost), "[mx.x.test]") == 0);
    CHECK(strcmp(config_str(config, P_content_filter), "scan:") == 0);
    CHECK(config_view(view, 0) == config && config_service(view, 0) == a);
}

static void
test_services_and_pack(void)
{
    struct buf why, packed, again;
    struct config *copy;

    buf_init(&why, 1 << 20);
    buf_init(&packed, 1 << 24);
    buf_init(&again, 1 << 24);
    struct config *config =
        load("compatibility_level=3.6\ncontent_filter = scan:\ndom = x.test\nrelayhost = [mx.$dom]\n"
             "slow_destination_concurrency_limit = 2\n",
             SERVICES, &why);
    CHECK(config != NULL);
    if (config == NULL) {
        goto out;
    }
    check_services(config);
    CHECK(strcmp(config_user(config, "slow_destination_concurrency_limit"), "2") == 0);
    CHECK(config_user(config, "nosuch") == NULL);
    CHECK(config_pack(config, &packed) == 0);
    CHECK(config_unpack(bytes_buf(&packed), &copy) == 0);
    check_services(copy);
    CHECK(strcmp(config_directory(copy), directory) == 0);
    CHECK(strcmp(config_user(copy, "dom"), "x.test") == 0);
    for (int i = 0; i < PARAM_COUNT; i++) {
        CHECK(strcmp(config_str(config, (enum param)i), config_str(copy, (enum param)i)) == 0);
    }
    CHECK(config_pack(copy, &again) == 0 && bytes_equal(bytes_buf(&packed), bytes_buf(&again)));
    config_free(&copy);
    /* A form that is cut anywhere is refused. */
    for (size_t n = 0; n < packed.n; n++) {
        CHECK(config_unpack(bytes_sub(bytes_buf(&packed), 0, n), &copy) != 0 && copy == NULL);
    }
out:
    config_free(&config);
    buf_free(&why);
    buf_free(&packed);
    buf_free(&again);
}

/* The table itself: names are unique and every default converts. */
static void
test_table(void)
{
    struct buf why;

    for (int i = 0; i < PARAM_COUNT; i++) {
        CHECK(param_by_name(PARAMS[i].name) == i);
    }
    CHECK(param_by_name("nosuch") == -1 && param_by_name("") == -1);
    buf_init(&why, 1 << 20);
    struct config *config = load("compatibility_level = 3.6\n", MASTER, &why);
    CHECK(config != NULL && why.n == 0);
    CHECK(config != NULL && strchr(config_str(config, P_myhostname), '.') != NULL);
    CHECK(config != NULL && strstr(config_str(config, P_mynetworks), "127.0.0.") != NULL);
    config_free(&config);
    buf_free(&why);
}

int
main(void)
{
    char path[256];

    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    test_grammar();
    test_numbers();
    test_errors();
    test_warnings();
    test_time_limit();
    test_services_and_pack();
    test_table();
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/master.cf", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return failures != 0;
}
