/*
 * deliver_dotforward - the lists that users write: .forward files, and the :include: files of aliases.
 * Before: deliver_expand.c; after: the same, with the lines.
 *
 * .forward gives its user's rights, :include: those of the alias that names it, or of the file's owner where
 * that alias has root's. A .forward that others may write is passed over, as if it were not there, and told
 * in the log; such an :include: returns the mail, because there is no mailbox to fall back to.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "deliver/deliver_local.h"
#include "deliver/deliver_userfile.h"

enum { PATH_ROOM = 4096 };

/* 0: read. GW_ERR_NOTFOUND: none that counts. GW_ERR_TEMP: it was said. */
static int
read_forward(struct deliver_run *run, const struct deliver_user *user, const char *path, struct bytes *text_r)
{
    const char *why;

    switch (deliver_userfile_read(run->arena, &user->owner, path, true, text_r, &why)) {
    case DELIVER_USERFILE_READ:
        return 0;
    case DELIVER_USERFILE_UNSAFE:
        log_warning("local", "%s", why);
        return GW_ERR_NOTFOUND;
    case DELIVER_USERFILE_NONE:
        return GW_ERR_NOTFOUND;
    default:
        log_warning("local", "%s", why);
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "cannot read the forward file of %s", user->name);
        return GW_ERR_TEMP;
    }
}

/* The first file of forward_path that is there. */
static int
find_forward(struct deliver_run *run, const struct deliver_step *step, const struct deliver_user *user,
             struct bytes *text_r)
{
    const struct config *view = run->transport->view;
    struct bytes rest = bytes_str(config_str(view, P_forward_path)), word;
    int r = GW_ERR_NOTFOUND;
    struct buf path;

    buf_init(&path, PATH_ROOM);
    while (r == GW_ERR_NOTFOUND && bytes_next_token(&rest, ", \t\r\n", &word)) {
        buf_clear(&path);
        if (deliver_target_expand(run, step, user, word, config_str(view, P_forward_expansion_filter),
                                  &path) == 0 &&
            path.n > 0 && path.p[0] == '/') {
            r = read_forward(run, user, buf_str(&path), text_r);
        }
    }
    buf_free(&path);
    return r;
}

bool
deliver_dotforward_run(struct deliver_run *run, const struct deliver_step *step,
                       const struct deliver_user *user)
{
    struct deliver_step next = *step;
    struct bytes text;

    /* A user's own name in the user's .forward means the mailbox. */
    if (bytes_equal(step->list_owner, step->user)) {
        return false;
    }
    int r = find_forward(run, step, user, &text);
    if (r != 0) {
        return r != GW_ERR_NOTFOUND;
    }
    next.level++;
    next.origin = DELIVER_FROM_FORWARD;
    next.user_rights = user;
    next.list_owner = step->user;
    return deliver_expand_lines(run, &next, text) > 0; /* an empty file does not forward */
}

/* Who reads it, and whose rights its commands get. */
static bool
include_rights(struct deliver_run *run, struct deliver_step *next, const char *path)
{
    struct deliver_user *user;
    struct stat st;

    if (next->user_rights != NULL && next->user_rights->owner.uid != 0) {
        return true;
    }
    next->user_rights = NULL;
    if (geteuid() != 0 || stat(path, &st) == -1 || st.st_uid == 0) {
        return true; /* what is wrong with the file, reading it tells */
    }
    user = arena_alloc(run->arena, sizeof(*user));
    if (user == NULL || deliver_owner_account(st.st_uid, user) != 0) {
        log_warning("local", "cannot find owner of include file %s", path);
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "%s: cannot find :include: file owner", path);
        return false;
    }
    next->user_rights = user;
    return true;
}

void
deliver_include_run(struct deliver_run *run, const struct deliver_step *step, struct bytes path)
{
    struct deliver_owner self = {.uid = geteuid(), .gid = getegid()};
    struct deliver_step next = *step;
    const char *name = arena_strdup(run->arena, path), *why = "";
    struct bytes text;

    if (name == NULL || name[0] != '/' || path.n >= PATH_MAX || bytes_index(path, '\0') >= 0) {
        log_warning("local", ":include:%s uses a relative path", name != NULL ? name : "");
        deliver_run_say(run, DELIVERY_BOUNCED, "5.3.5", "mail system configuration error");
        return;
    }
    next.level++;
    next.origin = DELIVER_FROM_INCLUDE;
    if (next.level > DELIVER_LEVEL_MAX) {
        deliver_run_say(run, DELIVERY_BOUNCED, "5.4.6", ":include: files nested too deep at %s", name);
        return;
    }
    if (!include_rights(run, &next, name)) {
        return;
    }
    const struct deliver_owner *reader = next.user_rights != NULL ? &next.user_rights->owner : &self;
    switch (deliver_userfile_read(run->arena, reader, name, false, &text, &why)) {
    case DELIVER_USERFILE_READ:
        (void)deliver_expand_lines(run, &next, text);
        break;
    case DELIVER_USERFILE_LATER:
        log_warning("local", ":include: %s", why);
        deliver_run_say(run, DELIVERY_DEFERRED, "4.3.0", "cannot read an :include: file");
        break;
    default:
        log_warning("local", ":include: %s", why);
        deliver_run_say(run, DELIVERY_BOUNCED, "5.3.5", "mail system configuration error");
    }
}
