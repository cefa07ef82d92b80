/*
 * ctl_postconf - see the header. Before: the operator and scripts; after: main.cf and master.cf are read
 * again at the next reload.
 *
 * Forms, options, texts and exit codes are Postfix's (postconf(1)): without a mode or with -p parameters of
 * main.cf, -M rows of master.cf, -F their fields, -P their "-o" settings; -e, -X and -# edit; -b and -t
 * bounce templates; -a -A -l -m -T lists of what is built in. Warnings go to standard error and do not change
 * the exit status.
 */
#include "ctl/ctl_postconf.h"

#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/config_mend.h"
#include "config/pid_file.h"
#include "config/table.h"
#include "ctl/ctl_edit.h"
#include "ctl/ctl_postconf_private.h"

enum { STATUS_FAILED = 1, PATH_BYTES = 4096, ARENA_BYTES_MAX = 256 * 1024 * 1024 };

static const char OPTIONS[] = "+aAbc:C:deEfFhHlmMno:pPtT:vxX#";

struct options {
    bool given[128]; /* by letter */
    const char *tls_mode;
    struct postconf_settings overrides;
};

/* What excludes each other. */
static const char *const EXCLUSIVE[] = {"aAbtlmTpMFP", "eX#", "dn", "hH"};

/* The letters that go with a mode; 'p' is also the mode of no letter. */
static const struct {
    char mode;
    const char *letters;
} COMPATIBLE[] = {
    {'p', "CdefhHnopvxX#"},
    {'M', "efovxX#"},
    {'F', "efhHovx"},
    {'P', "efhHovxX"},
    {'a', "v"},
    {'A', "v"},
    {'b', "v"},
    {'t', "v"},
    {'l', "v"},
    {'m', "v"},
    {'T', "v"},
};

static int
print_usage(void)
{
    postconf_fatal("usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)]"
                   " [-c config_dir] [-c param_class] [-d (parameter defaults)] [-e (edit configuration)]"
                   " [-f (fold lines)] [-F (master.cf fields)] [-h (no names)] [-H (no values)]"
                   " [-l (lock types)] [-m (map types)] [-M (master.cf)] [-n (non-default parameters)]"
                   " [-o name=value (override parameter value)] [-p (main.cf, default)]"
                   " [-P (master.cf parameters)] [-t (bounce templates)]"
                   " [-T compile-version|run-version|public-key-algorithms] [-v (verbose)]"
                   " [-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]");
}

static unsigned
parse_classes(const char *text)
{
    static const struct {
        const char *word;
        unsigned class;
    } CLASSES[] = {
        {"builtin", CLASS_BUILTIN}, {"service", CLASS_SERVICE}, {"user", CLASS_USER}, {"all", CLASS_ALL}};
    struct bytes rest = bytes_str(text), word;
    unsigned classes = 0;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        unsigned found = 0;

        for (size_t i = 0; i < sizeof(CLASSES) / sizeof(CLASSES[0]); i++) {
            found |= bytes_equal(word, bytes_str(CLASSES[i].word)) ? CLASSES[i].class : 0;
        }
        if (found == 0) {
            postconf_fatal("unknown -C option value \"%.*s\" in \"%s\"", BYTES_FMT(word), text);
        }
        classes |= found;
    }
    return classes;
}

static void
add_override(struct arena *arena, struct options *options, const char *text)
{
    struct bytes word = bytes_str(text);
    ptrdiff_t equals = bytes_index(word, '=');

    if (equals < 0) {
        postconf_fatal("invalid parameter override: %s: missing '=' after attribute name", text);
    }
    postconf_settings_put(arena, &options->overrides, bytes_trim(bytes_sub(word, 0, (size_t)equals)),
                          bytes_trim(bytes_sub(word, (size_t)equals + 1, word.n)));
}

