/*
 * master_tree - see the header. Before: config_load; after: master_process runs each role inside its
 * directory.
 *
 * As root the directory with a role's sockets belongs to root and its group may only enter it: a role that
 * was taken over can connect where its edges lead and cannot plant a socket or a link of its own where root
 * binds later.
 */
#include "master/master_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/ipc.h"
#include "config/role_start.h"

struct owner {
    uid_t uid;
    gid_t gid;
};

static int
explain(struct buf *why, const char *what, const char *path)
{
    int error = errno;

    (void)buf_printf(why, "%s %s: %s; check its owner and permissions\n", what, path, strerror(error));
    return GW_ERR_SYS;
}

/* Whom the files of a role belong to: us, unless we are root and the role has a user. */
static int
find_owner(const struct config *config, enum role role, struct owner *owner_r, struct buf *why)
{
    const char *user = NULL;

    *owner_r = (struct owner){.uid = geteuid(), .gid = getegid()};
    if (geteuid() != 0 || role == ROLE_CTL || role == ROLE_SUBMIT) {
        return 0;
    }
    if (role_start_user(config, role, &user) != 0) {
        (void)buf_printf(
            why,
            "%s/main.cf: started as root, but there is neither a user estafeta-%s nor mail_owner = %s; "
            "create one with: useradd --system --shell /usr/sbin/nologin estafeta-%s\n",
            config_directory(config), role_name(role), config_str(config, P_mail_owner), role_name(role));
        return GW_ERR_CONFIG;
    }
    if (user == NULL) {
        return 0;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        return explain(why, "look up user", user);
    }
    *owner_r = (struct owner){.uid = entry->pw_uid, .gid = entry->pw_gid};
    return 0;
}

/* mail_owner owns the state of the gateway: an account that others use, too, must not (postconf(5)). */
int
master_tree_check(const struct config *config, struct buf *why)
{
    static const char *const SHARED[] = {"nobody", "daemon"};
    const char *name = config_str(config, P_mail_owner), *fault = NULL;
    const struct passwd *entry = geteuid() == 0 ? getpwnam(name) : NULL;

    if (entry == NULL) {
        return 0; /* find_owner() tells when there is none */
    }
    uid_t uid = entry->pw_uid;
    gid_t gid = entry->pw_gid;
    for (size_t i = 0; i < sizeof(SHARED) / sizeof(SHARED[0]); i++) {
        fault = strcmp(name, SHARED[i]) == 0 ? "is an account that other programs use" : fault;
    }
    fault = uid == 0 ? "has privileged user ID" : gid == 0 ? "has privileged group ID" : fault;
    if (fault == NULL && (entry = getpwuid(uid)) != NULL && strcmp(entry->pw_name, name) != 0) {
        fault = "has the same user ID as another account";
    }
    if (fault != NULL) {
        (void)buf_printf(why, "%s/main.cf: mail_owner = %s %s; name an account of its own, such as postfix\n",
                         config_directory(config), name, fault);
        return GW_ERR_CONFIG;
    }
    return 0;
}

/* The group of the set-gid commands; ours have none, so it only has to be there. */
static void
check_setgid_group(const struct config *config, struct buf *why)
{
    const char *name = config_str(config, P_setgid_group);

    if (geteuid() == 0 && config_is_set(config, P_setgid_group) && getgrnam(name) == NULL) {
        (void)buf_printf(
            why,
            "%s/main.cf: warning: setgid_group = %s: unknown group name; create it with: groupadd "
            "--system %s\n",
            config_directory(config), name, name);
    }
}

/* Makes the directory and its parents (mode 0755). One that is there keeps its owner and mode. */
static int
make_path(const char *path, mode_t mode, const struct owner *owner, struct buf *why)
{
    char part[MASTER_PATH_MAX];
    int n = snprintf(part, sizeof(part), "%s", path);

    if (n <= 0 || n >= (int)sizeof(part) || path[0] != '/') {
        (void)buf_printf(why, "directory \"%s\": must be an absolute path\n", path);
        return GW_ERR_CONFIG;
    }
    for (char *p = part + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(part, 0755) == -1 && errno != EEXIST && errno != EROFS) {
                return explain(why, "create directory", part);
            }
            *p = '/';
        }
    }
    if (mkdir(part, mode) == -1) {
        struct stat st;

        return errno == EEXIST && stat(part, &st) == 0 && S_ISDIR(st.st_mode)
                   ? 0
                   : explain(why, "create directory", part);
    }
    if (chmod(part, mode) == -1 ||
        (owner != NULL && geteuid() == 0 && chown(part, owner->uid, owner->gid) == -1)) {
        return explain(why, "set owner of directory", part);
    }
    return 0;
}

