#include "worker/concurrency_limit.h"

#include <stdbool.h>

enum {
    DIP_ANSWERS = 16,        /* their mean errs by 4 % when latencies spread by 30 % */
    DIP_MEASURE_US = 100000, /* or as many as come in this time: a dip is lost throughput */
    DIP_ANSWERS_LEAST = 4,
    DRAIN_GRACE_US = 50000,     /* on top of twice the mean latency */
    MEASURE_LATENCIES = 4,      /* two in flight give the least number of answers in two */
    ROUNDS_OVER_PATIENT = 3,    /* a stall of the machine lasts a round or two, a queue stays */
    ROUNDS_OVER_SUSPICIOUS = 8, /* halving the surplus so often removes any queue of ours */
    LATENCIES_BETWEEN_DIPS = 32,
    DOUBLING_PART = 5, /* doubling goes on until a fifth waits: a handful of samples is noisy */
    TOLERANCE_PART = CONCURRENCY_LIMIT_TOLERANCE_PART,
};

static int clamp_int(int64_t value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_limit(struct concurrency_limit *limit, int64_t value)
{
    limit->limit = clamp_int(value, limit->floor, limit->max);
}

static bool dips(const struct concurrency_limit *limit)
{
    return limit->phase == CONCURRENCY_DRAIN || limit->phase == CONCURRENCY_MEASURE;
}

static int dip_level(const struct concurrency_limit *limit)
{
    int part = limit->limit / CONCURRENCY_LIMIT_DIP_PART;
    return part > CONCURRENCY_LIMIT_DIP ? part : clamp_int(CONCURRENCY_LIMIT_DIP, 1, limit->limit);
}

static void round_start(struct concurrency_limit *limit, int64_t now_us)
{
    limit->round = (struct concurrency_round){.started_us = now_us};
}

/* A round begins to count with the first answer to what was sent in it, and counts all answers from
 * then on: counting only what was sent in it would favour the quick ones. A dip is the exception:
 * the last of the crowd waited in the queue that the dip is to look beneath. */
static bool belongs_to_round(const struct concurrency_limit *limit, int64_t sent_us)
{
    bool sent_in_it = sent_us >= limit->round.started_us;
    return sent_in_it || (limit->round.count > 0 && limit->phase != CONCURRENCY_MEASURE);
}

static void round_add(struct concurrency_round *round, int64_t latency_us, int in_flight)
{
    round->latency_sum_us += latency_us;
    round->in_flight_sum += in_flight;
    round->count++;
    if (in_flight > round->in_flight_peak)
        round->in_flight_peak = in_flight;
}

/* Little's law over the last whole round: payments of ours that waited instead of being served. */
static int64_t waiting(const struct concurrency_limit *limit)
{
    int64_t wait_us = limit->load.mean_us - limit->base_us;
    if (wait_us <= CONCURRENCY_LIMIT_TOLERANCE_US || wait_us <= limit->base_us / TOLERANCE_PART)
        return 0;
    return limit->load.in_flight * wait_us / limit->load.mean_us;
}

/* A dip has few samples: differences like noise are averaged over dips, greater ones are news. */
static void learn_base(struct concurrency_limit *limit, int64_t mean_us)
{
    int64_t off_us = mean_us - limit->base_us;
    bool noise =
        limit->base_us > 0 && (off_us < 0 ? -off_us : off_us) <= limit->base_us / TOLERANCE_PART;
    limit->base_us = noise ? limit->base_us + off_us / 4 : mean_us;
}

/* Multiples of the interval or of it doubled: lanes with about the same base agree on them without
 * talking, because CLOCK_MONOTONIC is one clock for all processes of a machine. */
static bool dip_is_due(const struct concurrency_limit *limit, int64_t now_us)
{
    int64_t interval_us = CONCURRENCY_LIMIT_DIP_INTERVAL_US;
    while (interval_us < LATENCIES_BETWEEN_DIPS * limit->base_us)
        interval_us *= 2;
    return now_us / interval_us != limit->dip_us / interval_us;
}

static bool may_dip_on_suspicion(const struct concurrency_limit *limit, int64_t now_us)
{
    return now_us - limit->dip_us >= LATENCIES_BETWEEN_DIPS / 2 * limit->base_us;
}

static void enter_dip(struct concurrency_limit *limit, int64_t now_us,
                      enum concurrency_phase resume)
{
    limit->phase = CONCURRENCY_DRAIN;
    limit->resume = resume;
    limit->dip_deadline_us = now_us + 2 * limit->load.mean_us + DRAIN_GRACE_US;
}

static void go_on(struct concurrency_limit *limit, int64_t now_us, enum concurrency_phase phase)
{
    limit->phase = phase;
    limit->rounds_over = 0;
    round_start(limit, now_us);
}

/* The measured base replaces the known one, upwards too. If none of ours waited, the latencies are
 * a delay: the limit was right and the room beyond it is unknown, so double on after a suspicion,
 * and after a regular dip that finds more than twice the base (few in flight raise no suspicion).
 * If a queue stood it goes, but at most half of the limit: it may have been one long hiccup. */
static void finish_dip(struct concurrency_limit *limit, int64_t now_us)
{
    int64_t base_before_us = limit->base_us;
    learn_base(limit, limit->round.latency_sum_us / limit->round.count);
    limit->dip_us = now_us;
    int64_t surplus = waiting(limit);
    if (surplus <= CONCURRENCY_LIMIT_WAITING_HIGH) {
        bool is_slower = base_before_us > 0 && limit->base_us > 2 * base_before_us;
        go_on(limit, now_us, is_slower ? CONCURRENCY_SLOW_START : limit->resume);
        return;
    }
    int64_t work = limit->load.in_flight - surplus + CONCURRENCY_LIMIT_WAITING_LOW;
    set_limit(limit, min64(limit->limit, work > limit->limit / 2 ? work : limit->limit / 2));
    go_on(limit, now_us, CONCURRENCY_STEADY);
}

static void grow(struct concurrency_limit *limit)
{
    int step = limit->phase == CONCURRENCY_SLOW_START ? limit->limit : 1 + limit->limit / 16;
    set_limit(limit, limit->limit + step);
}

/* Above the band. More waiting than served, or no help from shrinking: the base itself is suspect,
 * and only a dip can tell. Otherwise half of the surplus goes, which cannot undershoot the band. */
static void shrink(struct concurrency_limit *limit, int64_t surplus, int64_t now_us)
{
    limit->rounds_over++;
    bool gross = surplus * 2 > limit->load.in_flight;
    if ((gross || limit->rounds_over >= ROUNDS_OVER_SUSPICIOUS) &&
        may_dip_on_suspicion(limit, now_us)) {
        enter_dip(limit, now_us, CONCURRENCY_SLOW_START);
        return;
    }
    bool patient = limit->phase == CONCURRENCY_STEADY && limit->rounds_over < ROUNDS_OVER_PATIENT;
    limit->phase = CONCURRENCY_STEADY;
    if (!patient)
        set_limit(limit, limit->limit - (surplus - CONCURRENCY_LIMIT_WAITING_LOW) / 2);
}

/* A round's mean may lower the base, clearly; only little in flight may raise it. */
static void learn_round(struct concurrency_limit *limit, const struct concurrency_round *round,
                        int64_t now_us)
{
    int64_t mean_us = round->latency_sum_us / round->count;
    limit->load.mean_us = mean_us;
    limit->load.in_flight = (int)(round->in_flight_sum / round->count);
    bool as_good_as_a_dip = round->in_flight_peak <= CONCURRENCY_LIMIT_DIP;
    if (as_good_as_a_dip || limit->base_us == 0 ||
        mean_us < limit->base_us - limit->base_us / TOLERANCE_PART)
        learn_base(limit, mean_us);
    if (as_good_as_a_dip)
        limit->dip_us = now_us;
}

static void finish_round(struct concurrency_limit *limit, int64_t now_us)
{
    const struct concurrency_round round = limit->round;
    round_start(limit, now_us);
    learn_round(limit, &round, now_us);
    int64_t surplus = waiting(limit);
    if (limit->phase == CONCURRENCY_SLOW_START && surplus * DOUBLING_PART <= limit->load.in_flight)
        surplus = 0;
    if (surplus > CONCURRENCY_LIMIT_WAITING_HIGH) {
        shrink(limit, surplus, now_us);
        return;
    }
    limit->rounds_over = 0;
    if (surplus >= CONCURRENCY_LIMIT_WAITING_LOW)
        limit->phase = CONCURRENCY_STEADY;
    else if (round.in_flight_peak >= limit->limit)
        grow(limit);
}

/* A crowd that does not leave (payments asleep in a delay that has been lifted since, or lost) must
 * not hold the lane at a dip's level: the next dip may be luckier. */
static void give_up(struct concurrency_limit *limit, int64_t now_us)
{
    limit->dip_us = now_us;
    go_on(limit, now_us, CONCURRENCY_STEADY);
}

static void drain(struct concurrency_limit *limit, int64_t now_us, int in_flight)
{
    if (in_flight - 1 <= dip_level(limit)) {
        limit->phase = CONCURRENCY_MEASURE;
        limit->dip_deadline_us =
            now_us + MEASURE_LATENCIES * limit->load.mean_us + DIP_MEASURE_US + DRAIN_GRACE_US;
        round_start(limit, now_us);
    } else if (now_us >= limit->dip_deadline_us) {
        give_up(limit, now_us);
    }
}

static bool measured_enough(const struct concurrency_limit *limit, int64_t now_us)
{
    const struct concurrency_round *round = &limit->round;
    int least = dip_level(limit) > DIP_ANSWERS_LEAST ? dip_level(limit) : DIP_ANSWERS_LEAST;
    return round->count >= DIP_ANSWERS ||
           (round->count >= least && now_us - round->started_us >= DIP_MEASURE_US);
}

void concurrency_limit_init(struct concurrency_limit *limit, int floor, int max, int64_t now_us)
{
    *limit = (struct concurrency_limit){.cut_us = INT64_MIN};
    limit->max = clamp_int(max, 1, CONCURRENCY_LIMIT_MAX);
    limit->floor = clamp_int(floor, 1, limit->max);
    limit->limit = CONCURRENCY_LIMIT_MAX;
    concurrency_limit_restart(limit, now_us);
}

void concurrency_limit_answered(struct concurrency_limit *limit, int64_t sent_us, int64_t now_us,
                                int in_flight)
{
    if (limit->phase == CONCURRENCY_DRAIN) {
        drain(limit, now_us, in_flight);
        return;
    }
    if (!belongs_to_round(limit, sent_us))
        return;
    round_add(&limit->round, now_us > sent_us ? now_us - sent_us : 1, in_flight);
    if (limit->phase == CONCURRENCY_MEASURE) {
        if (measured_enough(limit, now_us))
            finish_dip(limit, now_us);
        return;
    }
    if (limit->round.count >= limit->round.in_flight_peak)
        finish_round(limit, now_us);
    if (!dips(limit) && dip_is_due(limit, now_us))
        enter_dip(limit, now_us, limit->phase);
}

void concurrency_limit_pass(struct concurrency_limit *limit, int64_t now_us)
{
    if (dips(limit) && now_us >= limit->dip_deadline_us)
        give_up(limit, now_us);
}

void concurrency_limit_shed(struct concurrency_limit *limit, int64_t sent_us, int64_t now_us)
{
    if (sent_us < limit->cut_us)
        return;
    limit->cut_us = now_us;
    set_limit(limit, limit->limit / 2);
    go_on(limit, now_us, CONCURRENCY_STEADY);
}

void concurrency_limit_restart(struct concurrency_limit *limit, int64_t now_us)
{
    set_limit(limit, min64(limit->limit, CONCURRENCY_LIMIT_START));
    limit->base_us = 0;
    limit->load = (struct concurrency_load){0};
    limit->dip_us = now_us;
    go_on(limit, now_us, CONCURRENCY_SLOW_START);
}

int concurrency_limit_now(const struct concurrency_limit *limit)
{
    return dips(limit) ? dip_level(limit) : limit->limit;
}
