/* payringctl: keeps the region, shows what is in it, and takes a person's decisions to those who
 * carry them out. */
#include <signal.h>

#include "worker/ctl.h"

/* clang-format off: a table */
static const struct ctl_verb verbs[] = {
    {"create", "", "make the region; fails if there is one of that name", 0, 0, ctl_create},
    {"keep", "",
     "create it if it is missing, then stay until told to stop: while somebody stays, a shared "
     "tmpfs volume keeps what is in it",
     0, 0, ctl_keep},
    {"show", "", "who is there and how it stands", 0, 0, ctl_show},
    {"check", "", "read everything and say what contradicts what", 0, 0, ctl_check},
    {"payments", "", "the payments in tables and rings, oldest first",
     1 << CTL_FORMAT_TEXT | 1 << CTL_FORMAT_TSV | 1 << CTL_FORMAT_JSON, 0, ctl_payments},
    {"resolve", "ID settled|requeue|reject",
     "decide about a pinned payment, having asked at its "
     "processor",
     0, 60000, ctl_resolve},
    {"reconcile", "", "ask both processors for the payments here, print differences",
     1 << CTL_FORMAT_TEXT | 1 << CTL_FORMAT_JSON, 0, ctl_reconcile},
    {"export", "", "the settled payments", 1 << CTL_FORMAT_CSV | 1 << CTL_FORMAT_JSONL, 0,
     ctl_export},
    {"drain", "", "stop intake and wait until everything accepted has ended", 0, 600000, ctl_drain},
    {"health", "region|lanes|unix:PATH|http://...", "is it well? 0 yes, 1 no, with the reason", 0,
     0, ctl_health},
    {"list", "",
     "every record: id, cents, state, processor, requestedAt (us), acceptedAt (ms), "
     "flags, attempts; tabs between",
     0, 0, ctl_list},
    {"rows", "", "every ledger row: lane, row, processor, cents, requestedAt (us)", 0, 0, ctl_rows},
    {"journal", "", "read the journal in PAYRING_STATE_DIR and say what it amounts to", 0, 0,
     ctl_journal},
    {"remove", "",
     "make the region go away; refuses while a process uses it or while it holds "
     "payments that have not ended",
     0, 0, ctl_remove},
    {NULL, NULL, NULL, 0, 0, NULL},
};
/* clang-format on */

int main(int argc, char **argv)
{
    static struct config config;
    static struct ctl ctl;
    struct explain why = {{0}};
    const struct ctl_verb *verb;

    /* A reader that went away and a file too large are errors of writing, told like any other. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    enum ctl_exit result = ctl_options_read(&ctl, &config, verbs, argc, argv, &verb, &why);
    if (result != CTL_DONE)
        return (int)ctl_complain(result, "%s", why.text);
    return (int)(verb ? verb->run(&ctl) : ctl_finish(stdout, CTL_DONE));
}
