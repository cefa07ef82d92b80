/*
 * ctl_route - see the header. Before: the operator; after: the router, as receive and the queue ask it.
 *
 * Nothing is sent and no role is asked: the configuration on disk answers, so a change can be tried before
 * reload. For each recipient that the address leads to: its class, the transport and the next hop that the
 * queue would choose, and whether the class's table knows the user.
 */
#include "ctl/ctl_route.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"
#include "config/pid_file.h"
#include "message/address.h"
#include "policy/route.h"

enum { WHY_MAX = 65536, ADDRESS_BUF = 4096 };

struct question {
    struct router *router;
    struct bytes sender;
    int status;
};

static const char *class_name(enum address_class class)
{
    static const char *const NAMES[] = {[CLASS_DEFAULT] = "default",
                                        [CLASS_LOCAL] = "local",
                                        [CLASS_VIRTUAL_ALIAS] = "virtual alias",
                                        [CLASS_VIRTUAL_MAILBOX] = "virtual mailbox",
                                        [CLASS_RELAY] = "relay"};

    return NAMES[class];
}

static int
print_recipient(void *context, struct bytes address)
{
    struct question *question = context;
    struct bytes local, domain;
    struct route route;
    int r = router_route(question->router, question->sender, address, &route);

    (void)printf("  recipient %.*s\n", BYTES_FMT(address));
    if (r != 0) {
        (void)puts("    a lookup table cannot answer: mail would wait (4.3.0)");
        question->status = EX_TEMPFAIL;
        return 0;
    }
    address_split(address, &local, &domain);
    r = router_recipient_exists(question->router, address, route.class);
    (void)printf("    class     %s%s\n", class_name(route.class),
                 r == 0   ? ", and its table does not know the user"
                 : r == 1 ? ""
                          : ", and its table cannot answer");
    (void)printf("    transport %s\n    next hop  %s\n", route.transport, route.nexthop);
    if (r != 1 || strcmp(route.transport, "error") == 0) {
        question->status = 1;
    }
    return 0;
}

static void
print_route(struct question *question, struct bytes given)
{
    struct buf canonical, text;

    buf_init(&canonical, ADDRESS_BUF);
    buf_init(&text, ADDRESS_BUF);
    (void)printf("%.*s\n", BYTES_FMT(given));
    if (router_canonical_form(question->router, given, &canonical) != 0) {
        (void)puts("  not an address: 501 5.1.3 at RCPT");
        question->status = 1;
    } else {
        (void)printf("  canonical %s\n", buf_str(&canonical));
        int r = router_is_returned(question->router, question->sender, bytes_buf(&canonical), &text);
        if (r == 1) {
            (void)printf("  refused   %s\n", buf_str(&text));
            question->status = 1;
        } else if (r < 0 || router_recipients(question->router, bytes_buf(&canonical), print_recipient,
                                              question) != 0) {
            (void)puts("  a lookup table cannot answer, or aliases go on without end: 451 4.3.0 at RCPT");
            question->status = EX_TEMPFAIL;
        }
    }
    buf_free(&canonical);
    buf_free(&text);
}

/* Takes -f SENDER off the arguments. */
static struct bytes
take_sender(int *argc, char **argv)
{
    struct bytes sender = {0};
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "-f") == 0 && i + 1 < *argc) {
            sender = bytes_str(strcmp(argv[i + 1], "<>") == 0 ? "" : argv[i + 1]);
            i++;
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return sender;
}

int
ctl_route(int argc, char **argv)
{
    struct question question = {0};
    struct config *config = NULL;
    const char *directory;
    struct buf why;
    int status = EX_CONFIG;

    buf_init(&why, WHY_MAX);
    question.sender = take_sender(&argc, argv);
    if (pid_file_directory(&argc, argv, &directory) != 0 || argc < 2) {
        (void)fputs("usage: estafeta route ADDRESS ... [-f SENDER] [-c DIR]\n", stderr);
        status = EX_USAGE;
    } else if (config_load(directory, &config, &why) != 0 ||
               (buf_clear(&why), router_new(config, &question.router, &why)) != 0) {
        (void)fprintf(stderr, "estafeta: fatal: %s\n", buf_str(&why));
    } else {
        for (int i = 1; i < argc; i++) {
            print_route(&question, bytes_str(argv[i]));
        }
        status = question.status;
    }
    router_free(&question.router);
    config_free(&config);
    buf_free(&why);
    return status;
}
