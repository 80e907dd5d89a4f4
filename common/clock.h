/* The two clocks. Wall-clock time is what people and processors compare and may jump; monotonic
 * time is for timers and ages, counts from boot and is the same in every process of the machine. */
#ifndef PAYRING_CLOCK_H
#define PAYRING_CLOCK_H

#include <stdint.h>

int64_t clock_wall_us(void); /* since the Unix epoch */
int64_t clock_wall_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_monotonic_ms(void);

#endif
