/* The operator page: what one side publishes, what the other makes of it, whoever dies between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shm/shm_operator.h"
#include "test/unit/shm_fixture.h"

#define LANE 1u

static struct shm_operator_request some_request(uint64_t lo)
{
    return (struct shm_operator_request){.id = {.hi = 7, .lo = lo},
                                         .decision = SHM_DECISION_REQUEUE,
                                         .by = "ann",
                                         .reason = "the processor has purged its queue"};
}

static void what_is_published_can_be_read(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_operator_request request = some_request(1), read;
    assert_int_equal(shm_operator_number(&f->region), 0);
    assert_false(shm_operator_read(&f->region, &read));
    for (uint64_t n = 1; n <= 3; n++) {
        request.id.lo = n;
        assert_int_equal(shm_operator_publish(&f->region, &request), 2 * n);
        assert_int_equal(shm_operator_number(&f->region), 2 * n);
        assert_true(shm_operator_read(&f->region, &read));
        assert_int_equal(read.number, 2 * n);
        assert_true(uuid_equal(&read.id, &request.id));
        assert_int_equal(read.decision, request.decision);
        assert_string_equal(read.by, request.by);
        assert_string_equal(read.reason, request.reason);
    }
}

static void texts_end_whatever_stands_there(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_operator_request request = some_request(1), read;
    memset(request.by, 'x', sizeof request.by);
    memset(request.reason, 'y', sizeof request.reason);
    shm_operator_publish(&f->region, &request);
    assert_true(shm_operator_read(&f->region, &read));
    assert_int_equal(strlen(read.by), SHM_OPERATOR_NAME_SIZE - 1);
    assert_int_equal(strlen(read.reason), SHM_OPERATOR_REASON_SIZE - 1);
}

static void what_was_withdrawn_or_half_written_is_not_there(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_operator_request request = some_request(1), read;
    uint64_t number = shm_operator_publish(&f->region, &request);
    assert_true(shm_operator_withdraw(&f->region, LANE, number));
    assert_false(shm_operator_read(&f->region, &read));
    /* The same odd number: killed while writing the next one. */
    assert_int_equal(shm_operator_publish(&f->region, &request), number + 2);
    assert_true(shm_operator_read(&f->region, &read));
}

static void a_request_is_carried_out_or_withdrawn_never_both(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *control = shm_region_lane(&f->region, LANE);
    struct shm_operator_request request = some_request(1);
    uint64_t first = shm_operator_publish(&f->region, &request);
    shm_operator_see(control, first, SHM_DECISION_ASKING);
    assert_int_equal(shm_operator_phase(&f->region, LANE, first), SHM_DECISION_ASKING);
    assert_true(shm_operator_withdraw(&f->region, LANE, first));
    assert_false(shm_operator_begin(&f->region, control, first));

    uint64_t second = shm_operator_publish(&f->region, &request);
    assert_int_equal(shm_operator_phase(&f->region, LANE, second), 0); /* not yet this one's */
    shm_operator_see(control, second, SHM_DECISION_SEEN);
    assert_int_equal(shm_operator_phase(&f->region, LANE, second), SHM_DECISION_SEEN);
    assert_true(shm_operator_begin(&f->region, control, second));
    assert_false(shm_operator_withdraw(&f->region, LANE, second));
}

static void the_verdict_is_of_its_request(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *control = shm_region_lane(&f->region, LANE);
    struct shm_operator_request request = some_request(1);
    struct shm_operator_answer answer;
    uint64_t number = shm_operator_publish(&f->region, &request);
    assert_false(shm_operator_answered(&f->region, LANE, number, &answer));
    shm_operator_conclude(control, number,
                          (struct shm_operator_answer){SHM_VERDICT_BOOK_SILENT, 503});
    assert_true(shm_operator_answered(&f->region, LANE, number, &answer));
    assert_int_equal(answer.verdict, SHM_VERDICT_BOOK_SILENT);
    assert_int_equal(answer.detail, 503);
    assert_false(shm_operator_answered(&f->region, 0, number, &answer));
    assert_false(shm_operator_answered(&f->region, LANE, shm_operator_publish(&f->region, &request),
                                       &answer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(what_is_published_can_be_read),
        SHM_FIXTURE_TEST(texts_end_whatever_stands_there),
        SHM_FIXTURE_TEST(what_was_withdrawn_or_half_written_is_not_there),
        SHM_FIXTURE_TEST(a_request_is_carried_out_or_withdrawn_never_both),
        SHM_FIXTURE_TEST(the_verdict_is_of_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
