/*
 * ctl_sendmail - the sendmail command: a message on standard input into the queue, with sendmail's options.
 *
 * Before: programs of this machine (cron, scripts). After: the queue role, by the same submission as
 * receive's; 0 only when it has committed. Lines get CRLF, the header is edited and virtual aliases are
 * expanded as for mail from the network. -bp is mailq, -q postqueue -f, -bi newaliases (not done here).
 */
#include "ctl/ctl_queue.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "ctl/ctl_ask.h"
#include "message/address.h"
#include "policy/reinjection.h"
#include "policy/route.h"

enum { ADDRESS_SIZE = ENVELOPE_ADDRESS_MAX + 1, DATE_SIZE = 64, SUBMIT_MS = 60000, PATH_SIZE = 4096 };

struct letter {
    const struct config *config;
    struct router *router;
    struct envelope *envelope;
    const char *sender, *full_name;
    bool from_header;   /* -t */
    bool is_extracting; /* recipients come from the header now */
    int64_t extracted;
    bool dots_are_text;    /* -i */
    struct buf input;      /* lines with CRLF */
    struct buf content;    /* what is submitted */
    struct buf address;    /* scratch */
    struct bytes original; /* while one address is expanded */
    uint8_t notify;
};

static int
add_expanded(void *context, struct bytes address)
{
    struct letter *letter = context;

    const struct recipient recipient = {
        .address = address, .original = letter->original, .notify = letter->notify};

    return router_add_recipient(letter->router, letter->envelope, &recipient);
}

static int
add_recipient(struct letter *letter, struct bytes address)
{
    char given[ADDRESS_SIZE];

    if (address.n == 0 || address.n >= sizeof(given)) {
        return GW_ERR_SYNTAX;
    }
    memcpy(given, address.p, address.n);
    letter->original = bytes_of(given, address.n);
    buf_clear(&letter->address);
    int r = router_canonical_form(letter->router, letter->original, &letter->address);
    return r == 0 ? router_recipients(letter->router, bytes_buf(&letter->address), add_expanded, letter) : r;
}

/* To, Cc, Bcc, an argument: every mailbox in it. */
static int
add_from_field(struct letter *letter, struct bytes value)
{
    struct buf address;
    int r;

    buf_init(&address, ENVELOPE_ADDRESS_MAX);
    while ((r = address_next_in_header(&value, &address)) == 1) {
        if (letter->is_extracting &&
            ++letter->extracted > config_int(letter->config, P_extract_recipient_limit)) {
            r = GW_ERR_FULL;
            break;
        }
        if ((r = add_recipient(letter, bytes_buf(&address))) != 0) {
            break;
        }
        buf_clear(&address);
    }
    buf_free(&address);
    return r;
}

/* Standard input with CRLF at the end of each line, until its end or a line with one dot. */
static int
read_input(struct letter *letter)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    bool is_first = true;
    int r = 0;

    while (r == 0 && (n = getline(&line, &size, stdin)) > 0) {
        struct bytes text = bytes_of(line, (size_t)n);

        while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r')) {
            text.n--;
        }
        if (!letter->dots_are_text && bytes_equal(text, BYTES_LIT("."))) {
            break;
        }
        if (!(is_first && bytes_has_prefix_nocase(text, BYTES_LIT("From ")))) { /* of a mailbox file */
            r = buf_append_bytes(&letter->input, text);
            r = r == 0 ? buf_append(&letter->input, "\r\n", 2) : r;
        }
        is_first = false;
    }
    free(line);
    return ferror(stdin) != 0 ? GW_ERR_SYS : r;
}

/* -t: the recipients of the header; of a message that is sent again those of its Resent- fields (RFC 5322
 * section 3.6.6). */
static int
extract_recipients(struct letter *letter, struct bytes header, unsigned seen)
{
    const unsigned again = HEADER_FIELD_BIT(FIELD_RESENT_TO) | HEADER_FIELD_BIT(FIELD_RESENT_CC) |
                           HEADER_FIELD_BIT(FIELD_RESENT_BCC);
    const unsigned first =
        HEADER_FIELD_BIT(FIELD_TO) | HEADER_FIELD_BIT(FIELD_CC) | HEADER_FIELD_BIT(FIELD_BCC);
    const unsigned wanted = (seen & again) != 0 ? again : first;
    struct bytes field, name, value;
    int r = 0;

    while (r == 0 && header_field_next(&header, &field, &name, &value)) {
        if ((wanted & HEADER_FIELD_BIT(header_field_known(name))) != 0) {
            r = add_from_field(letter, value);
        }
    }
    return r;
}

