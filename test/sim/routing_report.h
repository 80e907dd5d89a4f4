/* What the routing policies earn, on the simulated gateway: the public test's load and stages, and
 * outages that it does not have. */
#ifndef PAYRING_TEST_SIM_ROUTING_REPORT_H
#define PAYRING_TEST_SIM_ROUTING_REPORT_H

/* Print the table. 0: every run kept its promises so far. */
int sim_routing_report(void);

#endif
