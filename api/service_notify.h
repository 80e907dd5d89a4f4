/* Telling the service manager (systemd and whoever speaks the same) how we are. */
#ifndef PAYRING_API_SERVICE_NOTIFY_H
#define PAYRING_API_SERVICE_NOTIFY_H

/* Send one message, "READY=1" say, to the socket that NOTIFY_SOCKET names. Nothing if there is
 * none, or if nobody listens: we are what we are all the same. */
void service_notify(const char *message);

#endif
