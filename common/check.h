/* CHECK says what must hold however the program is driven from outside. It stays on in release
 * builds: a process that finds its own state impossible must not go on with other people's money,
 * and dying at any instruction is a case that the design covers. */
#ifndef PAYRING_CHECK_H
#define PAYRING_CHECK_H

/* Say so in the log and abort. In log.c: its last line has the form of all others. */
_Noreturn __attribute__((cold)) void check_failed(const char *file, int line,
                                                  const char *condition);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

#endif