/* Header and body of what goes into the queue; with -t the recipients too. */
static int
write_content(struct letter *letter)
{
    const struct header_edit edit = {HEADER_LOCAL, letter->envelope, letter->full_name};
    struct bytes input = bytes_buf(&letter->input), id;
    struct trace_summary summary;
    struct buf edited;
    char date[DATE_SIZE];

    trace_summarize(input, &summary);
    clock_rfc5322(letter->envelope->arrival_us / 1000000, date, sizeof(date));
    int r = buf_printf(&letter->content, "Received: by %s (%s, from userid %u)\r\n\tid %s; %s\r\n",
                       config_str(letter->config, P_myhostname), config_str(letter->config, P_mail_name),
                       (unsigned)getuid(), letter->envelope->queue_id, date);
    if (r == 0 && letter->from_header) {
        r = extract_recipients(letter, bytes_sub(input, 0, summary.fields_end), summary.seen);
    }
    buf_init(&edited, letter->content.limit);
    r = r == 0 ? router_edit_header(letter->router, &edit, input, &summary, &edited, &id) : r;
    size_t from = r == 1 ? summary.fields_end : 0;
    r = r == 1 ? buf_append_bytes(&letter->content, bytes_buf(&edited)) : r;
    r = r == 0 ? buf_append_bytes(&letter->content, bytes_sub(input, from, input.n)) : r;
    if (r == 0) {
        letter->envelope->message_id = arena_dup(letter->envelope->arena, id.n > 0 ? id : summary.message_id);
    }
    buf_free(&edited);
    return r;
}

/* What the user's entry says; NULL: nothing. */
static const char *
name_of(const struct passwd *user)
{
    const char *name = getenv("NAME");

    if (name == NULL || name[0] == '\0') {
        if (user->pw_gecos == NULL) {
            return NULL;
        }
        user->pw_gecos[strcspn(user->pw_gecos, ",")] = '\0'; /* office and telephone stand behind it */
        name = user->pw_gecos;
    }
    return name[0] != '\0' ? name : NULL;
}

static int
set_sender(struct letter *letter)
{
    const struct passwd *user = getpwuid(getuid());
    const char *sender = letter->sender;

    if (sender == NULL) {
        sender = user != NULL ? user->pw_name : "nobody";
    }
    if (letter->full_name == NULL && user != NULL) {
        letter->full_name = name_of(user);
    }
    /* pipe(8) gives the null sender to filters as MAILER-DAEMON, and they give it back to us: still a notice.
     */
    if (sender[0] == '\0' || strcmp(sender, "<>") == 0 || strcasecmp(sender, "MAILER-DAEMON") == 0) {
        return envelope_set_sender(letter->envelope, (struct bytes){0});
    }
    buf_clear(&letter->address);
    int r = router_canonical_form(letter->router, bytes_str(sender), &letter->address);
    return r == 0 ? envelope_set_sender(letter->envelope, bytes_buf(&letter->address)) : r;
}

static void
begin_envelope(struct letter *letter)
{
    struct envelope *envelope = letter->envelope;

    envelope->arrival_us = clock_wall_us();
    queue_id_make(envelope->queue_id, envelope->arrival_us, (uint64_t)getpid() << 8);
    envelope->local_origin = true;
    envelope->body = BODY_8BITMIME;
}

static int
submit(struct letter *letter)
{
    char path[PATH_SIZE];
    struct reinjection *door = NULL;
    int r = GW_ERR_SYS, fd = -1;

    letter->envelope->size = letter->content.n;
    int n = snprintf(path, sizeof(path), "%s/jail/%s", config_str(letter->config, P_queue_directory),
                     role_name(ROLE_SUBMIT));
    if (n < 0 || (size_t)n >= sizeof(path) || chdir(path) == -1) {
        return GW_ERR_SYS;
    }
    fd = ipc_sealed_memfd("sendmail", bytes_buf(&letter->content));
    door = reinjection_new(ROLE_SUBMIT);
    if (fd != -1 && door != NULL) {
        r = reinjection_submit(door, letter->envelope, fd, clock_monotonic_ms() + SUBMIT_MS);
    }
    if (fd != -1) {
        (void)close(fd);
    }
    reinjection_free(&door);
    return r;
}