/* A directory of ours: owner and mode are set each time, so that a changed mail_owner takes effect. */
static int
make_below(const char *base, const char *name, mode_t mode, const struct owner *owner, struct buf *why)
{
    char path[MASTER_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", base, name);
    int r = n > 0 && n < (int)sizeof(path) ? make_path(path, mode, NULL, why) : GW_ERR_LIMIT;

    if (r != 0) {
        return r;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return explain(why, "open directory", path);
    }
    r = (geteuid() == 0 && fchown(fd, owner->uid, owner->gid) == -1) || fchmod(fd, mode) == -1
            ? explain(why, "set owner of directory", path)
            : 0;
    (void)close(fd);
    return r;
}

int
master_tree_jail(const struct config *config, enum role role, char path_r[MASTER_PATH_MAX])
{
    int n = snprintf(path_r, MASTER_PATH_MAX, "%s/jail/%s", config_str(config, P_queue_directory),
                     role_name(role));

    return n > 0 && n < MASTER_PATH_MAX ? 0 : GW_ERR_LIMIT;
}

static int
make_jails(const struct config *config, struct buf *why)
{
    struct owner self = {.uid = geteuid(), .gid = getegid()}, owner, group;
    char jail[MASTER_PATH_MAX];
    int r = 0;

    for (int role = ROLE_SCREEN; r == 0 && role < ROLE_COUNT; role++) {
        if ((r = find_owner(config, (enum role)role, &owner, why)) == 0 &&
            (r = master_tree_jail(config, (enum role)role, jail)) == 0 &&
            (r = make_below(config_str(config, P_queue_directory), "jail", 0755, &self, why)) == 0 &&
            (r = make_path(jail, 0755, &self, why)) == 0) {
            group = (struct owner){.uid = self.uid, .gid = owner.gid};
            r = make_below(jail, "ipc",
                           role == ROLE_SUBMIT ? 0755
                           : geteuid() == 0    ? 0750
                                               : 0700,
                           &group, why);
        }
    }
    return r;
}

int
master_tree_make(const struct config *config, struct buf *why)
{
    const char *queue = config_str(config, P_queue_directory);
    struct owner self = {.uid = geteuid(), .gid = getegid()}, policy;
    int r;

    check_setgid_group(config, why);
    if ((r = master_tree_check(config, why)) != 0 ||
        (r = find_owner(config, ROLE_POLICY, &policy, why)) != 0 ||
        (r = make_path(queue, 0755, &self, why)) != 0 ||
        (r = make_below(queue, config_str(config, P_process_id_directory), 0755, &self, why)) != 0 ||
        (r = make_below(queue, "public", 0755, &self, why)) != 0 || (r = make_jails(config, why)) != 0) {
        return r;
    }
    return make_path(config_str(config, P_data_directory), 0700, &policy, why);
}

/* Binds in the directory itself: a socket's path may hold 108 bytes, a queue_directory more. */
static int
bind_edge(const struct config *config, struct master_edge *edge, struct buf *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = role_name(edge->server);
    char jail[MASTER_PATH_MAX], directory[MASTER_PATH_MAX + 8];
    struct owner owner;
    int r = find_owner(config, edge->client, &owner, why);

    if (r != 0 || (r = master_tree_jail(config, edge->client, jail)) != 0) {
        return r;
    }
    (void)snprintf(directory, sizeof(directory), "%s/ipc", jail);
    if (chdir(directory) == -1) {
        return explain(why, "enter directory", directory);
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    edge->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (edge->fd == -1 || (unlink(name) == -1 && errno != ENOENT)) {
        return explain(why, "make socket in", directory);
    }
    /* Any user may write mail; what the queue takes over this edge is what anybody may say. */
    mode_t before = umask(edge->client == ROLE_SUBMIT ? 0111 : 0177);
    int rc = bind(edge->fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(before);
    if (rc == -1 || listen(edge->fd, IPC_BACKLOG) == -1 ||
        (geteuid() == 0 && fchownat(AT_FDCWD, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) == -1)) {
        return explain(why, "bind socket in", directory);
    }
    return 0;
}

int
master_tree_bind(const struct config *config, struct master_edges *edges_r, struct buf *why)
{
    int r = 0, before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *edges_r = (struct master_edges){.count = 0};
    for (const struct role_edge *edge = ROLE_EDGES; r == 0 && edge->client != ROLE_NONE; edge++) {
        if (edges_r->count >= MASTER_EDGES_MAX) {
            r = GW_ERR_LIMIT;
            break;
        }
        struct master_edge *item = &edges_r->items[edges_r->count++];

        *item = (struct master_edge){.client = edge->client, .server = edge->server, .fd = -1};
        r = bind_edge(config, item, why);
    }
    if (before == -1 || fchdir(before) == -1) {
        r = r != 0 ? r : explain(why, "return to", "the working directory");
    }
    if (before != -1) {
        (void)close(before);
    }
    if (r != 0) {
        master_tree_close(edges_r);
    }
    return r;
}

void
master_tree_close(struct master_edges *edges)
{
    for (size_t i = 0; i < edges->count; i++) {
        if (edges->items[i].fd != -1) {
            (void)close(edges->items[i].fd);
        }
    }
    edges->count = 0;
}
