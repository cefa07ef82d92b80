/*
 * clamav_engine - the signatures, loaded and compiled, and one scan with them. Private to scanners/.
 */
#ifndef SCANNERS_CLAMAV_ENGINE_H
#define SCANNERS_CLAMAV_ENGINE_H

#include "base/arena.h"
#include "config/config.h"

struct clamav_engine;

/* Chooses where signatures are read from: clamav_database_directory, or, when that holds none, the fallback.
 * Nothing is loaded yet; when neither holds any, clamav_engine_load() says so. */
int clamav_engine_new(const struct config *config, struct clamav_engine **engine_r, struct buf *error_r);
void clamav_engine_free(struct clamav_engine **engine);
/* Loads and compiles them; once per engine. */
int clamav_engine_load(const struct config *config, struct clamav_engine *engine, struct buf *error_r);
/* Takes TMPDIR over again: a worker after its fork. */
int clamav_engine_use_temporary(struct clamav_engine *engine);
/* Whether other signatures would be loaded now than when this was asked last. */
bool clamav_engine_has_changed(const struct config *config, struct clamav_engine *engine);

/* 0: *found_r is a copy in the arena of the signature's name, empty when nothing was found. GW_ERR_TEMP:
 * libclamav failed, or complained about memory or temporary files, and *why_r (in the arena) tells;
 * GW_ERR_NOMEM. */
int clamav_engine_scan(const struct clamav_engine *engine, struct bytes content, struct arena *arena,
                       struct bytes *found_r, struct bytes *why_r);

#endif