static int
send_letter(struct letter *letter, int argc, char **argv)
{
    struct buf why;
    int r;

    buf_init(&why, 4096);
    if ((r = router_new(letter->config, &letter->router, &why)) != 0) {
        (void)fprintf(stderr, "sendmail: fatal: %s\n", buf_str(&why));
        buf_free(&why);
        return EX_CONFIG;
    }
    buf_free(&why);
    begin_envelope(letter);
    if ((r = set_sender(letter)) != 0) {
        (void)fprintf(stderr, "sendmail: fatal: bad sender address\n");
        return EX_USAGE;
    }
    for (int i = optind; i < argc && r == 0; i++) {
        r = add_from_field(letter, bytes_str(argv[i]));
    }
    letter->is_extracting = true;
    if (r == 0 && (r = read_input(letter)) == 0) {
        r = write_content(letter);
    }
    if (r == GW_ERR_FULL) {
        (void)fprintf(stderr,
                      "sendmail: fatal: too many recipients in the header: extract_recipient_limit = %lld\n",
                      (long long)config_int(letter->config, P_extract_recipient_limit));
        return EX_DATAERR;
    }
    if (r == GW_ERR_LIMIT) {
        (void)fprintf(stderr, "sendmail: fatal: the message is too large\n");
        return EX_UNAVAILABLE;
    }
    if (r != 0) {
        (void)fprintf(stderr, "sendmail: fatal: %s\n", gw_strerror(r));
        return r == GW_ERR_SYNTAX ? EX_USAGE : EX_TEMPFAIL;
    }
    if (letter->envelope->recipient_count == 0) {
        (void)fputs("sendmail: fatal: Recipient addresses must be specified on the command line or via the "
                    "-t option\n",
                    stderr);
        return EX_USAGE;
    }
    r = router_finish_envelope(letter->router, letter->envelope);
    r = r == 0 ? submit(letter) : r;
    if (r != 0) {
        (void)fprintf(stderr, "sendmail: fatal: the mail was not accepted: %s\n",
                      r == GW_ERR_SYS || r == GW_ERR_EOF
                          ? "the gateway does not run, or this user may not talk to it"
                          : gw_strerror(r));
        return EX_TEMPFAIL;
    }
    return EX_OK;
}

/* NOTIFY as -N gives it. */
static uint8_t
parse_notify(const char *text)
{
    static const struct {
        const char *word;
        uint8_t bit;
    } WORDS[] = {{"never", NOTIFY_NEVER},
                 {"success", NOTIFY_SUCCESS},
                 {"failure", NOTIFY_FAILURE},
                 {"delay", NOTIFY_DELAY}};
    struct bytes rest = bytes_str(text), token;
    uint8_t notify = NOTIFY_DEFAULT;

    while (bytes_next_token(&rest, ", ", &token)) {
        for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
            notify |= bytes_equal_nocase(token, bytes_str(WORDS[i].word)) ? WORDS[i].bit : 0;
        }
    }
    return notify;
}

/* What else the command line asks for; NULL: a message is sent. */
static int (*parse_options(int argc, char **argv, struct letter *letter))(int, char **)
{
    int (*other)(int, char **) = NULL;
    int option;

    while ((option = getopt(argc, argv, "A:B:b:C:F:f:GIiL:mN:nO:o:p:q::R:r:tUV:vX:x")) != -1) {
        switch (option) {
        case 'b':
            other = optarg[0] == 'p' ? ctl_mailq : NULL;
            break;
        case 'q':
            other = ctl_postqueue;
            break;
        case 'F':
            letter->full_name = optarg;
            break;
        case 'f':
        case 'r':
            letter->sender = optarg;
            break;
        case 'i':
            letter->dots_are_text = true;
            break;
        case 'o':
            letter->dots_are_text |= optarg[0] == 'i' && (optarg[1] == '\0' || optarg[1] == 't');
            break;
        case 't':
            letter->from_header = true;
            break;
        case 'N':
            letter->notify = parse_notify(optarg);
            break;
        case 'R':
            letter->envelope->dsn_ret = optarg[0] == 'h' || optarg[0] == 'H' ? 'H' : 'F';
            break;
        case 'V':
            letter->envelope->dsn_envid = arena_dup(letter->envelope->arena, bytes_str(optarg));
            break;
        default:
            break; /* historical: accepted and without effect, as in Postfix */
        }
    }
    return other;
}

int
ctl_sendmail(int argc, char **argv)
{
    static char flush[] = "-f", name[] = "postqueue", *flush_words[] = {name, flush, NULL};
    struct config *config = ctl_load_config(&argc, argv);
    struct letter letter = {.config = config, .envelope = envelope_new()};
    int status = EX_OSERR;

    if (config == NULL) {
        envelope_free(&letter.envelope);
        return EX_CONFIG;
    }
    int64_t limit = config_int(config, P_message_size_limit);
    size_t room = limit > 0 ? (size_t)limit : (size_t)1 << 30;
    buf_init(&letter.input, room);
    buf_init(&letter.content, room + 65536);
    buf_init(&letter.address, ENVELOPE_ADDRESS_MAX);
    if (letter.envelope != NULL) {
        int (*other)(int, char **) = parse_options(argc, argv, &letter);

        if (other == NULL) {
            status = send_letter(&letter, argc, argv);
        } else {
            optind = 1;
            (void)setenv("MAIL_CONFIG", config_directory(config), 1);
            status = other == ctl_postqueue ? other(2, flush_words) : other(1, flush_words);
        }
    }
    router_free(&letter.router);
    envelope_free(&letter.envelope);
    buf_free(&letter.input);
    buf_free(&letter.content);
    buf_free(&letter.address);
    config_free(&config);
    return status;
}
