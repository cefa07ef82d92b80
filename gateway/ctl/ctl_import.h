/*
 * ctl_import - `estafeta import`: configuration text that a document broke, and settings of other programs.
 */
#ifndef CTL_IMPORT_H
#define CTL_IMPORT_H

/* import --repair [--write] FILE|DIR ...: joins lines of main.cf, master.cf and rule tables that a page's
 * width broke, shows a unified diff, and writes only with --write. import [-c DIR] [--write] amavis.conf: the
 * port by which an old AMaViS returns mail becomes a row of master.cf. 0; 1: something is left that only a
 * reader can mend; 64, 66, 73. */
int ctl_import(int argc, char **argv);

#endif
