/*
 * service - role entry of the policy process: sole owner of state.lmdb (greylist, temporary allowlist),
 * journal.lmdb (evidence) and quarantine.lmdb, sender of postmaster notices.
 */
#ifndef POLICY_SERVICE_H
#define POLICY_SERVICE_H

int policy_main(int argc, char **argv);

#endif