static bool
take_options(struct postconf *pc, struct options *options, int argc, char **argv)
{
    static const struct {
        char letter;
        unsigned show;
    } SHOWS[] = {{'d', SHOW_DEFAULTS}, {'n', SHOW_SET},    {'x', SHOW_EXPANDED},
                 {'h', HIDE_NAMES},    {'H', HIDE_VALUES}, {'f', FOLD_LINES}};
    int option;

    optind = 1;
    while ((option = getopt(argc, argv, OPTIONS)) != -1) {
        if (option == '?' || option <= 0 || option >= 128) {
            return false;
        }
        options->given[option] = true;
        if (option == 'C') {
            pc->classes |= parse_classes(optarg);
        } else if (option == 'o') {
            add_override(pc->arena, options, optarg);
        } else if (option == 'T') {
            options->tls_mode = optarg;
        }
    }
    for (size_t i = 0; i < sizeof(SHOWS) / sizeof(SHOWS[0]); i++) {
        pc->show |= options->given[(unsigned char)SHOWS[i].letter] ? SHOWS[i].show : 0;
    }
    pc->classes = pc->classes == 0 ? CLASS_ALL : pc->classes;
    return true;
}

static void
append_letters(const struct options *options, const char *letters, bool wanted, struct buf *out)
{
    for (const char *c = "aAbCdefFhHlmMnopPtTvxX#"; *c != '\0'; c++) {
        if (options->given[(unsigned char)*c] && (strchr(letters, *c) != NULL) == wanted) {
            (void)buf_printf(out, " -%c", *c);
        }
    }
}

/* The mode's letter; ends the run when the options do not go together. */
static char
check_options(const struct options *options)
{
    struct buf letters;
    char mode = 'p';

    buf_init(&letters, PATH_BYTES);
    if (options->given['b'] && options->given['t']) {
        postconf_fatal("specify one of -b and -t");
    }
    for (size_t i = 0; i < sizeof(EXCLUSIVE) / sizeof(EXCLUSIVE[0]); i++) {
        append_letters(options, EXCLUSIVE[i], true, &letters);
        if (letters.n > sizeof(" -x") - 1) {
            postconf_fatal("specify one of%s", buf_str(&letters));
        }
        mode = i == 0 && letters.n > 0 ? buf_str(&letters)[2] : mode;
        buf_clear(&letters);
    }
    for (size_t i = 0; i < sizeof(COMPATIBLE) / sizeof(COMPATIBLE[0]); i++) {
        char own[32];

        if (COMPATIBLE[i].mode != mode) {
            continue;
        }
        (void)snprintf(own, sizeof(own), "%c%s", mode, COMPATIBLE[i].letters);
        append_letters(options, own, false, &letters);
        if (letters.n > 0) {
            postconf_fatal("with option -%c, do not specify%s", mode, buf_str(&letters));
        }
    }
    buf_free(&letters);
    return mode;
}

static int
print_types(void)
{
    const char *name;

    for (size_t i = 0; (name = table_type_name(i)) != NULL; i++) {
        (void)printf("%s\n", name);
    }
    return 0;
}

static int
print_tls(const char *what)
{
    if (strcmp(what, "compile-version") == 0) {
        (void)printf("%s\n", OPENSSL_VERSION_TEXT);
    } else if (strcmp(what, "run-version") == 0) {
        (void)printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    } else if (strcmp(what, "public-key-algorithms") == 0) {
        (void)puts("dsa\necdsa\nrsa");
    } else {
        postconf_warn("unknown 'postconf -T' mode: %s", what);
        return STATUS_FAILED;
    }
    return 0;
}

static int
edit_main(const struct postconf *pc, int how, char **words, size_t count)
{
    enum ctl_edit_kind kind = how == 'X' ? CTL_EDIT_REMOVE : how == '#' ? CTL_EDIT_COMMENT : CTL_EDIT_SET;
    char path[PATH_BYTES];
    struct bytes rest, line;
    struct buf why;

    if (count == 0) {
        postconf_fatal("%s", how == 'e' ? "-e requires name=value argument" : "missing service argument");
    }
    buf_init(&why, CONFIG_LINE_MAX);
    (void)snprintf(path, sizeof(path), "%s/main.cf", pc->directory);
    int r = ctl_edit_main_cf(path, kind, words, count, &why);
    if (r != 0) {
        postconf_fatal("%s", why.n > 0 ? buf_str(&why) : gw_strerror(r));
    }
    rest = bytes_buf(&why);
    while (bytes_next_line(&rest, &line)) {
        postconf_warn("%.*s", BYTES_FMT(line));
    }
    buf_free(&why);
    return 0;
}

