/* As much of ESP-IDF, FreeRTOS, Unity and Zephyr as the programs of a package need to compile: what stands in their own
 * headers, whose trees install from no registry. Every include of theirs leads here. */
#ifndef HEADERS_H
#define HEADERS_H

#include <stddef.h>
#include <stdint.h>

int64_t esp_timer_get_time(void);
void vTaskDelay(const uint32_t ticks);
void app_main(void);

void UnityBegin(const char *file);
int UnityEnd(void);
void UnityDefaultTestRun(void (*test)(void), const char *name, const int line);
void UnityAssertEqualNumber(const int64_t expected, const int64_t actual, const char *message, const uint32_t line);
void setUp(void);
void tearDown(void);
#define UNITY_BEGIN() UnityBegin(__FILE__)
#define UNITY_END() UnityEnd()
#define RUN_TEST(test) UnityDefaultTestRun(test, #test, __LINE__)
#define TEST_ASSERT_EQUAL(expected, actual) UnityAssertEqualNumber((expected), (actual), NULL, __LINE__)

typedef struct {
  int64_t ticks;
} k_timeout_t;
#define K_TIMEOUT_ABS_TICKS(ticks) ((k_timeout_t){-2 - (ticks)})
int64_t k_uptime_ticks(void);
uint64_t k_us_to_ticks_near64(uint64_t us);
int32_t k_sleep(k_timeout_t timeout);
__attribute__((format(printf, 1, 2))) void printk(const char *text, ...);

void zassert_equal_(int64_t one, int64_t other, ...);
#define zassert_equal(...) zassert_equal_(__VA_ARGS__, 0)
#define ZTEST_SUITE(name, predicate, setup, before, after, teardown) \
  const char suite_##name[] = #name
#define ZTEST(suite, test) void test(void); void test(void)

#endif
