/*
 * table_hash - indexed files: what postmap writes for hash:, btree:, lmdb: and their kin is LMDB under the
 * name that Postfix would use ("x.db", "x.lmdb").
 *
 * Readers map the file once; a snapshot per lookup sees a file that postmap rewrites in place, whole or not
 * at all.
 */
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/table_type.h"

#define MAP_BYTES ((size_t)4 * 1024 * 1024 * 1024)

/* LMDB allows an environment only once per process: several parameters may name the same file. */
static struct {
    pthread_mutex_t lock;
    struct shared {
        struct shared *next;
        char *path;
        MDB_env *env;
        MDB_dbi dbi;
        unsigned users;
    } * first;
} opened = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
open_environment(const char *path, MDB_env **env_r, MDB_dbi *dbi_r)
{
    MDB_txn *txn = NULL;
    int error = mdb_env_create(env_r);

    if (error != 0) {
        return error;
    }
    /* postmap may let the file grow while it is mapped here; address space is all that costs. */
    error = error == 0 ? mdb_env_set_mapsize(*env_r, MAP_BYTES) : error;
    error = error != 0 ? error
                       : mdb_env_open(*env_r, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0644);
    error = error == 0 ? mdb_txn_begin(*env_r, NULL, MDB_RDONLY, &txn) : error;
    if (error == 0) {
        error = mdb_dbi_open(txn, NULL, 0, dbi_r);
        if (error == 0) {
            error = mdb_txn_commit(txn);
        } else {
            mdb_txn_abort(txn);
        }
    }
    if (error != 0) {
        mdb_env_close(*env_r);
        *env_r = NULL;
    }
    return error;
}

static int
take_shared(const char *path, struct shared **shared_r, int *error_r)
{
    struct shared *shared = opened.first;

    while (shared != NULL && strcmp(shared->path, path) != 0) {
        shared = shared->next;
    }
    if (shared == NULL) {
        shared = calloc(1, sizeof(*shared));
        if (shared == NULL || (shared->path = strdup(path)) == NULL) {
            free(shared);
            return GW_ERR_NOMEM;
        }
        *error_r = open_environment(path, &shared->env, &shared->dbi);
        if (*error_r != 0) {
            free(shared->path);
            free(shared);
            return GW_ERR_CONFIG;
        }
        shared->next = opened.first;
        opened.first = shared;
    }
    shared->users++;
    *shared_r = shared;
    return 0;
}

/* The type is an alias here: "x.db" is taken wherever it is, "x.lmdb" where only that is. */
static bool
prefers_lmdb(const char *base)
{
    char path[TABLE_PATH_MAX + 8];

    (void)snprintf(path, sizeof(path), "%s.db", base);
    return access(path, F_OK) != 0;
}

static int
open_hash(const struct config *config, const char *name, unsigned flags, void **state_r, struct buf *error_r)
{
    char path[TABLE_PATH_MAX + 8], base[TABLE_PATH_MAX];
    struct shared *shared = NULL;
    int r, error = 0;

    (void)flags;
    *state_r = NULL;
    if ((r = table_path(config, name, base)) != 0) {
        return r;
    }
    (void)snprintf(path, sizeof(path), "%s.lmdb", base);
    if (access(path, R_OK) != 0 || !prefers_lmdb(base)) {
        (void)snprintf(path, sizeof(path), "%s.db", base);
    }
    (void)pthread_mutex_lock(&opened.lock);
    r = take_shared(path, &shared, &error);
    (void)pthread_mutex_unlock(&opened.lock);
    if (r != 0) {
        (void)buf_printf(error_r, "open database %s: %s; run postmap on %s", path, mdb_strerror(error), base);
        return r;
    }
    *state_r = shared;
    return 0;
}

static void
close_hash(void *state)
{
    struct shared *shared = state;

    (void)pthread_mutex_lock(&opened.lock);
    if (--shared->users == 0) {
        struct shared **at = &opened.first;

        while (*at != shared) {
            at = &(*at)->next;
        }
        *at = shared->next;
        mdb_env_close(shared->env);
        free(shared->path);
        free(shared);
    }
    (void)pthread_mutex_unlock(&opened.lock);
}

static int
find_hash(void *state, struct bytes key, struct table_hit *hit)
{
    struct shared *shared = state;
    MDB_val k = {key.n, (void *)(uintptr_t)key.p}, v;
    MDB_txn *txn;

    if (key.n == 0 || key.n > (size_t)mdb_env_get_maxkeysize(shared->env)) {
        return GW_ERR_NOTFOUND;
    }
    if (mdb_txn_begin(shared->env, NULL, MDB_RDONLY, &txn) != 0) {
        return GW_ERR_TEMP;
    }
    int error = mdb_get(txn, shared->dbi, &k, &v);
    int r = error == MDB_NOTFOUND ? GW_ERR_NOTFOUND : error != 0 ? GW_ERR_TEMP : 0;
    if (r == 0) {
        const char *text = v.mv_data;
        size_t n = v.mv_size;

        if (n > 0 && text[n - 1] == '\0') {
            n--;
        }
        r = buf_append(&hit->value, text, n);
    }
    mdb_txn_abort(txn);
    return r;
}

const struct table_type TABLE_HASH = {"hash", false, open_hash, close_hash, find_hash};