/* Defaults of this machine; what main.cf says decides some of them. */
static void
read_defaults(struct postconf *pc)
{
    const char **pairs = calloc(2 * pc->main.count + 1, sizeof(*pairs));

    if (pairs == NULL) {
        postconf_fatal("out of memory");
    }
    for (size_t i = 0; i < pc->main.count && (pc->show & SHOW_DEFAULTS) == 0; i++) {
        pairs[2 * i] = pc->main.list[i].name;
        pairs[2 * i + 1] = pc->main.list[i].value;
    }
    int r = config_read_defaults(pc->directory, pairs, &pc->defaults);
    if (r != 0) {
        postconf_fatal("%s", gw_strerror(r));
    }
    free(pairs);
}

static int
show(struct postconf *pc, char mode, const struct postconf_settings *overrides, char **words)
{
    if ((pc->show & SHOW_DEFAULTS) == 0) {
        postconf_read_main(pc);
    }
    for (size_t i = 0; i < overrides->count; i++) {
        struct bytes name = bytes_str(overrides->list[i].name);

        postconf_settings_put(pc->arena, config_is_read_only(name) ? &pc->read_only : &pc->main, name,
                              bytes_str(overrides->list[i].value));
    }
    postconf_read_master(pc, mode != 'p');
    read_defaults(pc);
    postconf_register(pc);
    if ((pc->show & SHOW_DEFAULTS) == 0) {
        postconf_register_user(pc);
    }
    if (mode == 'M') {
        postconf_show_rows(pc, words);
    } else if (mode == 'F') {
        postconf_show_fields(pc, words);
    } else if (mode == 'P') {
        postconf_show_options(pc, words);
    } else {
        postconf_show_params(pc, words);
    }
    if ((pc->show & SHOW_DEFAULTS) == 0 && mode == 'p') {
        postconf_flag_unused_main(pc);
    }
    if ((pc->show & SHOW_DEFAULTS) == 0) {
        postconf_flag_unused_master(pc);
    }
    return 0;
}

static int
run(struct postconf *pc, const struct options *options, char mode, char **words, size_t count)
{
    int how = options->given['X'] ? 'X' : options->given['#'] ? '#' : options->given['e'] ? 'e' : 0;

    switch (mode) {
    case 'a':
        (void)puts("cyrus\ndovecot");
        return 0;
    case 'A':
        (void)puts("cyrus");
        return 0;
    case 'l':
        (void)puts("flock\nfcntl\ndotlock");
        return 0;
    case 'm':
        return print_types();
    case 'T':
        return print_tls(options->tls_mode);
    case 'b':
    case 't':
        postconf_fatal("bounce templates cannot be changed in this version");
    default:
        break;
    }
    if (how != 0 && mode == 'p') {
        return edit_main(pc, how, words, count);
    }
    if (how != 0) {
        postconf_edit_master(pc, mode, how, words);
        return 0;
    }
    return show(pc, mode, &options->overrides, words);
}

int
ctl_postconf(int argc, char **argv)
{
    struct postconf pc = {.arena = arena_new(ARENA_BYTES_MAX)};
    struct options options = {0};

    log_command("postconf");
    if (pc.arena == NULL) {
        postconf_fatal("out of memory");
    }
    if (pid_file_directory(&argc, argv, &pc.directory) != 0 || !take_options(&pc, &options, argc, argv)) {
        return print_usage();
    }
    char **words = argv + optind;
    /* -e may be left out before a value. */
    if (words[0] != NULL && strchr(words[0], '=') != NULL &&
        !(options.given['a'] || options.given['A'] || options.given['b'] || options.given['t'] ||
          options.given['l'] || options.given['m'] || options.given['T'])) {
        options.given['e'] = true;
    }
    char mode = check_options(&options);
    int status = run(&pc, &options, mode, words, (size_t)(argc - optind));

    config_free(&pc.defaults);
    arena_free(&pc.arena);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}
