/* Telling the service manager (systemd and whoever speaks the same) how we are. */
#ifndef PAYRING_SERVICE_NOTIFY_H
#define PAYRING_SERVICE_NOTIFY_H

/* Send one message, "READY=1" say, to the socket that NOTIFY_SOCKET names. Nothing if there is
 * none, or if nobody listens: we are what we are all the same. */
void service_notify(const char *message);

/* We do our work. To be said about once a second by whoever can tell, and not by a thread that only
 * says so: a manager that was told to watch over us (WATCHDOG_USEC) restarts us when it stops.
 * Nothing if it was not, or if it watches over another process (WATCHDOG_PID). */
void service_notify_alive(void);

#endif
